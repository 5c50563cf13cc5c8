import numpy as np
import pytest

from src.blocks.bbox_coders import DeltaXYWHBBoxCoder
from src.blocks.post_processing import DecodedPostProcessor, DenseSelection
from tests.blocks.test_dense_selection import ANCHORS, DELTAS, INFO, LOGITS, processor


def decoded(logits, deltas) -> tuple[np.ndarray, np.ndarray]:
    """Boxes [1,N,4] and scores [1,N,K] of a dense head's outputs, in the order of the anchors."""
    coder, boxes, scores = DeltaXYWHBBoxCoder(), [], []
    for level_logits, level_deltas, anchors in zip(logits, deltas, ANCHORS, strict=True):
        boxes.append(coder.decode_numpy(anchors, level_deltas.transpose(0, 2, 3, 1).reshape(-1, 4)))
        scores.append(1 / (1 + np.exp(-level_logits.transpose(0, 2, 3, 1).reshape(len(anchors), -1))))
    return np.concatenate(boxes)[None], np.concatenate(scores)[None]


def selection(**options) -> DecodedPostProcessor:
    return DecodedPostProcessor([len(level) for level in ANCHORS], DenseSelection(**options))


@pytest.mark.parametrize("options", [{}, {"nms_pre": 20, "min_bbox_size": 8.0}, {"score_thr": 0.3, "max_per_img": 7}])
def test_detections_are_those_of_the_raw_outputs(options):
    two = [np.concatenate([x, x[:, :, ::-1]]) for x in LOGITS], DELTAS
    boxes, scores = zip(*(decoded([x[i : i + 1] for x in two[0]], DELTAS) for i in range(2)), strict=True)
    info = np.concatenate([INFO, INFO])
    found = selection(**options)(np.concatenate(boxes), np.concatenate(scores), info)
    expected = processor(**options)(two[0], [np.concatenate([x, x]) for x in DELTAS], info)
    assert expected[3].any()
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_nothing_over_the_threshold():
    boxes, scores, labels, valid = selection(score_thr=1.0)(*decoded(LOGITS, DELTAS), INFO)
    assert not (boxes.any() or scores.any() or labels.any() or valid.any())


def test_outputs_of_another_size_than_the_levels_are_an_error():
    boxes, scores = decoded(LOGITS, DELTAS)
    with pytest.raises(ValueError, match="are not of"):
        selection()(boxes[:, 1:], scores[:, 1:], INFO)
