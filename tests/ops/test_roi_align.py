"""RoIAlign and SingleRoIExtractor: published numbers, gradients, edges; by the kernels and by standard operators."""

import re

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops

from src.blocks.roi_extractors import RoIAlign, SingleRoIExtractor
from tests.blocks.oracle import arrays

EXPECTED = arrays("roi_align")
VARIANTS = sorted(key.removesuffix("/out") for key in EXPECTED if re.fullmatch(r"s\d+_o\d+_al\d_sr\d/out", key))
STRIDES = (4, 8, 16, 32)
RTOL = 1e-5


class Weighted(nn.Cell):
    """sum(dout * pooled), with the levels as arguments, so that it can be differentiated in either mode."""

    def __init__(self, pool: nn.Cell, dout: np.ndarray) -> None:
        super().__init__()
        self.pool = pool
        self.dout = ms.Tensor(dout)

    def construct(self, rois, *levels):
        return (self.pool(levels, rois) * self.dout).sum()


def gradients(pool: nn.Cell, levels: list[np.ndarray], rois: np.ndarray, dout: np.ndarray) -> list[np.ndarray]:
    positions = tuple(range(1, len(levels) + 1))
    found = ms.grad(Weighted(pool, dout), positions)(ms.Tensor(rois), *map(ms.Tensor, levels))
    return [gradient.asnumpy() for gradient in (found if isinstance(found, tuple) else (found,))]


def pooled(pool: nn.Cell, levels: list[np.ndarray], rois: np.ndarray) -> np.ndarray:
    return pool(tuple(map(ms.Tensor, levels)), ms.Tensor(rois)).asnumpy()


def assert_close(actual: np.ndarray, expected: np.ndarray, rtol: float = RTOL) -> None:
    assert np.abs(actual - expected).max() <= rtol * np.abs(expected).max()


