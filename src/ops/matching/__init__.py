"""Overlaps of priors with objects, boiled down to each prior's and each object's best."""

from src.ops.matching.matching import largest_products, match_pairs

__all__ = ["largest_products", "match_pairs"]
