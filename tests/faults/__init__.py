"""A seeded campaign of faults: what each border of the project makes of files that were damaged."""
