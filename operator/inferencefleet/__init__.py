"""InferenceFleet: the cheapest set of vLLM replicas that keeps an SLO, on reserved, on-demand and spot GPUs."""

__version__ = "0.1.0"
