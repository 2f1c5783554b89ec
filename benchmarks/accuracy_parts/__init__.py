"""Parts of `python -m benchmarks.accuracy`: from rows of measured runs to tables of errors."""
