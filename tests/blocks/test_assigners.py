import json

import mindspore as ms
import numpy as np
import pytest

from src.blocks.anchor_generator import AnchorGenerator
from src.blocks.assigners_samplers import AssignerOptions, GridMatcher, MaxIoUAssigner, PairwiseMatcher, PseudoSampler
from tests.blocks import oracle

EXPECTED = oracle.arrays("assigners")
CONFIGS = {
    name: {k: v for k, v in arguments.items() if not k.startswith("ignore")}
    for name, arguments in json.loads(str(EXPECTED["configs_json"])).items()
    if f"{name}/gt_1/gt_inds" in EXPECTED
}
PADDED = 20
GRIDS = {
    "retina": (AnchorGenerator([8, 16, 32, 64, 128], [0.5, 1.0, 2.0], 4, 3), (128, 160)),
    "rpn": (AnchorGenerator([4, 8, 16, 32, 64], [0.5, 1.0, 2.0], scales=[8]), (128, 160)),
}


def priors_of(config: str) -> np.ndarray:
    return EXPECTED["proposals" if config.startswith("rcnn") else f"anchors_{config.split('_')[0]}"]


def padded_objects(gts: str) -> tuple[np.ndarray, np.ndarray]:
    boxes = EXPECTED[f"{gts}/boxes"]
    padded = np.zeros((PADDED, 4), np.float32)
    padded[: len(boxes)] = boxes
    return padded, np.arange(PADDED) < len(boxes)


def assigner(config: str, matcher) -> MaxIoUAssigner:
    return MaxIoUAssigner(matcher, AssignerOptions(**{"match_low_quality": True, **CONFIGS[config]}))


def assert_as_mmdetection(config: str, gts: str, assigned: np.ndarray, free: np.ndarray | bool = False) -> None:
    stable = np.ones(len(assigned), bool)
    unstable = EXPECTED.get(f"{config}/{gts}/unstable", np.zeros(0, int))
    stable[unstable] = False
    stable &= ~np.asarray(free)
    np.testing.assert_array_equal(assigned[stable], EXPECTED[f"{config}/{gts}/gt_inds"][stable])


@pytest.mark.parametrize("config", CONFIGS)
def test_any_priors_as_mmdetection(config, mode):
    """A batch of three images, with 0, 1 and 15 objects."""
    names = ["gt_0", "gt_1", "gt_many"]
    boxes, valid = (ms.Tensor(np.stack(x)) for x in zip(*map(padded_objects, names), strict=True))
    priors = ms.Tensor(np.stack([priors_of(config)] * 3))
    assigned = assigner(config, PairwiseMatcher())(boxes, valid, priors).asnumpy()
    for name, row in zip(names, assigned, strict=True):
        assert_as_mmdetection(config, name, row)


def tied_with_the_best(boxes: np.ndarray, priors: np.ndarray) -> np.ndarray:
    """bool [P]: priors whose IoU with an object equals the object's best but for the rounding of their corners."""
    a, b = priors[:, None].astype(np.float64), boxes[None].astype(np.float64)
    sides = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None)
    areas = [np.prod(x[..., 2:] - x[..., :2], axis=-1) for x in (a, b)]
    iou = sides.prod(-1) / (areas[0] + areas[1] - sides.prod(-1))
    close = iou > iou.max(0) * (1 - 1e-5)
    return (close & (close.sum(0) > 1)).any(1)


@pytest.mark.parametrize("config", [c for c in CONFIGS if not c.startswith("rcnn")])
def test_a_grids_anchors_as_mmdetection(config, mode):
    generator, size = GRIDS[config.split("_")[0]]
    sizes = generator.feature_sizes(*size)
    np.testing.assert_allclose(np.concatenate(generator.grid_anchors(sizes)), priors_of(config), atol=1e-4)
    names = ["gt_many", "gt_0", "gt_1"]
    boxes, valid = (ms.Tensor(np.stack(x)) for x in zip(*map(padded_objects, names), strict=True))
    assigned = assigner(config, GridMatcher(generator, sizes))(boxes, valid).asnumpy()
    for name, row in zip(names, assigned, strict=True):
        # mmdetection lets rounding choose among anchors that all contain a small object; on a grid they all tie.
        tied = tied_with_the_best(EXPECTED[f"{name}/boxes"], priors_of(config)) if name != "gt_0" else False
        assert_as_mmdetection(config, name, row, free=tied)
        assert (row != EXPECTED[f"{config}/{name}/gt_inds"]).mean() < 5e-3


def test_every_object_gets_an_anchor_and_the_last_of_two_equal_objects_wins(pynative):
    generator = AnchorGenerator([8], [1.0], scales=[4])
    box = [3.0, 3.0, 9.0, 9.0]  # IoU 36/1024 with the anchor around (8, 8)
    boxes = ms.Tensor(np.array([[box, [40, 40, 72, 72], box, [0, 0, 0, 0]]], np.float32))
    valid = ms.Tensor(np.array([[True, True, True, False]]))
    sizes = [(8, 8)]
    low_quality = MaxIoUAssigner(GridMatcher(generator, sizes), AssignerOptions(0.5, 0.35, 0.0, True))(
        boxes, valid
    ).asnumpy()[0]
    assert set(low_quality) == {-1, 0, 2, 3}
    assert low_quality.reshape(8, 8)[7, 7] == 2
    without = MaxIoUAssigner(GridMatcher(generator, sizes), AssignerOptions(0.5, 0.35, 0.0, False))(
        boxes, valid
    ).asnumpy()[0]
    assert set(without) == {-1, 0, 2}
    above = MaxIoUAssigner(GridMatcher(generator, sizes), AssignerOptions(0.5, 0.35, 0.1, True))(
        boxes, valid
    ).asnumpy()[0]
    assert set(above) == {-1, 0, 2}


def test_both_matchers_agree_on_random_objects(pynative):
    rng = np.random.default_rng(3)
    generator = AnchorGenerator([8, 16, 32, 64, 128], [0.5, 1.0, 2.0], 3, 3)
    sizes = generator.feature_sizes(256, 256)
    centre, side = rng.uniform(20, 236, (2, 30, 2)), rng.uniform(5, 120, (2, 30, 2))
    boxes = ms.Tensor(np.concatenate([centre - side / 2, centre + side / 2], 2).astype(np.float32))
    valid = ms.Tensor(rng.random((2, 30)) < 0.7)
    priors = ms.Tensor(np.stack([np.concatenate(generator.grid_anchors(sizes))] * 2))
    fast = MaxIoUAssigner(GridMatcher(generator, sizes), AssignerOptions(0.5, 0.4, 0.0, True))(boxes, valid).asnumpy()
    plain = MaxIoUAssigner(PairwiseMatcher(), AssignerOptions(0.5, 0.4, 0.0, True))(boxes, valid, priors).asnumpy()
    assert (fast > 0).sum() > 100
    assert (fast != plain).mean() < 1e-3  # anchors inside an object tie, and rounding breaks ties


def test_pseudo_sampler_takes_everything_but_the_ignored():
    positive, negative = PseudoSampler()(ms.Tensor([[-1, 0, 3]], ms.int32))
    assert positive.asnumpy().tolist() == [[False, False, True]]
    assert negative.asnumpy().tolist() == [[False, True, False]]
