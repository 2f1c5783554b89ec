"""`kubectl fleet explain`: a live fleet's derivation, recomputed."""
