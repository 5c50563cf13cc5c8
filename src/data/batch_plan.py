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
    incomplete batch of each. In training, where incomplete batches are left out, both together make one more batch if
    they suffice, whose frame is that of most of its images and whose other images become smaller. So there are as many
    batches as without orientations, and each image is as likely as any other to be left out of an epoch.

    Args:
        order: int64 [N], the images.
        turned: bool [N], by image: whether it needs the turned frame.
        size: images per batch.
        training: see above.
    """
    batches: list[PlannedBatch] = []
    waiting: dict[bool, list[int]] = {False: [], True: []}  # places in the order
    for place, across in enumerate(turned[order].tolist()):
        waiting[across].append(place)
        if len(waiting[across]) == size:
            batches.append(PlannedBatch(order[waiting[across]], across))
            waiting[across] = []
    if training:
        rest = order[sorted(waiting[False] + waiting[True])[:size]]
        return [*batches, PlannedBatch(rest, bool(2 * turned[rest].sum() > size))] if len(rest) == size else batches
    return batches + [PlannedBatch(order[places], across) for across, places in waiting.items() if places]
