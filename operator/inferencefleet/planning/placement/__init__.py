"""Exact joint placement: where all fleets go at the lowest price, when pools, budgets and priorities collide."""

from inferencefleet.planning.placement.joint import place_all
from inferencefleet.planning.placement.terms import TOLERANCE, Claim, Joint, Offer

__all__ = ["TOLERANCE", "Claim", "Joint", "Offer", "place_all"]
