"""Decoding: every kind of image becomes 8-bit RGB the right way up."""

import cv2
import numpy as np
import pytest
from PIL import Image

from src.data.image import ImageError, load_image
from tests.data.coco_files import noise_image

RED, GREEN = (200, 30, 10), (20, 180, 40)


def two_halves(height: int = 24, width: int = 32) -> np.ndarray:
    """Left half red, right half green, RGB."""
    image = np.empty((height, width, 3), np.uint8)
    image[:, : width // 2], image[:, width // 2 :] = RED, GREEN
    return image


def test_png_is_read_exactly_as_rgb(tmp_path):
    Image.fromarray(two_halves()).save(tmp_path / "a.png")
    assert np.array_equal(load_image(tmp_path / "a.png"), two_halves())


def test_encoded_bytes_and_non_ascii_paths(tmp_path):
    path = tmp_path / "bild_äöü_图.png"
    Image.fromarray(two_halves()).save(path)
    assert np.array_equal(load_image(str(path)), two_halves())
    assert np.array_equal(load_image(path.read_bytes()), two_halves())


def test_grey_gets_three_equal_channels(tmp_path):
    grey = noise_image(20, 30)[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert np.array_equal(load_image(tmp_path / "grey.png"), np.repeat(grey[..., None], 3, axis=2))


def test_alpha_is_dropped(tmp_path):
    rgba = np.dstack([two_halves(), np.full((24, 32), 7, np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    assert np.array_equal(load_image(tmp_path / "rgba.png"), two_halves())


def test_sixteen_bits_become_eight(tmp_path):
    cv2.imwrite(str(tmp_path / "deep.png"), np.full((8, 9), 0xABCD, np.uint16))
    image = load_image(tmp_path / "deep.png")
    assert image.dtype == np.uint8 and image.shape == (8, 9, 3)
    assert np.all(np.abs(image.astype(int) - 0xAB) <= 1)


def test_palette_is_resolved(tmp_path):
    Image.fromarray(two_halves()).convert("P", palette=Image.Palette.ADAPTIVE, colors=4).save(tmp_path / "p.png")
    assert Image.open(tmp_path / "p.png").mode == "P"
    assert np.array_equal(load_image(tmp_path / "p.png"), two_halves())


def test_cmyk_jpeg_is_read(tmp_path):
    Image.fromarray(two_halves()).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    assert np.abs(load_image(tmp_path / "cmyk.jpg")[4, 4].astype(int) - RED).max() < 40


def save_with_orientation(path, orientation: int) -> None:
    """The stored pixels are `two_halves()`: 24 high, 32 wide, red on the left."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(two_halves()).save(path, exif=exif, quality=95)


def close(pixel, colour) -> bool:
    return np.abs(pixel.astype(int) - colour).max() < 30


@pytest.mark.parametrize("expected", [None, (32, 24)])
def test_exif_rotation_is_applied_when_the_annotation_fits_it(tmp_path, expected):
    save_with_orientation(tmp_path / "a.jpg", 6)  # turn by 90 degrees clockwise to view: left becomes top
    image = load_image(tmp_path / "a.jpg", expected)
    assert image.shape == (32, 24, 3)
    assert close(image[3, 12], RED) and close(image[28, 12], GREEN)


def test_exif_rotation_is_ignored_when_the_annotation_fits_the_stored_pixels(tmp_path):
    save_with_orientation(tmp_path / "a.jpg", 6)
    image = load_image(tmp_path / "a.jpg", (24, 32))
    assert image.shape == (24, 32, 3)
    assert close(image[12, 3], RED) and close(image[12, 28], GREEN)


def test_exif_half_turn_is_applied(tmp_path):
    save_with_orientation(tmp_path / "a.jpg", 3)
    image = load_image(tmp_path / "a.jpg", (24, 32))
    assert close(image[12, 3], GREEN) and close(image[12, 28], RED)


def test_size_that_differs_from_the_annotation(tmp_path):
    Image.fromarray(two_halves()).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"a\.png: the image is 32x24 pixels .*annotation says 32x25"):
        load_image(tmp_path / "a.png", (25, 32))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_truncated_files_are_named(tmp_path, suffix, share):
    encoded = cv2.imencode(suffix, noise_image(64, 80))[1].tobytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(encoded[: int(len(encoded) * share)])
    with pytest.raises(ImageError, match=f"cut{suffix}"):
        load_image(path)


def test_missing_file_and_folder_are_named(tmp_path):
    with pytest.raises(ImageError, match=r"none\.jpg: No such file"):
        load_image(tmp_path / "none.jpg")
    with pytest.raises(ImageError, match="directory"):
        load_image(tmp_path)


def test_text_is_no_image(tmp_path):
    (tmp_path / "a.jpg").write_text("not an image")
    with pytest.raises(ImageError, match="not an image"):
        load_image(tmp_path / "a.jpg")
