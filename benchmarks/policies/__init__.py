"""Our planner against the control laws of its peers, on recorded and made traffic: `python -m benchmarks.policies`."""
