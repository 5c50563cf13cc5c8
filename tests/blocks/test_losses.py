import mindspore as ms
import numpy as np
import pytest

from src.blocks.losses import (
    SigmoidFocalLoss,
    l1_loss,
    sigmoid_cross_entropy,
    smooth_l1_loss,
    softmax_cross_entropy,
)
from tests.blocks import oracle

EXPECTED = oracle.arrays("losses")
AVG_FACTOR = 37.0


def check(key: str, value: ms.Tensor, gradient: np.ndarray) -> None:
    np.testing.assert_allclose(float(value.asnumpy()), EXPECTED[f"{key}/value"].item(), rtol=1e-5)
    expected = EXPECTED[f"{key}/grad"]
    assert np.abs(gradient - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("alpha", [0.25, 0.75])
def test_focal_loss_equals_mmdetections(alpha, mode):
    loss = SigmoidFocalLoss(2.0, alpha)
    labels = ms.Tensor(EXPECTED["cls/target"][:, None].astype(np.int32))
    weights = ms.Tensor(EXPECTED["cls/weight"][:, None])

    def total(logits):
        return (loss(logits, labels) * weights).sum() / AVG_FACTOR

    value, gradient = ms.value_and_grad(total)(ms.Tensor(EXPECTED["cls/logits"][:, :, None]))
    check(f"focal_a{alpha}", value, gradient.asnumpy()[:, :, 0])


def test_focal_loss_of_each_anchor_is_the_sum_over_classes(pynative):
    loss = SigmoidFocalLoss(2.0, 0.25)
    labels = ms.Tensor(EXPECTED["cls/target"][:, None].astype(np.int32))
    values = loss(ms.Tensor(EXPECTED["cls/logits"][:, :, None]), labels).asnumpy()[:, 0]
    np.testing.assert_allclose(values, EXPECTED["focal_a0.25_none/value"].sum(1), rtol=1e-5)


def reference_focal_loss(logits, labels, gamma, alpha):
    """float64, one-hot: logits [M,C,S], labels [M,S] -> [M,S]."""
    probability = 1 / (1 + np.exp(-logits))
    one_hot = np.arange(logits.shape[1])[None, :, None] == labels[:, None]
    p_t = np.where(one_hot, probability, 1 - probability)
    alpha_t = np.where(one_hot, alpha, 1 - alpha)
    return -(alpha_t * (1 - p_t) ** gamma * np.log(p_t)).sum(1)


@pytest.mark.parametrize("gamma", [2.0, 1.5])
def test_focal_loss_of_the_layout_of_a_head(gamma, mode):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (4, 5, 7))
    labels = rng.integers(-1, 6, (4, 7))  # -1 and 5 are no classes
    upstream = rng.normal(size=(4, 7))
    loss = SigmoidFocalLoss(gamma, 0.25)
    int_labels, weights = ms.Tensor(labels.astype(np.int32)), ms.Tensor(upstream.astype(np.float32))

    def total(x):
        return (loss(x, int_labels) * weights).sum()

    value, gradient = ms.value_and_grad(total)(ms.Tensor(logits.astype(np.float32)))
    expected = (reference_focal_loss(logits, labels, gamma, 0.25) * upstream).sum()
    np.testing.assert_allclose(float(value.asnumpy()), expected, rtol=1e-5)
    step = 1e-5
    for index in [
        (0, 0, 0),
        (1, 4, 3),
        (2, 2, 6),
        (3, 1, 5),
        *zip(*np.nonzero(labels[:, None] == np.arange(5)[None, :, None]), strict=True),
    ]:
        up, down = logits.copy(), logits.copy()
        up[index] += step
        down[index] -= step
        slope = (
            (reference_focal_loss(up, labels, gamma, 0.25) - reference_focal_loss(down, labels, gamma, 0.25)) * upstream
        ).sum()
        np.testing.assert_allclose(gradient.asnumpy()[index], slope / (2 * step), rtol=1e-4, atol=1e-6)


