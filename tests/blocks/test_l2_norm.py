import mindspore as ms
import numpy as np
import pytest

from src.blocks.layers import L2Norm


def test_l2_norm_scales_pixels_and_survives_zeros(pynative):
    layer = L2Norm(4, 10.0)
    x = np.random.default_rng(0).normal(size=(2, 4, 3, 5)).astype(np.float32)
    expected = 10 * x / np.sqrt((x**2).sum(1, keepdims=True))
    np.testing.assert_allclose(layer(ms.Tensor(x)).asnumpy(), expected, rtol=1e-5)
    gradient = ms.grad(lambda value: layer(value).sum())(ms.Tensor(np.zeros_like(x)))
    assert np.isfinite(gradient.asnumpy()).all()


@pytest.mark.parametrize("images", [1, 2])
def test_l2_norm_trains_with_any_number_of_images(pynative, images):
    layer = L2Norm(4, 10.0)
    x = np.random.default_rng(1).normal(size=(images, 4, 3, 5)).astype(np.float32)
    gradients = ms.grad(lambda value: layer(value).sum(), None, layer.weight)(ms.Tensor(x))
    expected = (x / np.sqrt((x**2).sum(1, keepdims=True))).sum((0, 2, 3))
    np.testing.assert_allclose(gradients.asnumpy(), expected, rtol=1e-4, atol=1e-5)
