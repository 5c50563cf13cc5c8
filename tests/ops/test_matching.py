"""The kernels that match priors and objects against MindSpore's operators."""

from pathlib import Path

import numpy as np
import pytest
from mindspore import Tensor, nn

from src.blocks.anchor_generator import AnchorGenerator
from src.blocks.assigners_samplers import GridMatcher, PairwiseMatcher
from src.blocks.layers import use_standard_operators
from src.ops.cpu_kernels import cpu_library
from src.ops.matching.matching import TARGET
from tests.ops.sanitized import assert_sanitizers_find_nothing, needs_compiler

needs_kernels = pytest.mark.skipif(cpu_library(TARGET) is None, reason="no compiler")


def objects(rng: np.random.Generator, batch: int, count: int, size: float) -> tuple[Tensor, Tensor]:
    """Boxes within size x size, some of them twice; the last images and some others have padding."""
    centre, side = rng.uniform(0, size, (batch, count, 2)), rng.uniform(2, size / 2, (batch, count, 2))
    boxes = np.concatenate([centre - side / 2, centre + side / 2], 2).astype(np.float32)
    boxes[:, count // 2] = boxes[:, 0]
    valid = rng.random((batch, count)) < 0.7
    valid[-1] = False
    return Tensor(boxes), Tensor(valid)


def assert_equal_to_operators(matcher: nn.Cell, *arguments: object) -> None:
    iou, gt, best_of = (array.asnumpy() for array in matcher(*arguments))
    assert (best_of > 0).any(), "nothing was matched"
    use_standard_operators(matcher)
    wanted = [array.asnumpy() for array in matcher(*arguments)]
    np.testing.assert_allclose(iou, wanted[0], atol=1e-6)
    assert (gt != wanted[1]).mean() < 2e-3  # rounding breaks ties
    assert (best_of != wanted[2]).mean() < 2e-3
    assert (gt.dtype, best_of.dtype) == (np.int32, np.int32)


@needs_kernels
@pytest.mark.parametrize("assign_all", [True, False], ids=["all", "first"])
@pytest.mark.parametrize("least", [0.0, 0.6])
@pytest.mark.parametrize(("count", "number"), [(1, 1), (300, 9), (7000, 40)])
def test_pairs(count: int, number: int, least: float, assign_all: bool, mode: int) -> None:
    rng = np.random.default_rng(count)
    boxes, valid = objects(rng, 3, number, 100)
    valid = Tensor(np.array([[True] * number, *valid.asnumpy()[1:]]))
    corner, side = rng.uniform(0, 90, (3, count, 2)), rng.uniform(1, 50, (3, count, 2))
    priors = np.concatenate([corner, corner + side], 2).astype(np.float32)
    priors[:, 0] = boxes.asnumpy()[:, 0]
    priors[:, count // 3] = priors[:, 0]  # two that tie
    usable = rng.random((3, count)) < 0.8
    usable[:, 0] = True
    assert_equal_to_operators(PairwiseMatcher(assign_all), boxes, valid, Tensor(priors), least)
    assert_equal_to_operators(PairwiseMatcher(assign_all), boxes, valid, Tensor(priors), least, Tensor(usable))


@needs_kernels
@pytest.mark.parametrize("bounded", [False, True])
def test_grids(bounded: bool, pynative: None) -> None:
    rng = np.random.default_rng(2)
    generator = AnchorGenerator([8, 16, 32, 64, 128], [0.5, 1.0, 2.0], 3, 3)
    matcher = GridMatcher(generator, generator.feature_sizes(256, 224))
    usable = matcher.inside(Tensor(np.full((3, 2), 200, np.float32))) if bounded else None
    assert_equal_to_operators(matcher, *objects(rng, 3, 20, 256), None, 0.0, usable)


@needs_compiler
def test_sanitizers_find_nothing(tmp_path: Path) -> None:
    assert_sanitizers_find_nothing("matching", tmp_path)
