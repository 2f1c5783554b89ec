"""`kubectl fleet size`: capacity of one replica, and replicas for a rate."""
