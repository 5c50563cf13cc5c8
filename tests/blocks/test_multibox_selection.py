import numpy as np

from src.blocks.post_processing import MultiBoxPostProcessor, MultiBoxSelection


def test_selection_takes_the_best_of_each_class():
    rng = np.random.default_rng(0)
    corner = np.arange(40)[:, None] * 20.0
    boxes = np.concatenate([corner, corner * 0, corner + 10, corner * 0 + 10], 1).astype(np.float32)[None]
    scores = rng.uniform(0.1, 1, (1, 40, 2)).astype(np.float32)
    scores[0, :, 1] *= 0.1
    info = np.float32([[1000, 1000, 1000, 1000, 1, 1]])
    found = MultiBoxPostProcessor(MultiBoxSelection(score_thr=0.05, nms_pre=7, max_per_img=20))(boxes, scores, info)
    labels = found[2][found[3]]
    assert (labels == 0).sum() == 7 and (labels == 1).sum() <= 7
    np.testing.assert_allclose(found[1][0, :7], np.sort(scores[0, :, 0])[::-1][:7])
    assert (np.diff(found[1][0][found[3][0]]) <= 0).all()
