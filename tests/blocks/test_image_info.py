import mindspore as ms
import numpy as np

from src.blocks.image_info import original_hw, resized_hw, scale_yx
from src.blocks.original_pixels import (
    clip_to_resized,
    graph_clip_to_resized,
    graph_to_original_pixels,
    to_original_pixels,
    width_height,
)

INFO = np.float32([[100, 200, 50, 80, 0.5, 0.4], [64, 48, 128, 96, 2, 2]])
BOXES = np.float32([[[-4, 10, 40, 60], [0, 0, 90, 20]], [[20, 30, 96, 128], [50, 140, 110, 150]]])


def test_named_columns_of_arrays_and_tensors(mode):
    for accessor, columns in ((original_hw, [0, 1]), (resized_hw, [2, 3]), (scale_yx, [4, 5])):
        np.testing.assert_array_equal(accessor(INFO), INFO[:, columns])
        np.testing.assert_array_equal(accessor(INFO[0]), INFO[0, columns])
        np.testing.assert_array_equal(accessor(ms.Tensor(INFO)).asnumpy(), INFO[:, columns])
    np.testing.assert_array_equal(width_height(ms.Tensor(INFO[:, 2:4])).asnumpy(), INFO[:, [3, 2]])


def test_boxes_reach_the_original_image_and_stay_inside():
    expected = np.float32([[0, 20, 100, 100], [0, 0, 200, 40]])
    np.testing.assert_allclose(to_original_pixels(BOXES, INFO)[0], expected, rtol=1e-6)
    np.testing.assert_array_equal(clip_to_resized(BOXES, INFO)[0], [[0, 10, 40, 50], [0, 0, 80, 20]])
    for i in range(2):
        np.testing.assert_array_equal(to_original_pixels(BOXES[i], INFO[i]), to_original_pixels(BOXES, INFO)[i])


def test_graphs_compute_what_the_host_computes(mode):
    tensors = ms.Tensor(BOXES), ms.Tensor(INFO)
    np.testing.assert_array_equal(graph_clip_to_resized(*tensors).asnumpy(), clip_to_resized(BOXES, INFO))
    found = graph_to_original_pixels(*tensors).asnumpy()
    np.testing.assert_allclose(found, to_original_pixels(BOXES, INFO), rtol=1e-6)
