"""`kubectl fleet fit`: which GPUs and formats hold a model."""
