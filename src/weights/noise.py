"""Noise on weights: where trainings start that show how a detector recovers."""

import zlib

import numpy as np

STATISTICS = ("moving_mean", "moving_variance")  # of batch normalizations: measured, not learned


def noised_weights(arrays: dict[str, np.ndarray], level: float, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights with Gaussian noise, as strong in each tensor as its own values vary.

    Each value w of a learned tensor W becomes w + level * std(W) * n, where n is drawn from the standard normal
    distribution, independently for each value, and std(W) is taken over all values of W. So `level` is the ratio of
    the noise's standard deviation to that of the weights, the same for all layers whatever their scale, and a tensor
    with one value throughout (biases before training) stays as it is. Running means and variances of batch
    normalizations stay too: noise could make a variance negative.

    A tensor's noise depends on the seed, its name and its shape alone, not on the other tensors.

    Args:
        arrays: {name: array}; left as they are.
        level: standard deviation of the noise relative to that of the tensor, at least 0.
        seed: at least 0; another one draws anew.

    Returns:
        {name: array} of the same names, shapes and dtypes.
    """
    return {
        name: _noised(array, level, np.random.default_rng([seed, zlib.crc32(name.encode())]))
        if is_learned(name, array)
        else array.copy()
        for name, array in arrays.items()
    }


def is_learned(name: str, array: np.ndarray) -> bool:
    """Whether `noised_weights` adds noise to the array of this name."""
    return np.issubdtype(array.dtype, np.floating) and not name.endswith(STATISTICS)


def _noised(array: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    exact = array.astype(np.float64)
    return (exact + level * exact.std() * random.standard_normal(array.shape)).astype(array.dtype)
