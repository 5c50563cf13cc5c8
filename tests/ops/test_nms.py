import mindspore as ms
import numpy as np
import pytest

from src.blocks.post_processing import (
    DecodedPostProcessor,
    DenseSelection,
    MultiBoxPostProcessor,
    MultiBoxSelection,
    MulticlassNMS,
    RoIPostProcessor,
    RoISelection,
)
from src.config import load_config
from src.models.table import spec_of
from src.ops.nms import Suppression, class_wise_nms, nms, soft_nms
from tests.blocks import oracle
from tests.conftest import ROOT

EXPECTED = oracle.arrays("nms")


def candidates(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(boxes, scores, labels) of all (box, class) pairs above the threshold of mmdetection's multiclass_nms."""
    boxes, scores = EXPECTED[f"{name}/boxes"], EXPECTED[f"{name}/scores"][:, :-1]
    row, label = np.nonzero(scores > 0.05)
    return boxes[row], scores[row, label], label.astype(np.int32)


def matched(boxes, scores, labels, wanted_boxes, wanted_scores, wanted_labels) -> float:
    """Share of the wanted detections that are among the given ones."""
    hits = 0
    for box, score, label in zip(wanted_boxes, wanted_scores, wanted_labels, strict=True):
        same = (labels == label) & (np.abs(scores - score) < 1e-4) & (np.abs(boxes - box).max(1) < 0.05)
        hits += bool(same.any())
    return hits / len(wanted_scores)


@pytest.mark.parametrize("name", ["mc80", "mc3"])
def test_detections_of_multiclass_nms(name):
    boxes, scores, labels = candidates(name)
    kept = class_wise_nms(boxes, scores, labels, 0.5, 100)
    wanted = EXPECTED[f"{name}/dets"]
    np.testing.assert_allclose(scores[kept], wanted[:, 4], atol=1e-6)
    assert (
        matched(boxes[kept], scores[kept], labels[kept], wanted[:, :4], wanted[:, 4], EXPECTED[f"{name}/labels"])
        >= 0.99
    )


def test_rows_of_batched_nms():
    boxes, scores, labels = (EXPECTED[f"batched/{key}"] for key in ("boxes", "scores", "idxs"))
    np.testing.assert_array_equal(class_wise_nms(boxes, scores, labels, 0.7, 600), EXPECTED["batched/keep"])


@pytest.mark.parametrize("name", ["mc80", "mc3"])
def test_the_graphs_suppression_equals_the_hosts(name, mode):
    boxes, scores, labels = candidates(name)
    host = class_wise_nms(boxes, scores, labels, 0.5, 20)
    batch = [ms.Tensor(np.stack([x, x[::-1]])) for x in (boxes, scores, labels)]
    out_boxes, out_scores, out_labels, valid = (x.asnumpy() for x in MulticlassNMS(RoISelection(0.0, 0.5, 20))(*batch))
    assert valid.all()
    for image in range(2):
        np.testing.assert_array_equal(out_scores[image], scores[host])
        np.testing.assert_array_equal(out_labels[image], labels[host])
        np.testing.assert_array_equal(out_boxes[image], boxes[host])


def test_classes_do_not_suppress_each_other_and_few_candidates_leave_empty_rows(mode):
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 10], [50, 50, 60, 60]], np.float32)
    scores = np.array([0.9, 0.8, 0.7, 0.0], np.float32)
    labels = np.array([0, 0, 1, 0], np.int32)
    np.testing.assert_array_equal(class_wise_nms(boxes[:3], scores[:3], labels[:3], 0.5, 10), [0, 2])
    batch = [ms.Tensor(x[None]) for x in (boxes, scores, labels)]
    out_boxes, out_scores, out_labels, valid = (
        x.asnumpy()[0] for x in MulticlassNMS(RoISelection(0.0, 0.5, 4))(*batch)
    )
    assert valid.tolist() == [True, True, False, False]
    np.testing.assert_allclose(out_scores, [0.9, 0.7, 0, 0])
    assert out_labels.tolist() == [0, 1, 0, 0]
    assert not out_boxes[2:].any()


