"""`kubectl fleet simulate`: a trace replayed on fleets and pools."""
