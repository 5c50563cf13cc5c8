"""Random saturation, brightness, contrast and sharpness of a whole image."""

import cv2
import numpy as np

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601, RGB
SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13.0
IDENTITY = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], np.float64)


def jitter_color(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another look of uint8 [h, w, 3], RGB: the ranges are instaboostfast's, in its order and steps of 0.1.

    Saturation and sharpness times 0 to 3, brightness and contrast times 1 to 2.
    """
    saturation, sharpness = rng.integers(0, 31, 2) / 10.0
    brightness, contrast = rng.integers(10, 21, 2) / 10.0
    grey = np.tile(LUMA, (3, 1))
    image = cv2.transform(image, saturation * np.eye(3) + (1 - saturation) * grey)
    bright = np.minimum(np.arange(256) * brightness, 255)
    means = [np.dot(np.bincount(image[::2, ::2, c].ravel(), minlength=256), bright) for c in range(3)]
    middle = np.dot(LUMA, means) / image[::2, ::2, 0].size
    table = np.clip(np.round(middle + contrast * (bright - middle)), 0, 255).astype(np.uint8)
    image = cv2.LUT(image, table)
    return cv2.filter2D(image, -1, sharpness * IDENTITY + (1 - sharpness) * SMOOTH)
