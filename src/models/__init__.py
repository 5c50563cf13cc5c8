"""Detectors, a folder each, and the table of them. Importing it imports no MindSpore."""

from src.models.table import build_detector

__all__ = ["build_detector"]
