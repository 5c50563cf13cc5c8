"""RoIAlign in the operators of MINDIR files, against the kernels."""

import mindspore as ms
import numpy as np
import pytest

from src.blocks.roi_extractors import RoIAlign
from src.ops.roi_align.exported_roi_align import WindowRoIAlign
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
def test_windows_equal_the_kernel(sampling_ratio: int, aligned: bool) -> None:
    rng = np.random.default_rng(1)
    levels, rois = pyramid(rng), rois_inside(rng)
    pool = RoIAlign(7, STRIDES, sampling_ratio, aligned)
    expected = pooled(pool, levels, rois)
    pool.export_as(WindowRoIAlign)
    pool.compile_cache.clear()
    found = pooled(pool, levels, rois)
    assert np.abs(expected).max() > 0.5
    assert_close(found, expected, 1e-5)


def test_one_level(pynative: None) -> None:
    rng = np.random.default_rng(2)
    level, rois = rng.standard_normal((2, 4, 12, 14), np.float32), rois_inside(rng)
    expected = RoIAlign(5, [8])((ms.Tensor(level),), ms.Tensor(rois)).asnumpy()
    assert_close(WindowRoIAlign(5, [8], 0, True, 56)((ms.Tensor(level),), ms.Tensor(rois)).asnumpy(), expected, 1e-5)


def test_groups_of_rois(pynative: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """RoIs are pooled in equal groups where their weights are many, with the results of one group."""
    rng = np.random.default_rng(3)
    levels, rois = tuple(map(ms.Tensor, pyramid(rng))), ms.Tensor(rois_inside(rng))
    pool = WindowRoIAlign(7, STRIDES, 0, True, 56)
    together = pool(levels, rois).asnumpy()
    assert pool._groups(30, 100) == [(0, 30)]
    monkeypatch.setattr(pool, "most_weights", 13 * 100 * 49)
    assert pool._groups(30, 100) == [(0, 10), (10, 20), (20, 30)]
    monkeypatch.setattr(pool, "most_weights", 1)
    np.testing.assert_array_equal(pool(levels, rois).asnumpy(), together)


@pytest.mark.parametrize("aligned", [True, False])
def test_the_longest_windows(aligned: bool, pynative: None) -> None:
    """Of RoIs just small enough for the finest level, those over its whole width have the most pixels."""
    rng = np.random.default_rng(4)
    levels = tuple(rng.standard_normal((1, 2, 64 // s, 512 // s), np.float32) for s in (1, 2, 4))
    areas, heights = 63.9**2, np.float32([8.0, 7.99, 9.01, 10.5, 15.1, 30.3, 63.9])
    widths = np.minimum(areas / heights, 512)
    lefts = rng.uniform(0, 512 - widths)
    tops = rng.uniform(0, 64 - heights)
    rois = np.stack([0 * tops, lefts, tops, lefts + widths, tops + heights], 1).astype(np.float32)
    settings = (7, [1, 2, 4], 0, aligned, 32)
    inputs = tuple(map(ms.Tensor, levels)), ms.Tensor(rois)
    assert_close(WindowRoIAlign(*settings)(*inputs).asnumpy(), RoIAlign(*settings)(*inputs).asnumpy(), 2e-4)
