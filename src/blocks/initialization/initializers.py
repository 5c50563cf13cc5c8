"""Initial values of weights and biases."""

import math

from mindspore.common.initializer import HeNormal, HeUniform, Initializer, Normal, XavierUniform


def he_normal(fan_in: int) -> Initializer:
    """Normal with variance 2 / fan_in (He et al. 2015, equation 10)."""
    return Normal(math.sqrt(2.0 / fan_in))


def kaiming_fan_out() -> Initializer:
    """Normal with variance 2 / fan_out, the weights' way in torchvision's and mmdetection's ResNets."""
    return HeNormal(mode="fan_out", nonlinearity="relu")


def xavier_uniform() -> Initializer:
    """Uniform with variance 2 / (fan_in + fan_out) (Glorot and Bengio 2010, equation 16)."""
    return XavierUniform()


def lecun_uniform() -> Initializer:
    """Uniform with variance 1 / fan_in (LeCun et al. 1998, section 4.6), the weights' way in mmdetection's NAS-FPN."""
    return HeUniform(negative_slope=1)


def normal(std: float) -> Initializer:
    """Normal with mean 0."""
    return Normal(std)


def bias_for_probability(probability: float) -> float:
    """The logit of a probability: the bias with which a sigmoid starts there (RetinaNet, section 4.1)."""
    return -math.log((1.0 - probability) / probability)