def test_no_candidates():
    kept = class_wise_nms(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32), 0.5, 100)
    assert len(kept) == 0


@pytest.mark.parametrize("max_count", [0, 7, 10_000])
def test_the_kernel_and_numpy_keep_the_same(max_count):
    assert nms._kernel() is not None
    rng = np.random.default_rng(1)
    corner = rng.uniform(0, 100, (1500, 2)).round()
    boxes = np.concatenate([corner, corner + rng.uniform(0, 60, (1500, 2)).round()], 1).astype(np.float32)  # ties
    boxes[::50, 2:] = boxes[::50, :2]  # empty
    labels = rng.integers(-3, 9, 1500).astype(np.int32)
    for threshold in (0.0, 0.3, 0.5, 1.0):
        arguments = boxes, labels, threshold, max_count
        if max_count == 0:
            assert len(nms._kernel()(*arguments)) == 0
        else:
            np.testing.assert_array_equal(nms._kernel()(*arguments), nms.suppress_in_numpy(*arguments))


def test_without_a_compiler(monkeypatch):
    boxes, scores, labels = candidates("mc80")
    compiled = class_wise_nms(boxes, scores, labels, 0.5, 100)
    monkeypatch.setattr(nms, "_kernel", lambda: None)
    np.testing.assert_array_equal(class_wise_nms(boxes, scores, labels, 0.5, 100), compiled)


def reference_soft_nms(boxes, scores, decay, threshold, sigma, least):
    """The algorithm of Bodla et al. 2017 (figure 2) as it is written there, box by box, for one class."""
    remaining = [(box.tolist(), float(score), row) for row, (box, score) in enumerate(zip(boxes, scores, strict=True))]
    done = []
    while remaining:
        best = max(range(len(remaining)), key=lambda i: remaining[i][1])
        box, score, row = remaining.pop(best)
        if score <= least:
            break
        done.append((row, score))
        weakened = []
        for other, other_score, other_row in remaining:
            width = max(0.0, min(box[2], other[2]) - max(box[0], other[0]))
            height = max(0.0, min(box[3], other[3]) - max(box[1], other[1]))
            areas = (box[2] - box[0]) * (box[3] - box[1]) + (other[2] - other[0]) * (other[3] - other[1])
            iou = width * height / (areas - width * height)
            linear = 1 - iou if iou >= threshold else 1.0
            factor = linear if decay == "soft_linear" else np.exp(-(iou**2) / sigma)
            weakened.append((other, other_score * factor, other_row))
        remaining = weakened
    return done


def crowded(count=60, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 60, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(10, 40, (count, 2))], 1).astype(np.float32)
    return boxes, rng.uniform(0.1, 1, count).astype(np.float32), rng.integers(0, classes, count).astype(np.int32)


@pytest.mark.parametrize(
    ("decay", "threshold", "sigma"),
    [("soft_linear", 0.3, 0.5), ("soft_linear", 0.0, 0.5), ("soft_gaussian", 0.3, 0.5), ("soft_gaussian", 0.3, 2.0)],
)
def test_soft_suppression_is_that_of_the_paper(decay, threshold, sigma):
    boxes, scores, labels = crowded()
    rows, found = soft_nms(boxes, scores, labels, decay, threshold, sigma, 0.05, 1000)
    wanted = []
    for label in range(3):
        own = np.flatnonzero(labels == label)
        picked = reference_soft_nms(boxes[own], scores[own], decay, threshold, sigma, 0.05)
        wanted += [(own[row], score) for row, score in picked]
    wanted.sort(key=lambda one: -one[1])
    assert rows.tolist() == [row for row, _ in wanted] and len(rows) > 20
    np.testing.assert_allclose(found, [score for _, score in wanted], rtol=1e-5)
    some, _ = soft_nms(boxes, scores, labels, decay, threshold, sigma, 0.05, 7)
    assert some.tolist() == rows[:7].tolist() and found.dtype == np.float32
    assert len(soft_nms(boxes[:0], scores[:0], labels[:0], decay, threshold, sigma, 0.05, 7)[0]) == 0


INFO = np.float32([[100, 100, 100, 100, 1, 1]])


