"""Batches: mappings of their fields, which train as plain dicts of outside code do."""

from dataclasses import replace

import numpy as np
import pytest
from mindspore import nn

from src.data.batch import FILLER_ID, Batch
from src.engine import Updater
from tests.engine.toy_detector import ToyDetector, toy_batch

NAMES = ["image", "image_info", "image_id", "boxes", "labels", "valid", "path"]


def some_batch(seed: int = 0) -> Batch:
    return Batch(**toy_batch(4, seed), image_id=np.full(4, FILLER_ID))


def test_a_batch_is_a_mapping_of_its_fields():
    batch = some_batch()
    assert list(batch) == NAMES and len(batch) == len(NAMES) and "masks" not in batch
    assert batch["image"] is batch.image and dict(batch)["boxes"] is batch.boxes
    for name in ("masks", "get", "pixels"):
        with pytest.raises(KeyError):
            batch[name]
    with_masks = replace(batch, masks=np.zeros((4, 3, 4, 4), np.uint8))
    assert list(with_masks) == [*NAMES, "masks"] and with_masks["masks"] is with_masks.masks


def test_batches_and_plain_mappings_train_alike():
    weights = []
    for batches in ([some_batch(seed) for seed in range(2)], [toy_batch(4, seed) for seed in range(2)]):
        net = ToyDetector()
        update = Updater(net, nn.Momentum(net.trainable_params(), learning_rate=0.1, momentum=0.9))
        for batch in batches:
            assert np.isfinite(update([batch], 0.05).asnumpy()).all()
        weights.append(net.weight.asnumpy())
    np.testing.assert_array_equal(*weights)
