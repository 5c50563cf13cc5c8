"""Updates of all weights at once."""

from src.ops.weight_update.weight_update import moving_average, weight_update

__all__ = ["moving_average", "weight_update"]
