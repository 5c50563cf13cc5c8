"""Faults on purpose: damaged files at each border, and trainings that are killed."""
