import mindspore as ms
import numpy as np

from src.blocks.dense_heads import BranchOptions, RetinaSepBNHead
from src.models.counting import count_parameters
from tests.blocks import oracle

EXPECTED = oracle.arrays("retina_sepbn_head")
FEATURES = tuple(ms.Tensor(EXPECTED[f"retina_sepbn/P{level}"].astype(np.float32)) for level in range(3, 8))


def published_head() -> RetinaSepBNHead:
    # mmdetection's head takes the normalization's defaults of PyTorch
    head = RetinaSepBNHead(80, options=BranchOptions(norm=oracle.PYTORCH_NORM))
    oracle.set_published_weights(head, "retina_sepbn_head", int(EXPECTED["seed"]))
    return head


def assert_as_expected(key: str, outputs: tuple, levels: int, tolerance: float) -> None:
    for kind, values in zip(("cls", "reg"), outputs, strict=True):
        for level in range(levels):
            assert oracle.relative_error(EXPECTED, f"{key}/{kind}_l{level}", values[level]) < tolerance, (kind, level)


def test_outputs_equal_mmdetections(mode):
    assert_as_expected("retina_sepbn", published_head().set_train(False)(FEATURES), 5, 1e-4)


def test_outputs_in_training(mode):
    """Each level has its own statistics. The last level has two values a channel, whose rounding BN magnifies."""
    assert_as_expected("retina_sepbn_train", published_head().set_train(True)(FEATURES), 4, 1e-3)


def test_a_new_head_starts_at_its_prior(mode):
    head = RetinaSepBNHead(
        3, num_levels=2, num_anchors=6, in_channels=8, options=BranchOptions(16, stacked_convs=2), prior_prob=0.05
    )
    features = tuple(
        ms.Tensor(np.random.default_rng(i).normal(size=(2, 8, s, s)).astype(np.float32)) for i, s in enumerate((8, 4))
    )
    logits, deltas = head.set_train(True)(features)
    assert [x.shape for x in logits] == [(2, 18, 8, 8), (2, 18, 4, 4)]
    assert [x.shape for x in deltas] == [(2, 24, 8, 8), (2, 24, 4, 4)]
    scores = 1 / (1 + np.exp(-logits[0].asnumpy()))
    np.testing.assert_allclose(scores.mean(), 0.05, rtol=0.1)
    convolutions = 2 * 9 * (8 * 16 + 16 * 16)
    norms = 2 * 2 * 2 * 2 * 16
    outputs = (16 * 9 + 1) * (18 + 24)
    assert count_parameters(head) == convolutions + norms + outputs
