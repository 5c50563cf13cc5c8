"""Data sets written in the formats of annotation tools."""