@pytest.mark.parametrize("decay", ["soft_linear", "soft_gaussian"])
def test_every_selection_takes_it(decay):
    """Of the same candidates, dense, SSD-like and RoI selections find what the function finds."""
    boxes, scores, labels = crowded()
    own = np.zeros((60, 3), np.float32)
    own[np.arange(60), labels] = scores
    rows, wanted = soft_nms(boxes, scores, labels, decay, 0.2, 0.3, 0.2, 40)
    options = {"score_thr": 0.2, "iou_threshold": 0.2, "max_per_img": 40, "suppression": decay, "soft_sigma": 0.3}
    arguments = boxes[None], own[None], INFO
    for found in (
        DecodedPostProcessor([60], DenseSelection(**options))(*arguments),
        MultiBoxPostProcessor(MultiBoxSelection(**options))(*arguments),
        RoIPostProcessor(RoISelection(**options))(own[None], boxes[None, :, None]),
    ):
        count = found[3].sum()
        np.testing.assert_allclose(found[1][0, :count], wanted, rtol=1e-6)
        np.testing.assert_array_equal(found[2][0, :count], labels[rows])
        np.testing.assert_allclose(found[0][0, :count], boxes[rows], atol=1e-4)
    greedy = DecodedPostProcessor([60], DenseSelection(**{**options, "suppression": "greedy"}))(*arguments)
    assert not np.allclose(greedy[1], found[1])


def test_the_graphs_soft_suppression_equals_the_hosts():
    boxes, scores, labels = crowded(20, 2)
    for decay in ("soft_linear", "soft_gaussian"):
        rows, wanted = soft_nms(boxes, scores, labels, decay, 0.3, 0.5, 0.3, 6)
        net = MulticlassNMS(RoISelection(0.3, 0.3, 6, decay, 0.5))
        found = [x.asnumpy()[0] for x in net(*(ms.Tensor(x[None]) for x in (boxes, scores, labels)))]
        np.testing.assert_allclose(found[1][: len(rows)], wanted, rtol=1e-5)
        np.testing.assert_array_equal(found[0][: len(rows)], boxes[rows])
        assert found[3].sum() == len(rows)


@pytest.mark.parametrize(
    ("experiment", "section"),
    [("demo/spinenet_retinanet", "test_cfg.nms"), ("demo/nas_fpn", "test_cfg.nms"), ("demo/refinedet", "test_cfg"),
     ("demo/mask_rcnn", "test_cfg.rcnn"), ("demo/cascade_mask_rcnn", "test_cfg.rcnn")],
)  # fmt: skip
def test_the_keys_reach_every_detectors_selection(experiment, section):
    keys = {f"{section}.suppression": "soft_gaussian", f"{section}.soft_sigma": 0.7}
    config = load_config(ROOT / f"configs/{experiment}.yaml", keys)
    values = spec_of(config).export.selection(config, [4])
    assert (values["suppression"], values["soft_sigma"]) == ("soft_gaussian", 0.7)


@pytest.mark.parametrize("count", [1, 65, 700])
def test_suppression_within_a_graph_equals_the_hosts(count, mode):
    rng = np.random.default_rng(count)
    corner, side = rng.uniform(0, 80, (count, 2)), rng.uniform(5, 40, (count, 2))
    boxes = np.concatenate([corner, corner + side], 1).astype(np.float32)
    boxes[count // 2] = 0  # without area: neither drops nor is dropped
    scores = np.linspace(1, 0.1, count, dtype=np.float32)
    wanted = np.zeros(count, np.float32)
    wanted[class_wise_nms(boxes, scores, np.zeros(count, np.int32), 0.5, count)] = 1
    suppression = Suppression(0.5)
    candidates = ms.Tensor(np.concatenate([boxes, scores[:, None]], 1))
    for _ in ("kernel", "operators"):
        rows, kept = suppression(candidates)
        np.testing.assert_array_equal(rows.asnumpy(), candidates.asnumpy())
        np.testing.assert_array_equal(kept.asnumpy(), wanted)
        suppression.use_standard_operators()
    assert 0 < wanted.sum() < max(count, 2)
