"""The loss terms of an evaluation."""

import numpy as np
import pytest
from mindspore import nn

from src.data.batch import FILLER_ID
from src.engine.train_step import Updater
from src.engine.validation_loss import ValidationLoss
from src.models.prediction import evaluating
from src.ops.batch_norm import BatchNorm2d
from tests.engine.toy_detector import ToyDetector, toy_batch

EPS = 1e-3


class NormalizedToy(ToyDetector):
    """The toy behind a batch normalization."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = BatchNorm2d(3, eps=EPS, momentum=0.5)

    def losses(self, images, image_info, boxes, labels, valid, masks=None, normalizer=None, seed=None):
        return super().losses(self.norm(images), image_info, boxes, labels, valid, masks, normalizer, seed)


def batch(ids: list[int], seed: int) -> dict:
    return toy_batch(len(ids), seed) | {"image_id": np.array(ids)}


def expected_terms(net: NormalizedToy, images: np.ndarray, boxes: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Both terms of a batch in NumPy, with the running statistics."""
    mean, variance = (value.asnumpy()[:, None, None] for value in (net.norm.moving_mean, net.norm.moving_variance))
    gamma, beta = (value.asnumpy()[:, None, None] for value in (net.norm.gamma, net.norm.beta))
    normalized = (images - mean) / np.sqrt(variance + EPS) * gamma + beta
    predicted = normalized.mean(axis=(2, 3)) @ net.weight.asnumpy() + net.bias.asnumpy()
    error = predicted - (boxes * valid[..., None]).sum(axis=1)
    return np.array([(error**2).sum(), np.abs(error).sum()]) / max(valid.sum(), 1)


def test_losses_use_the_running_statistics_and_leave_them_as_they_are() -> None:
    net = NormalizedToy()
    net.set_train(True)
    update = Updater(net, nn.Momentum(net.trainable_params(), 0.1, 0.9))
    for step in range(2):
        update([toy_batch(4, step)], 0.05, step)
    before = {name: parameter.asnumpy().copy() for name, parameter in net.parameters_dict().items()}
    assert not np.allclose(before["norm.moving_mean"], 0)
    losses = ValidationLoss(net)
    # Images are missing at the end of a data set, and where one is broken.
    batches = [batch([5, 8, 13, 21], 10), batch([34, FILLER_ID, 55, FILLER_ID], 11), batch([FILLER_ID] * 4, 12)]
    for _ in range(2):
        losses.reset()
        with evaluating(net):
            for one in batches:
                losses.add(one)
        found = losses.means()
    terms = []
    for one, slots in ((batches[0], [0, 1, 2, 3]), (batches[1], [0, 2, 0, 2])):
        terms.append(expected_terms(net, one["image"][slots], one["boxes"][slots], one["valid"][slots]))
    loss_cls, loss_bbox = (4 * terms[0] + 2 * terms[1]) / 6
    assert found == pytest.approx(
        {"val_loss": loss_cls + loss_bbox, "val_loss_cls": loss_cls, "val_loss_bbox": loss_bbox}, rel=1e-5
    )
    for name, parameter in net.parameters_dict().items():
        np.testing.assert_array_equal(parameter.asnumpy(), before[name], err_msg=name)
    assert net.training and net.norm.training
    update([toy_batch(4, 3)], 0.05, 3)  # training still uses its batches' statistics
    assert not np.array_equal(net.norm.moving_mean.asnumpy(), before["norm.moving_mean"])