def pyramid(rng: np.random.Generator, channels: int = 3, batch: int = 2, size: int = 96) -> list[np.ndarray]:
    return [rng.standard_normal((batch, channels, size // s, size // s + 3), np.float32) for s in STRIDES]


def random_rois(rng: np.random.Generator, count: int, batch: int = 2, extent: float = 96) -> np.ndarray:
    sides = np.exp(rng.uniform(np.log(4), np.log(1.5 * extent), (count, 2)))
    corners = rng.uniform(-0.2 * extent, extent, (count, 2))
    images = rng.integers(0, batch, (count, 1))
    return np.concatenate([images, corners, corners + sides], 1).astype(np.float32)


@pytest.mark.parametrize("variant", VARIANTS)
def test_matches_torchvision(variant: str, pynative: None) -> None:
    stride, bins, aligned, ratio = map(int, re.findall(r"\d+", variant))
    pool = RoIAlign(bins, [stride], ratio, bool(aligned))
    features, rois = EXPECTED[f"feat_s{stride}"], EXPECTED["rois"]
    stable = np.ones(len(rois), bool)
    stable[EXPECTED[f"{variant}/unstable_rois"]] = False
    dout = EXPECTED[f"grad_out_o{bins}"] * stable[:, None, None, None]
    assert_close(pooled(pool, [features], rois)[stable], EXPECTED[f"{variant}/out"][stable])
    assert_close(gradients(pool, [features], rois, dout)[0], EXPECTED[f"{variant}/grad_in"])


def test_extractor_matches_mmdetection(mode: str) -> None:
    levels = [EXPECTED[f"ext/feat_s{stride}"] for stride in STRIDES]
    extractor = SingleRoIExtractor(out_size=7, sampling_ratio=0, featmap_strides=STRIDES, finest_scale=56)
    rois = EXPECTED["ext/rois"]
    assert_close(pooled(extractor, [*levels, levels[-1]], rois), EXPECTED["ext/out7"])  # a fifth level is not used
    found = gradients(extractor, levels, rois, EXPECTED["ext/grad_out7"])
    for stride, gradient in zip(STRIDES, found, strict=True):
        assert_close(gradient, EXPECTED[f"ext/grad_feat_s{stride}"])


def test_operators_of_different_size_beside_each_other(mode: str) -> None:
    features, rois = EXPECTED["feat_s8"], EXPECTED["rois"]
    for bins in (7, 14, 7):
        assert_close(pooled(RoIAlign(bins, [8]), [features], rois), EXPECTED[f"s8_o{bins}_al1_sr0/out"])


def test_each_roi_is_pooled_on_its_own_level(pynative: None) -> None:
    levels = [np.full((2, 1, 96 // s, 96 // s), i, np.float32) for i, s in enumerate(STRIDES)]
    sides = np.float32([8, 111, 113, 223, 225, 447, 449, 5000])
    centres = np.full_like(sides, 48)
    rois = np.stack([np.zeros_like(sides), *[centres - sides / 2] * 2, *[centres + sides / 2] * 2], 1)
    middle = pooled(RoIAlign(1, STRIDES, sampling_ratio=1), levels, rois)[:, 0, 0, 0]
    assert middle.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(("channels", "bins", "count"), [(1, 28, 5), (3, 1, 40), (5, 3, 9), (17, 9, 30)])
def test_gradient_is_that_of_finite_differences(channels: int, bins: int, count: int, pynative: None) -> None:
    rng = np.random.default_rng(channels)
    levels, rois = pyramid(rng, channels), random_rois(rng, count)
    dout = rng.standard_normal((count, channels, bins, bins), np.float32)
    pool = RoIAlign(bins, STRIDES)
    found = gradients(pool, levels, rois, dout)
    for level in range(len(STRIDES)):
        direction = rng.standard_normal(levels[level].shape, np.float32)
        ends = [[*levels[:level], levels[level] + sign * direction, *levels[level + 1 :]] for sign in (1, -1)]
        up, down = (pooled(pool, end, rois).astype(np.float64) for end in ends)
        # Pooling is linear in the features, so that a long step is exact.
        expected = ((up - down) / 2 * dout).sum()
        scale = np.abs((up - down) / 2 * dout).sum()
        assert abs((found[level].astype(np.float64) * direction).sum() - expected) <= 1e-5 * scale


def test_rois_without_size_or_image(pynative: None) -> None:
    rng = np.random.default_rng(0)
    features = 1 + rng.random((2, 3, 10, 10), np.float32)
    rois = np.float32(
        [
            [0, 10, 10, 10, 10],  # a point
            [0, 30, 10, 10, 30],  # mirrored
            [2, 0, 0, 20, 20],  # no such image
            [-1, 0, 0, 20, 20],
            [np.nan, 0, 0, 20, 20],
            [1, np.nan, 0, 20, np.inf],
            [1, 400, 400, 500, 500],  # outside
            [1, -1e30, -1e30, 1e30, 1e30],
            [1, 0, 0, 20, 20],
        ]
    )
    adaptive = pooled(RoIAlign(3, [4]), [features], rois)
    assert [bool(roi.any()) for roi in adaptive] == [False] * 8 + [True]
    fixed = pooled(RoIAlign(3, [4], sampling_ratio=2), [features], rois)
    straight = pooled(RoIAlign(3, [4], sampling_ratio=2), [features], np.float32([[0, 10, 10, 30, 30]]))
    np.testing.assert_allclose(fixed[1], straight[0][:, :, ::-1], rtol=1e-5)
    at_least_a_pixel = pooled(RoIAlign(3, [4], aligned=False), [features], rois)
    assert at_least_a_pixel[:2].all()
    found = gradients(RoIAlign(3, [4]), [features], rois[:8], np.ones((8, 3, 3, 3), np.float32))
    assert not found[0].any()


def test_no_rois(mode: str) -> None:
    rng = np.random.default_rng(0)
    levels = pyramid(rng)
    rois = np.zeros((0, 5), np.float32)
    assert pooled(SingleRoIExtractor(), levels, rois).shape == (0, 3, 7, 7)


def test_gradient_is_the_same_on_every_run(pynative: None) -> None:
    rng = np.random.default_rng(0)
    levels, rois = pyramid(rng, 9), random_rois(rng, 200)
    dout = rng.standard_normal((200, 9, 7, 7), np.float32)
    first, second = (gradients(RoIAlign(7, STRIDES), levels, rois, dout) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_one_to_five_levels(pynative: None) -> None:
    rng = np.random.default_rng(0)
    levels, rois = [*pyramid(rng), rng.standard_normal((2, 3, 3, 3), np.float32)], random_rois(rng, 20, extent=600)
    dout = np.ones((20, 3, 2, 2), np.float32)
    for count in range(1, 6):
        strides = (*STRIDES, 64)[:count]
        found = gradients(RoIAlign(2, strides), levels[:count], rois, dout)
        assert [g.shape for g in found] == [level.shape for level in levels[:count]]
        total = sum(g.sum(dtype=np.float64) for g in found)
        ones = [np.ones_like(level) for level in levels[:count]]
        assert total == pytest.approx(pooled(RoIAlign(2, strides), ones, rois).sum(dtype=np.float64), rel=1e-5)
    with pytest.raises(ValueError, match="1 to 5 levels"):
        RoIAlign(7, (4, 8, 16, 32, 64, 128))


def test_inside_a_network_that_trains() -> None:
    class Net(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, has_bias=True, weight_init="normal")
            self.extract = SingleRoIExtractor(3, featmap_strides=(4, 8))

        def construct(self, x, rois):
            fine = self.conv(x)
            coarse = ops.MaxPool(2, 2)(fine)
            return ops.square(self.extract((fine, coarse), rois)).mean()

    rng = np.random.default_rng(0)
    net = Net()
    x = ms.Tensor(rng.standard_normal((2, 3, 24, 24), np.float32))
    rois = ms.Tensor(random_rois(rng, 12))
    value = ms.value_and_grad(net, None, net.trainable_params())
    loss, (weight, _) = value(x, rois)
    step = 1e-2 / np.linalg.norm(weight.asnumpy())
    ops.assign(net.conv.weight, net.conv.weight - ms.Tensor(step * weight.asnumpy(), ms.float32))
    fallen = float(loss) - float(value(x, rois)[0])
    assert fallen == pytest.approx(step * np.square(weight.asnumpy()).sum(), rel=0.1)


@pytest.mark.parametrize("aligned", [True, False])
def test_standard_operators_agree(aligned: bool, mode: str) -> None:
    rng = np.random.default_rng(0)
    levels, rois = pyramid(rng), random_rois(rng, 40)
    kernels = SingleRoIExtractor(7, sampling_ratio=2, aligned=aligned)
    standard = SingleRoIExtractor(7, sampling_ratio=2, aligned=aligned)
    standard.use_standard_operators()
    expected = pooled(kernels, levels, rois)
    assert_close(pooled(standard, levels, rois), expected, 2e-5)
    dout = rng.standard_normal(expected.shape, np.float32)
    wanted = gradients(kernels, levels, rois, dout)
    for found, gradient in zip(gradients(standard, levels, rois, dout), wanted, strict=True):
        assert_close(found, gradient, 2e-5)


def test_standard_operators_come_near_adaptive_sampling(pynative: None) -> None:
    rng = np.random.default_rng(0)
    rois = random_rois(rng, 60, extent=400)
    rois[:, 0] = 0
    levels = []
    for stride in STRIDES:
        waves = np.arange(400 // stride) / 4  # features that change over some pixels, as a network's do
        phases = rng.uniform(0, 6, (8, 2, 1))
        level = np.sin(waves + phases[:, 0])[:, :, None] * np.sin(waves + phases[:, 1])[:, None]
        levels.append(level[None].astype(np.float32))
    standard = SingleRoIExtractor()
    standard.use_standard_operators()
    expected = pooled(SingleRoIExtractor(), levels, rois)
    error = pooled(standard, levels, rois) - expected
    assert np.sqrt(np.square(error).mean()) < 0.08 * expected.std()
