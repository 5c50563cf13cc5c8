import mindspore as ms
import numpy as np
import pytest

from src.blocks.post_processing import MulticlassNMS
from src.ops.nms import class_wise_nms, nms
from tests.blocks import oracle

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
    out_boxes, out_scores, out_labels, valid = (x.asnumpy() for x in MulticlassNMS(0.5, 20)(*batch))
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
    out_boxes, out_scores, out_labels, valid = (x.asnumpy()[0] for x in MulticlassNMS(0.5, 4)(*batch))
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
