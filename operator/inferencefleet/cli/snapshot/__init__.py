"""`kubectl fleet snapshot`: what the operator saw, for later."""
