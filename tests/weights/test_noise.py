"""Noise on weights."""

import numpy as np
import pytest

from src.weights.noise import noised_weights

RANDOM = np.random.default_rng(3)
ARRAYS = {
    "conv.weight": RANDOM.normal(5, 0.02, (64, 32, 3, 3)).astype(np.float32),
    "fc.weight": RANDOM.normal(0, 7, (100, 200)).astype(np.float32),
    "bn.gamma": RANDOM.uniform(0.5, 1.5, 64).astype(np.float32),
    "bn.moving_mean": RANDOM.normal(0, 1, 64).astype(np.float32),
    "bn.moving_variance": RANDOM.uniform(0, 1, 64).astype(np.float32),
    "new.bias": np.zeros(9, np.float32),
    "half": RANDOM.normal(0, 1, (50, 50)).astype(np.float16),
    "step": np.array(7, np.int32),
}


@pytest.mark.parametrize("level", [0.01, 0.05, 0.5])
def test_noise_is_relative_to_each_tensors_deviation(level):
    noised = noised_weights(ARRAYS, level)
    for name in ("conv.weight", "fc.weight", "half"):
        noise = noised[name].astype(np.float64) - ARRAYS[name]
        assert noise.std() / ARRAYS[name].astype(np.float64).std() == pytest.approx(level, rel=0.05)
        assert abs(noise.mean()) < 5 * noise.std() / np.sqrt(noise.size)
    assert np.abs(noised["bn.gamma"] - ARRAYS["bn.gamma"]).min() > 0
    assert {name: (a.shape, a.dtype) for name, a in noised.items()} == {
        name: (a.shape, a.dtype) for name, a in ARRAYS.items()
    }


def test_statistics_constants_and_integers_stay():
    noised = noised_weights(ARRAYS, 0.5)
    for name in ("bn.moving_mean", "bn.moving_variance", "new.bias", "step"):
        np.testing.assert_array_equal(noised[name], ARRAYS[name])


def test_a_seed_repeats_its_noise_whatever_else_there_is():
    first = noised_weights(ARRAYS, 0.1, seed=4)["fc.weight"]
    alone = noised_weights({"fc.weight": ARRAYS["fc.weight"]}, 0.1, seed=4)["fc.weight"]
    np.testing.assert_array_equal(first, alone)
    assert (noised_weights(ARRAYS, 0.1, seed=5)["fc.weight"] != first).any()
    equal = {name: ARRAYS["fc.weight"] for name in ("a", "b")}
    noised = noised_weights(equal, 0.1)
    assert (noised["a"] != noised["b"]).any()


def test_level_0_changes_nothing():
    for name, array in noised_weights(ARRAYS, 0).items():
        np.testing.assert_array_equal(array, ARRAYS[name])
