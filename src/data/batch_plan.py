"""Which images make a batch, where batches hold images of one orientation."""

from typing import NamedTuple

import numpy as np


class PlannedBatch(NamedTuple):
    """A batch of all devices.

    Attributes:
        indices: int64 [n], its images; fewer than a batch only at the end of an evaluation.
        turned: whether its frame is turned.
    """

    indices: np.ndarray
    turned: bool


def plan_batches(order: np.ndarray, turned: np.ndarray, size: int, training: bool) -> list[PlannedBatch]:
    """Fill batches in an order, those of either orientation apart (mmdetection's AspectRatioBatchSampler).

    What is left of both orientations at the end is less than a batch of each. In evaluation it becomes a last,
    incomplete batch of each. In training, the end of the order that fills no batch is left out first, whatever its
    orientations; what is then left of both is nothing, or one batch, whose frame is that of most of its images and
    whose other images become smaller. So training has as many batches, of the same images, as without orientations.

    Args:
        order: int64 [N], the images.
        turned: bool [N], by image: whether it needs the turned frame.
        size: images per batch.
        training: see above.
    """
    if training:
        order = order[: len(order) // size * size]
    batches: list[PlannedBatch] = []
    waiting: dict[bool, list[int]] = {False: [], True: []}  # places in the order
    for place, across in enumerate(turned[order].tolist()):
        waiting[across].append(place)
        if len(waiting[across]) == size:
            batches.append(PlannedBatch(order[waiting[across]], across))
            waiting[across] = []
    if training and any(waiting.values()):
        rest = order[sorted(waiting[False] + waiting[True])]
        return [*batches, PlannedBatch(rest, len(waiting[True]) > len(waiting[False]))]
    return batches + [PlannedBatch(order[places], across) for across, places in waiting.items() if places]
