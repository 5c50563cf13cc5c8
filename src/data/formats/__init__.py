"""Data-set formats: a file for each, and the table of them."""
