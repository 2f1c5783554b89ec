"""`kubectl fleet`: the planner's physics and prices for people, without a cluster."""
