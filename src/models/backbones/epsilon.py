"""Batch normalizations that were trained with another epsilon than the one they are used with."""

import numpy as np

from src.models.api import Arrays


def rescaled_gammas(arrays: Arrays, theirs: float, ours: float) -> Arrays:
    """Gammas with which the outputs under another epsilon are the same.

    gamma / sqrt(variance + theirs) is written as gamma' / sqrt(variance + ours).

    Args:
        arrays: weights by PyTorch's names; each `running_var` tells of a batch normalization.
        theirs: epsilon that the weights were trained with.
        ours: epsilon that they are used with.

    Returns:
        {name of a gamma (`weight`): float32 array}; empty where the two are the same.
    """
    gammas = {}
    for name, variance in arrays.items():
        module, _, leaf = name.rpartition(".")
        if leaf == "running_var" and theirs != ours:
            factor = np.sqrt((variance.astype(np.float64) + ours) / (variance.astype(np.float64) + theirs))
            gammas[f"{module}.weight"] = (arrays[f"{module}.weight"] * factor).astype(np.float32)
    return gammas
