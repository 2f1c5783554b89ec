"""The digital twin of a GPU cloud: nodes, kubelets, vLLM engines and their clients, against a genuine control plane."""
