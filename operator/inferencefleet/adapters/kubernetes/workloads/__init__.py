"""The objects of one fleet as pure functions: domain in, plain manifests out."""
