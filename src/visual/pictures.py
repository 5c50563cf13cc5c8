"""Masks, boxes and labels on images, prediction beside ground truth, pages of pictures. Images are RGB arrays."""

import colorsys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from src.common.atomic import atomic_path
from src.data.masks import MaskPatch

LEAST_SIDE = 640  # the longer side of a picture is enlarged to this, so that labels are readable
MASK_OPACITY = 0.45
BACKGROUND = (24, 24, 24)
MANY_OBJECTS = 25  # with more of them, labels twice as wide as their box are left out: they would hide the rest

Rectangle = tuple[float, float, float, float]


def class_color(label: int) -> tuple[int, int, int]:
    """A bright RGB colour; neighbouring labels get very different ones."""
    hue = (0.02 + label * 0.61803398875) % 1.0  # golden ratio: never close to the previous hues
    value = (1.0, 0.85)[label // 5 % 2]
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw_objects(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: Sequence[int],
    class_names: Sequence[str],
    scores: Sequence[float] | None = None,
    crowd: Sequence[bool] | None = None,
    least_side: int = LEAST_SIDE,
    masks: Sequence[MaskPatch] | None = None,
    colors: Sequence[tuple[int, int, int]] | None = None,
) -> np.ndarray:
    """A copy of the image, enlarged when it is small, with masks (if any) under boxes and labels.

    Args:
        image: uint8 [H, W, 3] RGB.
        boxes: [N, 4] xyxy in pixels of `image`.
        labels: int [N], 0..K-1; without masks the colour depends on it.
        class_names: K names.
        scores: [N], shown after the name; the best ones are drawn last, on top.
        crowd: bool [N]; '(crowd)' is added to the name.
        least_side: the longer side is enlarged to at least so many pixels.
        masks: N masks in pixels of `image`; each object then has a colour of its own, in its box and label too.
        colors: N RGB colours in place of those.

    Returns:
        uint8 [H', W', 3] RGB.
    """
    scale = max(1.0, least_side / max(image.shape[:2]))
    order = range(len(boxes)) if scores is None else np.argsort(np.asarray(scores), kind="stable")
    pixels = _resize(image, scale)
    if colors is None:
        colors = [class_color(i if masks is not None else int(label)) for i, label in enumerate(labels)]
    if masks is not None:
        pixels = pixels.copy() if pixels is image else pixels
        for i in order:
            _draw_mask(pixels, masks[i], scale, colors[i])
    canvas = Image.fromarray(pixels)
    draw = ImageDraw.Draw(canvas)
    corners = np.asarray(boxes, np.float64).reshape(-1, 4) * scale
    for i in order:
        draw.rectangle(_ordered(corners[i]), outline=colors[i], width=3)
    taken: list[Rectangle] = []
    # Labels after all boxes, the best first: it gets the best place.
    for i in reversed(list(order)):
        text = class_names[int(labels[i])]
        text += "" if scores is None else f" {scores[i]:.2f}"
        text += " (crowd)" if crowd is not None and crowd[i] else ""
        if len(boxes) > MANY_OBJECTS and _plate_width(text) > 2 * abs(corners[i, 2] - corners[i, 0]):
            continue
        _draw_label(draw, canvas.size, _ordered(corners[i]), text, colors[i], taken)
    return np.asarray(canvas)


def with_title(image: np.ndarray, title: str) -> np.ndarray:
    """The image below a dark bar with `title` (its end is kept when it is too long)."""
    font = _font(18)
    bar = Image.new("RGB", (image.shape[1], 28), BACKGROUND)
    while len(title) > 4 and font.getlength(title) > image.shape[1] - 12:
        title = "..." + title[4:]
    ImageDraw.Draw(bar).text((6, 14), title, fill="white", font=font, anchor="lm")
    return np.concatenate([np.asarray(bar), image], axis=0)


def side_by_side(left: np.ndarray, right: np.ndarray, gap: int = 6) -> np.ndarray:
    """Two pictures beside each other, tops aligned."""
    height = max(left.shape[0], right.shape[0])
    return np.concatenate([_padded(left, height, left.shape[1] + gap), _padded(right, height, right.shape[1])], axis=1)


def page(pictures: Sequence[np.ndarray], columns: int, cell_width: int = 480, gap: int = 6) -> np.ndarray:
    """A grid of pictures, each scaled to `cell_width`; rows are as high as their highest picture.

    Returns:
        uint8 [H, W, 3] with W = columns * (cell_width + gap) + gap.
    """
    scaled = [_resize(picture, cell_width / picture.shape[1]) for picture in pictures]
    rows = []
    for start in range(0, len(scaled), columns):
        row = scaled[start : start + columns]
        height = max(picture.shape[0] for picture in row)
        cells = [_padded(picture, height + gap, cell_width + gap) for picture in row]
        blank = np.full((height + gap, cell_width + gap, 3), BACKGROUND, np.uint8)
        rows.append(np.concatenate(cells + [blank] * (columns - len(row)), axis=1))
    body = np.concatenate(rows, axis=0)
    framed = np.full((body.shape[0] + gap, body.shape[1] + gap, 3), BACKGROUND, np.uint8)
    framed[gap:, gap:] = body
    return framed


def save_picture(path: str | Path, image: np.ndarray) -> None:
    """Write a uint8 [H, W, 3] RGB array as the format that the suffix of `path` says (.png, .jpg), atomically."""
    with atomic_path(path) as temporary:
        Image.fromarray(image).save(temporary)


def _draw_mask(canvas: np.ndarray, mask: MaskPatch, scale: float, color: tuple[int, int, int]) -> None:
    """Tint the mask's pixels in `canvas` (the image times `scale`) and draw its outline."""
    left, top, right, bottom = mask.box
    x1, y1 = max(round(left * scale) - 1, 0), max(round(top * scale) - 1, 0)
    x2, y2 = min(round(right * scale) + 1, canvas.shape[1]), min(round(bottom * scale) + 1, canvas.shape[0])
    if x1 >= x2 or y1 >= y2 or not mask.pixels.size:
        return
    # Canvas pixel x shows image place (x + 0.5) / scale - 0.5; the patch's own pixels start at its left and top.
    matrix = np.array(
        [[1 / scale, 0, (x1 + 0.5) / scale - 0.5 - left], [0, 1 / scale, (y1 + 0.5) / scale - 0.5 - top]], np.float64
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    inside = cv2.warpAffine(mask.pixels * np.uint8(255), matrix, (x2 - x1, y2 - y1), flags=flags) > 127
    window = canvas[y1:y2, x1:x2]
    window[inside] = np.round((1 - MASK_OPACITY) * window[inside] + MASK_OPACITY * np.array(color)).astype(np.uint8)
    outlines, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    drawn = np.ascontiguousarray(window)
    cv2.drawContours(drawn, outlines, -1, color, thickness=2)
    window[:] = drawn


def _draw_label(
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    box: Rectangle,
    text: str,
    color: tuple[int, int, int],
    taken: list[Rectangle],
) -> None:
    """Write `text` on a plate beside `box`, at the first place within the image that overlaps no other label."""
    font = _font(15)
    width, height = _plate_width(text), 20
    x1, y1, x2, y2 = box
    places = [(x1, y1 - height), (x1, y1), (x2 - width, y1 - height), (x1, y2), (x1, y2 - height), (x2 - width, y2)]
    plates = []
    for x, y in places:
        x, y = min(max(x, 0), max(size[0] - width, 0)), min(max(y, 0), max(size[1] - height, 0))
        plates.append((x, y, x + width, y + height))
    plate = next((p for p in plates if not any(_overlap(p, other) for other in taken)), plates[0])
    taken.append(plate)
    draw.rectangle(plate, fill=color)
    luminance = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]
    draw.text(
        (plate[0] + 4, plate[1] + height / 2),
        text,
        fill="black" if luminance > 140 else "white",
        font=font,
        anchor="lm",
    )


def _plate_width(text: str) -> float:
    return _font(15).getlength(text) + 8


def _overlap(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _ordered(box: np.ndarray) -> Rectangle:
    """The box with corners in order, as Pillow demands."""
    x1, y1, x2, y2 = box.tolist()
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


def _resize(image: np.ndarray, scale: float) -> np.ndarray:
    if scale == 1.0:
        return image
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA)


def _padded(image: np.ndarray, height: int, width: int) -> np.ndarray:
    canvas = np.full((height, width, 3), BACKGROUND, np.uint8)
    canvas[: image.shape[0], : image.shape[1]] = image
    return canvas


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which Matplotlib carries: it has Latin, Greek and Cyrillic letters."""
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)
