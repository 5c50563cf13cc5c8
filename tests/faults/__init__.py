"""Faults on purpose: what breaks, and what is said about it."""
