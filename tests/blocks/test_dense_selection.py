import mindspore as ms
import numpy as np
import pytest

from src.blocks.anchor_generator import AnchorGenerator
from src.blocks.bbox_coders import DeltaXYWHBBoxCoder
from src.blocks.post_processing import DenseGraphSelection, DensePostProcessor, DenseSelection
from tests.blocks import oracle
from tests.ops.test_nms import matched

EXPECTED = oracle.arrays("nms")
LOGITS = [EXPECTED[f"retina/cls_l{i}"] for i in range(5)]
DELTAS = [EXPECTED[f"retina/reg_l{i}"] for i in range(5)]
HEIGHT, WIDTH = (float(v) for v in EXPECTED["retina/img_hw"])
SCALE = float(EXPECTED["retina/scale_factor"][0])
INFO = np.array([[HEIGHT / SCALE, WIDTH / SCALE, HEIGHT, WIDTH, SCALE, SCALE]], np.float32)
GENERATOR = AnchorGenerator([8, 16, 32, 64, 128], [0.5, 1.0, 2.0], 4, 3)
ANCHORS = GENERATOR.grid_anchors([level.shape[2:] for level in LOGITS])


def processor(cls=DensePostProcessor, **options):
    return cls(ANCHORS, 9, DeltaXYWHBBoxCoder(), DenseSelection(**options))


def test_detections_equal_mmdetections():
    boxes, scores, labels, valid = processor()(LOGITS, DELTAS, INFO)
    assert valid.all()
    assert (boxes.dtype, scores.dtype, labels.dtype) == (np.float32, np.float32, np.int32)
    assert (np.diff(scores[0]) <= 0).all()
    np.testing.assert_allclose(scores[0], EXPECTED["retina/scores"], atol=1e-4)
    wanted = EXPECTED["retina/dets"], EXPECTED["retina/scores"], EXPECTED["retina/labels"]
    assert matched(boxes[0], scores[0], labels[0], *wanted) >= 0.98


def test_the_graphs_selection_equals_the_hosts(mode):
    two = [np.concatenate([x, x[:, :, ::-1]]) for x in LOGITS], [np.concatenate([x, x]) for x in DELTAS]
    info = np.concatenate([INFO, INFO * np.array([1, 1, 1, 1, 1, 1], np.float32)])
    options = {"max_per_img": 20, "min_bbox_size": 8.0}
    host = processor(**options)(*two, info)
    tensors = [tuple(ms.Tensor(np.ascontiguousarray(x)) for x in part) for part in two]
    graph = processor(DenseGraphSelection, **options)(*tensors, ms.Tensor(info))
    for theirs, ours in zip(graph, host, strict=True):
        np.testing.assert_allclose(theirs.asnumpy(), ours, atol=1e-3)
    sides = host[0][..., 2:] - host[0][..., :2]
    assert (sides * SCALE > 8 - 1e-3).all()


def test_boxes_stay_inside_the_original_image():
    info = np.array([[33.0, 47.0, HEIGHT, WIDTH, HEIGHT / 33, WIDTH / 48]], np.float32)  # rounding: 48 would be exact
    boxes = processor()(LOGITS, DELTAS, info)[0]
    assert boxes.min() >= 0
    assert boxes[..., 0::2].max() == 47.0 and boxes[..., 1::2].max() <= 33.0


@pytest.mark.parametrize("threshold, count", [(0.0, 50), (1.0, 0)])
def test_extreme_thresholds(threshold, count):
    boxes, scores, _, valid = processor(score_thr=threshold, max_per_img=50)(LOGITS, DELTAS, INFO)
    assert valid.sum() == count
    if not count:
        assert not boxes.any() and not scores.any()


def test_images_of_another_size_than_the_anchors_are_an_error():
    with pytest.raises(ValueError, match="a level has 96 positions, its anchors 768"):
        processor()([x[:, :, :3] for x in LOGITS], [x[:, :, :3] for x in DELTAS], INFO)


def test_nms_pre_keeps_the_best_of_each_level():
    _, scores, _, valid = processor(nms_pre=3, iou_threshold=1.0)(LOGITS, DELTAS, INFO)
    best = np.sort(np.concatenate([np.sort(level.reshape(-1))[-3:] for level in LOGITS]))[::-1]
    np.testing.assert_allclose(scores[0, :15], 1 / (1 + np.exp(-best)), rtol=1e-5)
    assert valid.sum() == 15
