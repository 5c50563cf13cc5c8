"""How weights start."""

from src.blocks.initialization.initializers import bias_for_probability, he_normal, normal

__all__ = ["bias_for_probability", "he_normal", "normal"]
