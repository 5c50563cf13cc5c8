import mindspore as ms
import numpy as np
import pytest

from src.blocks.anchor_generator import AnchorGenerator
from src.blocks.bbox_coders import DeltaXYWHBBoxCoder
from src.blocks.dense_heads import ProposalGenerator
from tests.blocks import oracle

EXPECTED = oracle.arrays("rpn_proposals")
LEVELS = range(5)
SIZES = [EXPECTED[f"cls_l{i}"].shape[2:] for i in LEVELS]
ANCHORS = AnchorGenerator([4, 8, 16, 32, 64], [0.5, 1.0, 2.0], scales=[8]).grid_anchors(SIZES)


def image_info(*sizes: tuple[int, int]) -> ms.Tensor:
    return ms.Tensor(np.array([[*size, *size, 1, 1] for size in sizes], np.float32))


def generator(nms_pre: int, max_per_img: int) -> ProposalGenerator:
    return ProposalGenerator(ANCHORS, 3, DeltaXYWHBBoxCoder(), nms_pre, max_per_img, 0.7, 0)


def outputs(batch: int) -> tuple[tuple[ms.Tensor, ...], tuple[ms.Tensor, ...]]:
    return tuple(tuple(ms.Tensor(np.repeat(EXPECTED[f"{x}_l{i}"], batch, 0)) for i in LEVELS) for x in ("cls", "reg"))


@pytest.mark.parametrize("nms_pre, max_per_img", [(1000, 1000), (1000, 100), (2000, 2000)])
def test_proposals_are_mmdetections(nms_pre, max_per_img, pynative):
    found = generator(nms_pre, max_per_img)(*outputs(1), image_info(EXPECTED["img_hw"]))
    boxes, scores, valid = (x.asnumpy()[0] for x in found)
    wanted = EXPECTED[f"pre{nms_pre}_max{max_per_img}/boxes"]
    assert valid.all() and len(boxes) == len(wanted)
    np.testing.assert_allclose(scores, EXPECTED[f"pre{nms_pre}_max{max_per_img}/scores"], atol=1e-5)
    nearest = np.abs(boxes[None] - wanted[:, None]).max(2).min(1)
    assert (nearest < 0.05).mean() >= 0.99


def test_a_compiled_batch_clips_each_image_and_pads_what_it_cannot_fill():
    size = tuple(EXPECTED["img_hw"])
    boxes, scores, valid = generator(100, 600)(*outputs(2), image_info(size, (60, 50)))
    boxes, scores, valid = boxes.asnumpy(), scores.asnumpy(), valid.asnumpy()
    assert boxes.shape == (2, 600, 4) and scores.shape == valid.shape == (2, 600)
    assert (boxes[1].max(0) <= [50, 60, 50, 60]).all() and boxes[0, :, 2].max() > 50
    for box, score, used in zip(boxes, scores, valid, strict=True):
        count = used.sum()
        assert 0 < count < 412 and used[:count].all()
        assert (np.diff(score) <= 0).all() and (box[count:] == 0).all() and (score[count:] == 0).all()
        assert (box[:count, 2:] > box[:count, :2]).all()


def small_and_large(min_bbox_size: float) -> tuple[np.ndarray, np.ndarray]:
    """Proposals from two anchors at one place, the better one smaller; IoU 0.64."""
    anchors = [np.array([[0, 0, 8, 8], [0, 0, 10, 10]], np.float32)]
    cell = ProposalGenerator(anchors, 2, DeltaXYWHBBoxCoder(), 10, 3, 0.6, min_bbox_size)
    logits = ms.Tensor(np.array([1.0, 0.0], np.float32).reshape(1, 2, 1, 1))
    boxes, _, valid = cell((logits,), (ms.ops.zeros((1, 8, 1, 1)),), image_info((20, 20)))
    return boxes.asnumpy()[0], valid.asnumpy()[0]


def test_a_box_that_is_too_small_is_dropped_and_suppresses_nothing(pynative):
    for min_bbox_size, side in ((0, 8), (-1, 8), (8, 10)):
        boxes, valid = small_and_large(min_bbox_size)
        assert valid.tolist() == [True, False, False]
        np.testing.assert_allclose(boxes[0], [0, 0, side, side], atol=1e-5)


def test_no_gradient_comes_back():
    cell = generator(50, 20)
    info = image_info(EXPECTED["img_hw"])
    logits, deltas = outputs(1)

    def total(first, others):
        return cell(logits, (first,) + others, info)[0].sum()

    gradient = ms.grad(total)(deltas[0], deltas[1:])
    assert (gradient.asnumpy() == 0).all()
