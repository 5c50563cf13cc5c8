import mindspore as ms
import numpy as np
import pytest

from src.blocks.necks import FPN
from tests.blocks import oracle

EXPECTED = oracle.arrays("necks")
SEED = int(EXPECTED["seed"])
CHANNELS = {
    "fpn_small": ((64, 128, 256, 512), 32),
    "fpn_odd": ((16, 24, 32, 40), 16),
    "fpn": ((256, 512, 1024, 2048), 256),
}


def inputs(name: str) -> tuple[ms.Tensor, ...]:
    if name == "fpn":
        seed = int(EXPECTED["full/input_seed"])
        features = [
            np.random.default_rng([seed, level]).normal(0, 0.5, shape).astype(np.float16)
            for level, shape in enumerate(EXPECTED["full/shapes"])
        ]
        np.testing.assert_array_equal([f.reshape(-1)[:8] for f in features], EXPECTED["full/first8"])
    else:
        features = [EXPECTED[f"{name.removeprefix('fpn_')}/C{level}"] for level in range(2, 6)]
    return tuple(ms.Tensor(feature.astype(np.float32)) for feature in features)


@pytest.mark.parametrize("name", CHANNELS)
def test_levels_equal_mmdetections(name, mode):
    in_channels, out_channels = CHANNELS[name]
    neck = FPN(in_channels, out_channels, num_outs=5)
    oracle.set_published_weights(neck, f"neck_{name}", SEED)
    levels = neck(inputs(name))
    assert len(levels) == 5
    for i, level in enumerate(levels, start=2):
        assert oracle.relative_error(EXPECTED, f"{name}/P{i}", level) < 1e-4


def test_further_levels_take_every_other_pixel(pynative):
    levels = FPN((8, 16), 4, num_outs=4)(
        tuple(ms.Tensor(np.ones((1, c, s, s), np.float32)) for c, s in ((8, 10), (16, 5)))
    )
    assert [level.shape for level in levels] == [(1, 4, 10, 10), (1, 4, 5, 5), (1, 4, 3, 3), (1, 4, 2, 2)]
    np.testing.assert_array_equal(levels[2].asnumpy(), levels[1].asnumpy()[:, :, ::2, ::2])


def test_weights_start_as_published():
    weight = FPN((64,), 64, num_outs=1).fpn_convs[0].conv.weight.asnumpy()
    limit = np.sqrt(6 / (64 * 9 * 2))
    assert 0.99 * limit < np.abs(weight).max() <= limit


def test_fewer_levels_than_feature_maps_are_an_error():
    with pytest.raises(ValueError, match="num_outs is 1, but there are 2"):
        FPN((8, 16), 4, num_outs=1)
