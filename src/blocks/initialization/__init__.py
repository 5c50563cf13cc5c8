"""How weights start."""

from src.blocks.initialization.initializers import (
    bias_for_probability,
    he_normal,
    kaiming_fan_out,
    lecun_uniform,
    normal,
    xavier_uniform,
)

__all__ = ["bias_for_probability", "he_normal", "kaiming_fan_out", "lecun_uniform", "normal", "xavier_uniform"]
