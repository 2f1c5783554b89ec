"""`make demo`: the quickstart on the embedded cluster, live in the terminal, with a verdict and a report at the end."""