def test_focal_loss_is_finite_for_extreme_logits(pynative):
    loss = SigmoidFocalLoss(2.0, 0.25)
    logits = ms.Tensor(np.array([[[-100.0, 100.0, -100.0, 100.0]]], np.float32))
    labels = ms.Tensor(np.array([[0, 0, -1, -1]], np.int32))
    value, gradient = ms.value_and_grad(lambda x: loss(x, labels).sum())(logits)
    np.testing.assert_allclose(loss(logits, labels).asnumpy()[0], [25, 0, 0, 75], atol=1e-4)
    assert np.isfinite(gradient.asnumpy()).all() and np.isfinite(value.asnumpy())


@pytest.mark.parametrize(
    "key, beta", [("smoothl1_b0.11", 0.11), ("smoothl1_b1", 1.0), ("smoothl1_b1over9", 1 / 9), ("l1", None)]
)
def test_box_losses_equal_mmdetections(key, beta, mode):
    target, weights = ms.Tensor(EXPECTED["reg/target"]), ms.Tensor(EXPECTED["reg/weight"])

    def total(prediction):
        loss = l1_loss(prediction, target) if beta is None else smooth_l1_loss(prediction, target, beta)
        return (loss * weights).sum() / AVG_FACTOR

    value, gradient = ms.value_and_grad(total)(ms.Tensor(EXPECTED["reg/pred"]))
    check(key, value, gradient.asnumpy())


def test_objectness_loss_equals_mmdetections(mode):
    objects = ms.Tensor((EXPECTED["bce/target"] == 0).astype(np.float32))  # there, 0 is the only class and 1 background
    weights = ms.Tensor(EXPECTED["cls/weight"])

    def total(logits):
        return (sigmoid_cross_entropy(logits[:, 0], objects) * weights).sum() / AVG_FACTOR

    value, gradient = ms.value_and_grad(total)(ms.Tensor(EXPECTED["bce/logits"]))
    check("bce_rpn", value, gradient.asnumpy())


def test_classification_loss_equals_mmdetections(mode):
    labels, weights = ms.Tensor(EXPECTED["cls/target"].astype(np.int32)), ms.Tensor(EXPECTED["cls/weight"])

    def total(logits):
        return (softmax_cross_entropy(logits, labels) * weights).sum() / AVG_FACTOR

    value, gradient = ms.value_and_grad(total)(ms.Tensor(EXPECTED["ce/logits"]))
    check("softmax_ce", value, gradient.asnumpy())


def test_mask_loss_equals_mmdetections(mode):
    """mmdetection averages over the pixels of the labelled class's mask."""
    target, labels = ms.Tensor(EXPECTED["mask/target"]), EXPECTED["mask/labels"].tolist()

    def mean(logits):
        labelled = ms.ops.stack([logits[row, label] for row, label in enumerate(labels)])
        return sigmoid_cross_entropy(labelled, target).mean()

    value, gradient = ms.value_and_grad(mean)(ms.Tensor(EXPECTED["mask/logits"]))
    check("mask_bce", value, gradient.asnumpy())


def test_cross_entropies_are_finite_for_extreme_logits(pynative):
    logits = ms.Tensor(np.array([-1e4, -100, 0, 100, 1e4], np.float32))
    for target, expected in ((0.0, [0, 0, np.log(2), 100, 1e4]), (1.0, [1e4, 100, np.log(2), 0, 0])):
        np.testing.assert_allclose(sigmoid_cross_entropy(logits, target).asnumpy(), expected, rtol=1e-5, atol=1e-6)
        gradient = ms.grad(lambda x, t: sigmoid_cross_entropy(x, t).sum())(logits, target).asnumpy()
        np.testing.assert_allclose(gradient, np.array([0, 0, 0.5, 1, 1]) - target, atol=1e-6)
    rows = ms.Tensor(np.array([[1e4, 0, -1e4]], np.float32))
    for label, expected in ((0, 0), (1, 1e4), (2, 2e4)):
        found = softmax_cross_entropy(rows, ms.Tensor([label], ms.int32)).asnumpy()
        np.testing.assert_allclose(found, [expected], rtol=1e-5)
