"""Exported models: writing, checking and running them."""
