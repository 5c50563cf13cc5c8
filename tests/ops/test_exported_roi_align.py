"""RoIAlign in the operators of MINDIR files, against the kernels."""

import mindspore as ms
import numpy as np
import pytest

from src.blocks.roi_extractors import RoIAlign
from src.ops.roi_align.exported_roi_align import MatrixRoIAlign
from tests.ops.test_roi_align import STRIDES, assert_close, pooled, pyramid, random_rois


def rois_inside(rng: np.random.Generator, extent: float = 96) -> np.ndarray:
    """15 RoIs of each of two images, one of them empty, one narrower than a pixel."""
    rois = random_rois(rng, 30, extent=extent)
    rois[:, 0] = np.repeat([0, 1], 15)
    rois[:, 1:] = rois[:, 1:].clip(0, extent)
    rois[3, 3] = rois[3, 1]
    rois[20, 3] = rois[20, 1] + 0.7
    return rois


@pytest.mark.parametrize("sampling_ratio", [0, 2])
@pytest.mark.parametrize("aligned", [True, False])
def test_matrix_products_equal_the_kernel(sampling_ratio: int, aligned: bool) -> None:
    rng = np.random.default_rng(1)
    levels, rois = pyramid(rng), rois_inside(rng)
    pool = RoIAlign(7, STRIDES, sampling_ratio, aligned)
    expected = pooled(pool, levels, rois)
    pool.export_as(MatrixRoIAlign)
    pool.compile_cache.clear()
    found = pooled(pool, levels, rois)
    assert np.abs(expected).max() > 0.5
    assert_close(found, expected, 1e-5)


def test_one_level(pynative: None) -> None:
    rng = np.random.default_rng(2)
    level, rois = rng.standard_normal((2, 4, 12, 14), np.float32), rois_inside(rng)
    expected = RoIAlign(5, [8])((ms.Tensor(level),), ms.Tensor(rois)).asnumpy()
    assert_close(MatrixRoIAlign(5, [8], 0, True, 56)((ms.Tensor(level),), ms.Tensor(rois)).asnumpy(), expected, 1e-5)
