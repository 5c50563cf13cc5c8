"""The adapter to the optional package instaboostfast, with a stand-in for it and, where it is installed, with it."""

import random
import sys
from types import ModuleType

import numpy as np
import pytest

from src.common.errors import UserError
from src.data.instaboost.package import PackageInstaBoost
from src.data.masks import MaskPatch, decode_mask
from tests.data.instaboost_samples import rectangle, sample_of, scene


class StandIn(ModuleType):
    """Moves everything by one pixel, as the package would, or fails."""

    InstaBoostConfig = dict

    def __init__(self):
        super().__init__("instaboostfast")
        self.affine = ModuleType("instaboostfast.affine_transform")
        self.lose = self.fail = False

    def get_new_data(self, annotations, image, config, background):
        if self.fail:
            raise ValueError("setting an array element with a sequence")
        self.config, self.drawn, self.image = config, (random.random(), np.random.rand()), image
        for annotation in annotations:
            height, width = image.shape[:2]
            bitmap = decode_mask(annotation["segmentation"][0], height, width).bitmap(height, width)
            annotation["segmentation"] = self.affine.binary_mask_to_polygon(np.roll(bitmap, 1, axis=1))
        return annotations[1:] if self.lose else annotations, 255 - image


@pytest.fixture
def stand_in(monkeypatch):
    module = StandIn()
    monkeypatch.setitem(sys.modules, "instaboostfast", module)
    monkeypatch.setitem(sys.modules, "instaboostfast.affine_transform", module.affine)
    return module


def holed(x: int, y: int) -> MaskPatch:
    pixels = np.ones((20, 30), np.uint8)
    pixels[5:8, 5:20] = 0
    pixels[12:14] = 0
    return MaskPatch(pixels, x, y)


def test_masks_of_any_form_come_back_as_they_went(stand_in):
    sample = sample_of(scene([], 60, 90).image, [holed(10, 10), rectangle(50, 30, 51, 60), rectangle(0, 0, 5, 5)])
    sample.crowd[2] = True
    result = PackageInstaBoost(aug_prob=1.0, scale=(0.9, 1.1))(sample, np.random.default_rng(3))
    assert result.masks[0].box == (11, 10, 41, 30) and np.array_equal(result.masks[0].pixels, holed(0, 0).pixels)
    assert result.boxes.tolist() == [[11, 10, 41, 30], [51, 30, 52, 60], [0, 0, 5, 5]]
    assert result.masks[2] is sample.masks[2]
    assert np.array_equal(stand_in.image, sample.image[..., ::-1])
    assert np.array_equal(result.image, 255 - sample.image)
    assert stand_in.config["scale"] == (0.9, 1.1) and stand_in.config["theta"] == (-1, 1)


def test_seeded_and_the_global_generators_left_alone(stand_in):
    sample, transform = scene([(20, 20, 60, 50)], 80, 90), PackageInstaBoost(aug_prob=1.0)
    drawn = []
    for seed in (1, 1, 2):
        random.seed(0)
        np.random.seed(0)
        transform(sample, np.random.default_rng(seed))
        drawn.append(stand_in.drawn)
        assert (random.random(), np.random.rand()) == (pytest.approx(0.8444218515), pytest.approx(0.5488135039))
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("fault", ["lose", "fail"])
def test_ground_truth_is_never_lost(stand_in, fault):
    setattr(stand_in, fault, True)
    sample = scene([(20, 20, 60, 50)], 80, 90)
    assert PackageInstaBoost(aug_prob=1.0)(sample, np.random.default_rng(0)) is sample


def test_package_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "instaboostfast", None)
    with pytest.raises(UserError, match="pip install instaboostfast==0.1.2"):
        PackageInstaBoost()


def test_fractions_of_degrees(stand_in):
    with pytest.raises(UserError, match="theta"):
        PackageInstaBoost(theta=(-0.5, 0.5))


@pytest.mark.parametrize("heatmap_flag", [False, True])
def test_the_package_itself(heatmap_flag):
    pytest.importorskip("instaboostfast")
    sample = sample_of(scene([(80, 60, 140, 120)], 160, 200).image, [holed(30, 30), rectangle(80, 60, 140, 120)])
    transform = PackageInstaBoost(
        aug_prob=1.0, heatmap_flag=heatmap_flag, action_candidate=["horizontal"], action_prob=[1]
    )
    moved = 0
    for seed in range(5):
        result = transform(sample, np.random.default_rng(seed))
        again = transform(sample, np.random.default_rng(seed))
        assert np.array_equal(result.image, again.image) and np.array_equal(result.boxes, again.boxes)
        assert len(result.masks) == 2 and all(mask.area > 0 for mask in result.masks)
        moved += not np.array_equal(result.boxes, sample.boxes)
    assert moved >= 4
