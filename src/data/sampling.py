"""Which images a training sees in an epoch, how often and in which order."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class EpochOrder(NamedTuple):
    """The images of an epoch.

    Attributes:
        images: int64 [M], in their order.
        copies: int64 [M], the number of an image among its copies in the epoch, from 0.
    """

    images: np.ndarray
    copies: np.ndarray


def repeat_factors(labels: Iterable[np.ndarray], threshold: float) -> np.ndarray:
    """How often each image comes in an epoch on average, so that rare classes are seen more often.

    LVIS's repeat factor sampling (Gupta et al. 2019, arXiv:1908.03195, appendix B.2): with f(c) the share of the images
    that have the class c, r(c) = max(1, sqrt(threshold / f(c))), and an image's factor is the largest r(c) of its
    classes, 1 without any.

    Args:
        labels: of each image's objects, int [G].
        threshold: share of the images below which a class is rare.

    Returns:
        float64 [N], from 1.
    """
    classes = [np.unique(one) for one in labels]
    present = np.concatenate([np.zeros(0, np.int64), *classes])
    frequency = np.bincount(present) / max(len(classes), 1)
    with np.errstate(divide="ignore"):  # classes without an image
        factor = np.maximum(1.0, np.sqrt(threshold / frequency))
    return np.array([factor[one].max(initial=1.0) for one in classes])


def images_per_epoch(factors: np.ndarray) -> int:
    """Images of each epoch that is drawn with `factors`."""
    return int(np.floor(factors.sum()))


def shuffled(count: int, seed: int, epoch: int, factors: np.ndarray | None = None) -> EpochOrder:
    """The order of an epoch; it depends on the arguments alone.

    An image of factor 2.3 comes twice or three times, 2.3 times on average over the epochs. Systematic sampling decides
    which: the factors are laid end to end in a random order, and a comb of distance 1 is put on them with a random
    start. So epochs have the same number of images, which learning-rate schedules and resumed trainings count on.

    Args:
        count: N, number of images.
        seed: of the training.
        epoch: from 0.
        factors: float64 [N], at least 1: how often each image comes on average; None: once.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(count)
    if factors is None:
        return EpochOrder(order, np.zeros(count, np.int64))
    teeth = np.floor(np.cumsum(factors[order]) + rng.random()).astype(np.int64)
    times = np.diff(teeth, prepend=0)
    images = np.repeat(order, times)
    copies = np.arange(len(images)) - np.repeat(teeth - times, times)
    chosen = rng.permutation(len(images))[: images_per_epoch(factors)]  # the comb may have one tooth more
    return EpochOrder(images[chosen], copies[chosen])
