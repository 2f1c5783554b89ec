"""What the fleet should be: estimate -> forecast -> size -> place -> guard -> explain. Pure."""
