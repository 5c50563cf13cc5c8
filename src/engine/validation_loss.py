"""The loss terms on the validation data, computed beside the detections of an evaluation."""

import mindspore as ms
import numpy as np
from mindspore import Tensor

from src.data.batch import FILLER_ID, Batch
from src.engine.train_step import BATCH_INPUTS, SEED_PERIOD, LossCell, MeanOverDevices
from src.models.api import Detector
from src.schema.statistics import VALIDATION_LOSS, VALIDATION_PREFIX


class ValidationLoss:
    """Means of a detector's loss terms over the images of a data set.

    The network must be in evaluation mode whenever it is given a batch: batch normalization then uses its running
    statistics and leaves them as they are, and what is measured is the network that predicts.

    The terms of a batch are divided by its own positives or samples, as those of a training batch of that size, and
    count as often as it has images. Slots without an image repeat the batch's images in turn. The batches of an
    evaluation hold the same images whatever the number of devices, and random choices depend on the first of them
    alone, so that the means are the same, too.

    Args:
        net: the detector.
        world: number of processes.
    """

    def __init__(self, net: Detector, world: int = 1) -> None:
        self.losses = LossCell(net, 1.0)
        self.names = net.loss_names
        self.mean_over_devices = MeanOverDevices(world) if world > 1 else None
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self._sums = np.zeros(len(self.names) + 1)  # of each term over the images, and their number

    def add(self, batch: Batch) -> None:
        """Take in a batch of a loader that is for evaluation and has the targets of training."""
        present = np.flatnonzero(batch["image_id"] != FILLER_ID)
        if len(present) == 0:
            return
        slots = np.resize(present, len(batch["image_id"]))
        inputs = [Tensor(batch[name][slots]) for name in BATCH_INPUTS]
        masks = Tensor(batch["masks"][slots]) if "masks" in batch else None
        seed = Tensor(int(batch["image_id"][slots[0]]) % SEED_PERIOD, ms.int32)
        _, terms = self.losses(*inputs, masks, None, seed)
        self._sums += len(present) * np.append(terms.asnumpy().astype(np.float64), 1.0)

    def means(self) -> dict[str, float]:
        """`val_loss`, and each term with `val_` before its name: means over the images of all devices."""
        sums = self._sums
        if self.mean_over_devices is not None:
            sums = self.mean_over_devices(Tensor(sums, ms.float32)).asnumpy().astype(np.float64)
        terms = (sums[:-1] / sums[-1]).tolist()
        named = {VALIDATION_PREFIX + name: term for name, term in zip(self.names, terms, strict=True)}
        return {VALIDATION_LOSS: sum(terms)} | named
