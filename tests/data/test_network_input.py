"""Normalisation and padding equal the plain computation."""

import cv2
import numpy as np
import pytest

from src.data.network_input import EvalTransform, Normalizer
from src.schema import Config
from tests.data.coco_files import noise_image

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def every_value() -> np.ndarray:
    """An image with all 256 values in each channel, in different places."""
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    return np.stack([values, values[::-1], values[:, ::-1]], axis=2)


@pytest.mark.parametrize("to_rgb", [True, False])
def test_normalizer_equals_the_float_computation(to_rgb):
    image = every_value()
    canvas = np.full((3, 20, 24), np.nan, np.float32)
    Normalizer(MEAN, STD, to_rgb).write(image, canvas)
    channels = image if to_rgb else image[..., ::-1]
    expected = ((channels.astype(np.float64) - MEAN) / STD).transpose(2, 0, 1)
    assert np.abs(canvas[:, :16, :16] - expected).max() < 1e-6
    assert (canvas[:, 16:] == 0).all() and (canvas[:, :, 16:] == 0).all()


def test_normalizer_writes_into_a_slot_of_a_batch():
    batch = np.full((3, 3, 20, 24), 7, np.float32)
    Normalizer(MEAN, STD).write(every_value(), batch[1])
    assert (batch[0] == 7).all() and (batch[2] == 7).all() and not (batch[1] == 7).any()


def test_eval_transform_equals_resize_then_normalise_then_pad():
    image = noise_image(90, 120)
    got, info = EvalTransform((64, 64), (64, 96), True, Normalizer(MEAN, STD))(image)
    resized = cv2.resize(image, (64, 48), interpolation=cv2.INTER_LINEAR)
    expected = np.zeros((3, 64, 96))
    expected[:, :48, :64] = ((resized - np.array(MEAN)) / STD).transpose(2, 0, 1)
    assert got.dtype == np.float32 and np.abs(got - expected).max() < 1e-5
    assert info.dtype == np.float32
    assert np.allclose(info, [90, 120, 48, 64, 48 / 90, 64 / 120])


@pytest.mark.parametrize(
    ("keys", "shape", "resized"),
    [
        ({"img_width": 100, "img_height": 60, "divider": 32}, (3, 64, 128), (60, 80)),
        ({"img_width": 100, "img_height": 60, "divider": 32, "keep_ratio": False}, (3, 64, 128), (60, 100)),
        ({"img_width": 64, "img_height": 64, "divider": 1}, (3, 64, 64), (48, 64)),
    ],
)
def test_input_size_follows_the_configuration(keys, shape, resized):
    config = Config(coco_classes=["background", "cat"], num_classes=2, **keys)
    image, info = EvalTransform.from_config(config)(noise_image(90, 120))
    assert image.shape == shape
    assert tuple(info[2:4]) == resized
