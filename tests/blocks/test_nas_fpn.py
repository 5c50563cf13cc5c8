"""NAS-FPN against mmdetection's, and its cells by themselves."""

import mindspore as ms
import numpy as np
import pytest

from src.blocks.layers import Norm
from src.blocks.necks import NASFPN
from src.blocks.necks.merge_cells import GlobalPoolingCell, ResizeTo, SumCell
from tests.blocks import oracle

EXPECTED = oracle.arrays("necks")
SEED = int(EXPECTED["seed"])
NORM = Norm(momentum=0.1, eps=1e-5)
CHANNELS = {"nasfpn_small": ((128, 256, 512), 32), "nasfpn": ((512, 1024, 2048), 256)}


def inputs(name: str) -> tuple[ms.Tensor, ...]:
    """C3 to C5 of an oracle."""
    if name == "nasfpn_small":
        features = [EXPECTED[f"small/C{level}"] for level in range(3, 6)]
    else:
        seed = int(EXPECTED["full/input_seed"])
        shapes = list(enumerate(EXPECTED["full/shapes"]))[1:]
        features = [np.random.default_rng([seed, i]).normal(0, 0.5, s).astype(np.float16) for i, s in shapes]
    return tuple(ms.Tensor(feature.astype(np.float32)) for feature in features)


def assert_levels_equal_mmdetections(name):
    neck = NASFPN(*CHANNELS[name])
    oracle.set_published_weights(neck, f"neck_{name}", SEED)
    levels = neck.set_train(False)(inputs(name))
    assert len(levels) == 5
    for i, level in enumerate(levels, start=3):
        assert oracle.relative_error(EXPECTED, f"{name}/P{i}", level) < 1e-3


def test_levels_equal_mmdetections(mode):
    assert_levels_equal_mmdetections("nasfpn_small")


def test_levels_of_published_width_equal_mmdetections(pynative):
    assert_levels_equal_mmdetections("nasfpn")


def features(channels=(8, 16, 32), side=32) -> tuple[ms.Tensor, ...]:
    rng = np.random.default_rng(0)
    return tuple(
        ms.Tensor(rng.normal(size=(2, c, side >> i, side >> i)).astype(np.float32)) for i, c in enumerate(channels)
    )


@pytest.mark.parametrize("stack_times", [1, 3])
def test_any_number_of_cells(stack_times):
    neck = NASFPN((8, 16, 32), 4, stack_times=stack_times, norm=NORM)
    assert [level.shape for level in neck(features())] == [(2, 4, s, s) for s in (32, 16, 8, 4, 2)]
    assert f"fpn_stages.{stack_times - 1}.gp_75_6.out_conv.bn.gamma" in neck.parameters_dict()
    assert f"fpn_stages.{stack_times}.gp_75_6.out_conv.bn.gamma" not in neck.parameters_dict()


def test_start_and_end_levels_choose_feature_maps():
    given = features()
    neck = NASFPN((8, 16, 32), 4, stack_times=1, norm=NORM).set_train(False)
    later = NASFPN((2, 8, 16, 32), 4, stack_times=1, start_level=1, end_level=3, norm=NORM).set_train(False)
    ms.load_param_into_net(later, neck.parameters_dict())
    fine = ms.Tensor(np.zeros((2, 2, 64, 64), np.float32))
    for wanted, level in zip(neck(given), later((fine, *given)), strict=True):
        np.testing.assert_allclose(level.asnumpy(), wanted.asnumpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_outs": 4}, "num_outs is 4"),
        ({"start_level": 2, "end_level": 1}, "start_level 2 and end_level 1 do not fit 3"),
        ({"end_level": 3}, "end_level 3 do not fit 3"),
        ({"end_level": 1}, "levels 0 to 1 are 2 feature maps for 5"),
    ],
)
def test_levels_that_do_not_fit_are_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        NASFPN((8, 16, 32), 4, stack_times=1, **options)


def test_merging_by_hand(pynative):
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(1, 2, 2, 2)).astype(np.float32), rng.normal(size=(1, 2, 4, 4)).astype(np.float32)
    raised = first.repeat(2, 2).repeat(2, 3)
    cell = GlobalPoolingCell(2, NORM, with_out_conv=False)
    attention = 1 / (1 + np.exp(-second.mean((2, 3), keepdims=True)))
    merged = cell(ms.Tensor(first), ms.Tensor(second), 4, 4).asnumpy()
    np.testing.assert_allclose(merged, second + attention * raised, atol=1e-6)
    summed = SumCell(2, NORM).set_train(False)
    kernel = np.zeros((2, 2, 3, 3), np.float32)
    kernel[[0, 1], [0, 1], 1, 1] = 1  # passes each channel on
    summed.out_conv.conv.weight.set_data(ms.Tensor(kernel))
    merged = summed(ms.Tensor(first), ms.Tensor(second), 4, 4).asnumpy()
    np.testing.assert_allclose(merged, np.maximum(raised + second, 0), atol=1e-4)


def test_maps_are_resized_by_whole_factors_only(pynative):
    x = ms.Tensor(np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4))
    resize_to = ResizeTo()
    np.testing.assert_array_equal(resize_to(x, 2, 2).asnumpy()[0, 0], [[5, 7], [13, 15]])
    assert resize_to(x, 8, 8).asnumpy()[0, 0, 1].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    for size in ((3, 3), (6, 6), (8, 4), (2, 4)):
        with pytest.raises(ValueError, match="4 x 4 cannot be"):
            resize_to(x, *size)


def test_weights_start_as_published():
    weight = NASFPN((64,), 64, stack_times=1).fpn_stages[0].sum_44_4.out_conv.conv.weight.asnumpy()
    limit = np.sqrt(3 / (64 * 9))
    assert 0.99 * limit < np.abs(weight).max() <= limit
