"""`kubectl fleet why`: a decision in ten lines."""
