"""A detector and a backbone that stand outside the project, as a newcomer would add them (docs/write_a_model.md)."""
