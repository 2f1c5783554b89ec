"""vLLM's metrics behind the port: one round of queries for all fleets, and nothing taken for zero that is missing."""
