"""Benchmarks: each is one command, `python -m benchmarks.<name>`, and writes its table to benchmarks/results/."""
