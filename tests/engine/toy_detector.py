"""A detector of one dense layer with the interface of the real ones, whose losses have a normalizer."""

import numpy as np
from mindspore import Parameter, Tensor, nn, ops


class ToyDetector(nn.Cell):
    """Regresses the sum of an image's boxes from its mean colours; the loss is divided by the number of objects."""

    loss_names = ("loss_cls", "loss_bbox")

    def __init__(self, seed: int = 0):
        super().__init__()
        rng = np.random.default_rng(seed)
        self.weight = Parameter(Tensor(rng.normal(0, 0.3, (3, 4)).astype(np.float32)), name="head.weight")
        self.bias = Parameter(Tensor(np.zeros(4, np.float32)), name="head.bias")

    def count_positives(self, boxes, labels, valid, image_info=None):
        return valid.astype(boxes.dtype).sum()

    def losses(self, images, image_info, boxes, labels, valid, masks=None, normalizer=None, seed=None):
        predicted = ops.matmul(images.mean(axis=(2, 3)), self.weight) + self.bias
        target = (boxes * valid.astype(boxes.dtype).expand_dims(-1)).sum(axis=1)
        if normalizer is None:
            normalizer = ops.maximum(self.count_positives(boxes, labels, valid), Tensor(1.0))
        error = predicted - target
        return {
            "loss_cls": (error * error).sum() / normalizer,
            "loss_bbox": ops.abs(error).sum() / normalizer,
        }


def toy_batch(batch_size: int, seed: int) -> dict:
    """A batch as the loader makes them, 4 x 4 pixels, at most 3 objects."""
    rng = np.random.default_rng(seed)
    return {
        "image": rng.normal(size=(batch_size, 3, 4, 4)).astype(np.float32),
        "image_info": np.ones((batch_size, 6), np.float32),
        "boxes": rng.normal(size=(batch_size, 3, 4)).astype(np.float32),
        "labels": np.zeros((batch_size, 3), np.int32),
        "valid": rng.random((batch_size, 3)) < 0.6,
        "path": ["toy"] * batch_size,
    }


def split(batch: dict, parts: int) -> list[dict]:
    """A batch as `parts` smaller ones."""
    size = len(batch["path"]) // parts
    return [{name: value[i * size : (i + 1) * size] for name, value in batch.items()} for i in range(parts)]
