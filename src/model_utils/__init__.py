"""Configuration, commands and devices."""
