"""`kubectl fleet what-if`: a saved snapshot planned again with something changed."""
