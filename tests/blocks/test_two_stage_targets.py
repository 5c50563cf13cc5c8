import mindspore as ms
import numpy as np
import pytest

from src.blocks.anchor_generator import AnchorGenerator
from src.blocks.assigners_samplers import (
    AnchorTargets,
    AssignerOptions,
    GridMatcher,
    MaxIoUAssigner,
    PairwiseMatcher,
    RCNNTargets,
    RoITargets,
    RPNTargets,
    SamplerOptions,
)
from src.blocks.bbox_coders import DeltaXYWHBBoxCoder
from tests.blocks import oracle

EXPECTED = oracle.arrays("assigners")
SIZE = (128, 160)
SEED = ms.Tensor(5, ms.int32)
CODER = DeltaXYWHBBoxCoder(target_stds=(0.1, 0.1, 0.2, 0.2))
RPN_ANCHORS = AnchorGenerator([4, 8, 16, 32, 64], [0.5, 1.0, 2.0], scales=[8])
PADDED = 20


def objects(*names: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Padded boxes [B,N,4], labels [B,N] and valid [B,N]."""
    batch = len(names)
    boxes, labels = np.zeros((batch, PADDED, 4), np.float32), np.zeros((batch, PADDED), np.int32)
    valid = np.zeros((batch, PADDED), bool)
    for i, name in enumerate(names):
        count = len(EXPECTED[f"{name}/boxes"])
        boxes[i, :count], valid[i, :count] = EXPECTED[f"{name}/boxes"], True
        labels[i, :count] = EXPECTED[f"{name}/labels"]
    return boxes, labels, valid


def tensors(*arrays: np.ndarray) -> list[ms.Tensor]:
    return [ms.Tensor(x) for x in arrays]


def test_anchors_outside_their_image_take_no_part(pynative):
    """Both matchers, and images of different sizes in one padded batch."""
    sizes = RPN_ANCHORS.feature_sizes(*SIZE)
    anchors = np.concatenate(RPN_ANCHORS.grid_anchors(sizes))
    rng = np.random.default_rng(1)
    centre, side = rng.uniform(20, 90, (2, PADDED, 2)), rng.uniform(7, 60, (2, PADDED, 2))
    boxes = np.concatenate([centre - side / 2, centre + side / 2], 2).clip(0, 100).astype(np.float32)
    valid = rng.random((2, PADDED)) < 0.7
    image_size = np.array([[128, 160], [101, 117]], np.float32)
    end = image_size[:, None, ::-1]
    inside = (anchors[None, :, :2] >= 0).all(2) & (anchors[None, :, 2:] < end).all(2)
    assert 0 < inside[1].sum() < inside[0].sum() < len(anchors)
    matcher = GridMatcher(RPN_ANCHORS, sizes)
    thresholds = AssignerOptions(0.7, 0.3, 0.3, True)
    usable = matcher.inside(ms.Tensor(image_size))
    grid = MaxIoUAssigner(matcher, thresholds)(*tensors(boxes, valid), None, usable).asnumpy()
    priors = np.repeat(anchors[None], 2, 0)
    pairs = MaxIoUAssigner(PairwiseMatcher(), thresholds)(*tensors(boxes, valid, priors, inside)).asnumpy()
    for i in range(2):
        assert (grid[i][~inside[i]] == -1).all() and (pairs[i][~inside[i]] == -1).all()
        # As if the others did not exist: an object's best anchor is the best of those inside.
        alone = MaxIoUAssigner(PairwiseMatcher(), thresholds)(
            *tensors(boxes[i : i + 1], valid[i : i + 1], anchors[None, inside[i]])
        ).asnumpy()[0]
        np.testing.assert_array_equal(pairs[i][inside[i]], alone)
        assert (alone > 0).sum() >= 8
        assert (grid[i] != pairs[i]).mean() < 2e-3  # rounding breaks ties of anchors that hold an object


def test_rpn_targets_of_a_compiled_batch():
    names = ("gt_many", "gt_0")
    boxes, _, valid = objects(*names)
    info = ms.Tensor(np.array([[*SIZE, *SIZE, 1, 1]] * 2, np.float32))
    targets = RPNTargets(
        RPN_ANCHORS, RPN_ANCHORS.feature_sizes(*SIZE), CODER, sampler=SamplerOptions(64, 0.5), allowed_border=-1
    )
    labels, weights, deltas, sampled = (x.asnumpy() for x in targets(*tensors(boxes, valid), info, SEED))
    assigned = EXPECTED["rpn/gt_many/gt_inds"]
    # The oracle's choice among equally good anchors depends on rounding; the chosen ones are but for a few its own.
    assert (assigned[labels[0] > 0] > 0).mean() > 0.9 and labels[0].sum() == 32
    assert (assigned[(weights[0] > 0) & (labels[0] == 0)] == 0).all()
    assert weights.sum(1).tolist() == [64, 64] and sampled == 128 and labels[1].sum() == 0
    assert (deltas[labels == 0] == 0).all()
    positive = labels[0] > 0
    decoded = CODER.decode_numpy(targets.anchors.asnumpy()[positive], deltas[0][positive])
    same = assigned[positive] > 0
    np.testing.assert_allclose(decoded[same], boxes[0][assigned[positive][same] - 1], atol=1e-3)


def test_rpn_targets_leave_out_anchors_beyond_the_resized_image(pynative):
    boxes, _, valid = objects("gt_1")
    info = ms.Tensor(np.array([[400, 400, 90, 100, 1, 1]], np.float32))
    for border, all_inside in ((0, True), (-1, False)):
        targets = RPNTargets(
            RPN_ANCHORS,
            RPN_ANCHORS.feature_sizes(*SIZE),
            CODER,
            sampler=SamplerOptions(10**7, 0.5),
            allowed_border=border,
        )
        chosen = AnchorTargets(*targets(*tensors(boxes, valid), info, SEED)).weights.asnumpy()[0] > 0
        anchors = targets.anchors.asnumpy()[chosen]
        inside = (anchors[:, :2] >= 0).all(1) & (anchors[:, 2] < 100) & (anchors[:, 3] < 90)
        assert inside.all() == all_inside


def roi_targets(
    names, num, proposal_valid=None, pos_fraction=0.25, **arguments
) -> tuple[RCNNTargets, RoITargets, list[np.ndarray]]:
    boxes, labels, valid = objects(*names)
    proposals = np.stack([EXPECTED["proposals"]] * len(names))
    if proposal_valid is None:
        proposal_valid = np.ones(proposals.shape[:2], bool)
    cell = RCNNTargets(proposals.shape[1], PADDED, 80, CODER, sampler=SamplerOptions(num, pos_fraction), **arguments)
    found = cell(*tensors(proposals, proposal_valid, boxes, labels, valid), SEED)
    return cell, RoITargets(*(x.asnumpy() for x in found)), [proposals, boxes, labels, valid]


def test_all_proposals_and_objects_as_mmdetection_assigns_them():
    names = ("gt_many", "gt_0", "gt_1")
    cell, found, (proposals, boxes, labels, valid) = roi_targets(names, 10**6)
    count = PADDED + len(EXPECTED["proposals"])
    assert cell.num_rois == count and cell.max_positives == count
    assert found.rois.shape == (3 * count, 5) and found.deltas.shape == (3 * count, 4)
    for i, name in enumerate(names):
        rows = RoITargets(*(x.reshape(3, count, *x.shape[1:])[i] for x in found))
        own = valid[i].sum()
        assert (rows.rois[:, 0] == i).all() and rows.weights.sum() == own + proposals.shape[1]
        assigned = np.concatenate([np.arange(own) + 1, EXPECTED[f"rcnn_nolq/{name}/gt_inds"]])
        candidates = np.concatenate([boxes[i][valid[i]], proposals[i]])
        expected = np.where(assigned > 0, labels[i][np.maximum(assigned - 1, 0)], 80)
        used = rows.weights > 0
        wanted = sorted(map(tuple, np.column_stack([candidates, expected, assigned])))
        matched = (rows.matched - i * PADDED + 1) * (rows.positive > 0)
        assert sorted(map(tuple, np.column_stack([rows.rois[:, 1:], rows.labels, matched])[used])) == wanted
        positives = int(rows.positive.sum())
        assert positives == (assigned > 0).sum() and (rows.positive[:positives] == 1).all()
        assert rows.from_object.sum() == own
        decoded = CODER.decode_numpy(rows.rois[:positives, 1:], rows.deltas[:positives])
        np.testing.assert_allclose(decoded, boxes.reshape(-1, 4)[rows.matched[:positives]], atol=1e-3)
        assert (rows.deltas[positives:] == 0).all() and (rows.labels[positives:] == 80).all()


def test_positives_lie_in_the_first_rows_and_unused_rows_have_no_area(pynative):
    proposal_valid = np.zeros((2, len(EXPECTED["proposals"])), bool)
    proposal_valid[0] = True
    cell, found, _ = roi_targets(("gt_many", "gt_1"), 32, proposal_valid, pos_fraction=0.25)
    assert cell.num_rois == 32 and cell.max_positives == 8
    positive = found.positive.reshape(2, 32)
    assert positive.sum(1).tolist() == [8, 1] and (positive[:, 8:] == 0).all()
    assert found.weights.reshape(2, 32).sum(1).tolist() == [32, 1]
    assert (found.rois[found.weights == 0, 1:] == 0).all() and np.isfinite(found.deltas).all()


@pytest.mark.parametrize("add", [False, True])
def test_images_without_objects_or_proposals(add, pynative):
    proposal_valid = np.zeros((2, len(EXPECTED["proposals"])), bool)
    proposal_valid[0] = True
    _, found, _ = roi_targets(("gt_0", "gt_0"), 16, proposal_valid, add_gt_as_proposals=add)
    assert found.weights.reshape(2, 16).sum(1).tolist() == [16, 0]
    assert found.positive.sum() == 0 and (found.labels == 80).all() and found.from_object.sum() == 0
    assert np.isfinite(found.deltas).all()


def test_an_object_without_area_gives_no_infinite_target(pynative):
    boxes = np.array([[[10, 10, 10, 30], [5, 5, 20, 20]]], np.float32)
    labels, valid = np.array([[1, 2]], np.int32), np.ones((1, 2), bool)
    proposals = np.array([[[5, 5, 20, 21], [40, 40, 50, 50]]], np.float32)
    cell = RCNNTargets(2, 2, 3, CODER, sampler=SamplerOptions(8, 0.5))
    found = RoITargets(*cell(*tensors(proposals, np.ones((1, 2), bool), boxes, labels, valid), SEED))
    assert np.isfinite(found.deltas.asnumpy()).all()
    assert sorted(found.labels.asnumpy().tolist()) == [2, 2, 3, 3] and found.weights.asnumpy().sum() == 3
