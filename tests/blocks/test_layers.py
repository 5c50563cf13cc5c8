import mindspore as ms
import numpy as np
import pytest

from src.blocks.layers import ConvModule, Norm, build_activation, build_norm, upsample_nearest

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_upsample_nearest(factor, mode):
    x = RNG.normal(size=(2, 3, 4, 5)).astype(np.float32)
    wanted = x.repeat(factor, 2).repeat(factor, 3)
    np.testing.assert_array_equal(upsample_nearest(ms.Tensor(x), factor).asnumpy(), wanted)
    weights = ms.Tensor(wanted)

    def weighted_sum(tensor):
        return (upsample_nearest(tensor, factor) * weights).sum()

    gradient = ms.grad(weighted_sum)(ms.Tensor(x)).asnumpy()
    np.testing.assert_allclose(gradient, x * factor * factor, rtol=1e-5)


@pytest.mark.parametrize("name", ["BN", "SyncBN"])
def test_running_statistics_move_as_pytorchs(name, mode):
    """new = (1 - momentum) old + momentum batch, with the unbiased variance."""
    layer = build_norm(Norm(name, momentum=0.1, eps=1e-5), 3).set_train(True)
    x = RNG.normal(2.0, 3.0, (4, 3, 5, 6)).astype(np.float32)
    out = layer(ms.Tensor(x)).asnumpy()
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
    np.testing.assert_allclose(out, (x - mean[:, None, None]) / np.sqrt(variance + 1e-5)[:, None, None], atol=1e-5)
    np.testing.assert_allclose(layer.moving_mean.asnumpy(), 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance.asnumpy(), 0.9 + 0.1 * x.var((0, 2, 3), ddof=1), rtol=1e-4)


def test_statistics_over_devices_are_those_of_the_whole_batch(pynative):
    """Two devices, played by one: what the other one would add to a sum is added here."""
    x = RNG.normal(1.0, 2.0, (4, 3, 5, 6)).astype(np.float32)
    here, there = x[:2], x[2:]
    mean = x.mean((0, 2, 3))
    others = [there.sum((0, 2, 3)), ((there - mean[:, None, None]) ** 2).sum((0, 2, 3))]
    layer = build_norm(Norm("SyncBN", momentum=0.1, eps=1e-5), 3).set_train(True)
    layer.devices = 2
    layer.all_reduce = lambda total: total + ms.Tensor(others.pop(0))
    plain = build_norm(Norm("BN", momentum=0.1, eps=1e-5), 3).set_train(True)
    expected = plain(ms.Tensor(x)).asnumpy()
    np.testing.assert_allclose(layer(ms.Tensor(here)).asnumpy(), expected[:2], atol=1e-5)
    for name in ("moving_mean", "moving_variance"):
        np.testing.assert_allclose(getattr(layer, name).asnumpy(), getattr(plain, name).asnumpy(), rtol=1e-4)


def test_conv_module_is_convolution_normalization_activation(pynative):
    module = ConvModule(2, 3, 3, stride=2, norm=Norm(eps=1e-3), act="relu").set_train(False)
    assert [p.name for p in module.get_parameters()] == [
        "conv.weight",
        "bn.moving_mean",
        "bn.moving_variance",
        "bn.gamma",
        "bn.beta",
    ]
    x = ms.Tensor(RNG.normal(size=(1, 2, 6, 6)).astype(np.float32))
    convolved = module.conv(x).asnumpy()
    assert convolved.shape == (1, 3, 3, 3)
    np.testing.assert_allclose(module(x).asnumpy(), np.maximum(convolved / np.sqrt(1 + 1e-3), 0), atol=1e-6)


def test_swish(pynative):
    x = np.linspace(-5, 5, 11).astype(np.float32)
    np.testing.assert_allclose(build_activation("swish")(ms.Tensor(x)).asnumpy(), x / (1 + np.exp(-x)), atol=1e-6)


def test_he_normal_weights():
    weight = ConvModule(64, 128, 3).conv.weight.asnumpy()
    np.testing.assert_allclose(weight.std(), np.sqrt(2 / (64 * 9)), rtol=0.02)
    assert abs(weight.mean()) < 1e-3
