"""`kubectl fleet recommend`: GPU, tensor parallelism and format, ranked by dollars."""
