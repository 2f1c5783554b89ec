"""Dollars: what tokens cost, when a machine pays for itself, which GPU is the cheapest that keeps the promise."""
