"""What one replica can do: weights, KV cache, step time, prefill, queueing, parallelism, cold start. Pure."""
