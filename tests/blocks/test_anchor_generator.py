import json

import numpy as np
import pytest

from src.blocks.anchor_generator import AnchorGenerator
from tests.blocks import oracle

EXPECTED = oracle.arrays("anchors")
GENERATORS = json.loads(str(EXPECTED["gens_json"]))


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("size", ["size0", "size1"])
def test_anchors_equal_mmdetections(name, size):
    generator = AnchorGenerator(**GENERATORS[name])
    for level, base in enumerate(generator.base_anchors):
        np.testing.assert_allclose(base, EXPECTED[f"{name}/base_l{level}"], rtol=1e-6)
    levels = generator.grid_anchors([tuple(hw) for hw in EXPECTED[f"{name}/{size}/feat_hw"]])
    for level, anchors in enumerate(levels):
        np.testing.assert_allclose(anchors, EXPECTED[f"{name}/{size}/l{level}"], atol=1e-4)


def test_feature_sizes_round_up():
    generator = AnchorGenerator(strides=[8, 128], ratios=[1.0], scales=[1])
    assert generator.feature_sizes(640, 648) == [(80, 81), (5, 6)]


def test_640_pixels_have_76725_anchors():
    generator = AnchorGenerator([8, 16, 32, 64, 128], [0.5, 1.0, 2.0], octave_base_scale=3, scales_per_octave=3)
    levels = generator.grid_anchors(generator.feature_sizes(640, 640))
    assert sum(map(len, levels)) == 76725
    first = levels[0][1]  # ratio 0.5, second scale, at the origin
    side = 3 * 8 * 2 ** (1 / 3)
    np.testing.assert_allclose(first[2:] - first[:2], [side * 2**0.5, side / 2**0.5], rtol=1e-5)
