"""Initial values of weights and biases."""

import math

from mindspore.common.initializer import Initializer, Normal


def he_normal(fan_in: int) -> Initializer:
    """Normal with variance 2 / fan_in (He et al. 2015, equation 10)."""
    return Normal(math.sqrt(2.0 / fan_in))


def normal(std: float) -> Initializer:
    """Normal with mean 0."""
    return Normal(std)


def bias_for_probability(probability: float) -> float:
    """The logit of a probability: the bias with which a sigmoid starts there (RetinaNet, section 4.1)."""
    return -math.log((1.0 - probability) / probability)
