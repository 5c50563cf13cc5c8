"""Pictures: boxes where they belong, colours by class, everything within the image."""

import numpy as np
import pytest
from PIL import Image

from src.data.masks import MaskPatch
from src.visual.pictures import class_color, draw_objects, page, save_picture, side_by_side, with_title

BLACK = np.zeros((200, 300, 3), np.uint8)
NAMES = ["cat", "dog"]


def has_color(region, color):
    return (np.abs(region.astype(int) - color).max(axis=-1) < 3).any()


def test_box_edges_are_drawn_at_the_enlarged_place():
    drawn = draw_objects(BLACK, np.array([[100, 80, 200, 160]]), [1], NAMES, least_side=600)
    assert drawn.shape == (400, 600, 3)
    for y, x in ((160, 300), (320, 300), (240, 200), (240, 400)):
        np.testing.assert_array_equal(drawn[y, x], class_color(1))
    assert not drawn[170:310, 210:390].any()
    assert not BLACK.any()


def test_large_images_keep_their_size():
    assert draw_objects(np.zeros((700, 900, 3), np.uint8), np.zeros((0, 4)), [], NAMES).shape == (700, 900, 3)


@pytest.mark.parametrize("box", [[-50, -50, 400, 400], [0, 0, 0, 0], [299, 199, 300, 200], [50, 60, 40, 30]])
def test_boxes_beyond_or_without_area(box):
    drawn = draw_objects(BLACK, np.array([box], float), [0], NAMES, [0.5], [True])
    assert has_color(drawn, class_color(0))


def test_each_box_gets_a_label_plate():
    rng = np.random.default_rng(0)
    boxes = rng.uniform(0, 150, (40, 4))
    boxes[:, 2:] += boxes[:, :2]
    plain = draw_objects(BLACK, boxes, [0] * 40, [""])
    named = draw_objects(BLACK, boxes, [0] * 40, ["a long class name"], list(rng.random(40)))
    more = (named == class_color(0)).all(-1).sum() - (plain == class_color(0)).all(-1).sum()
    assert more > 5000


def test_best_score_is_on_top():
    boxes = np.array([[50, 50, 150, 150], [50, 50, 150, 150]])
    drawn = draw_objects(BLACK, boxes, [0, 1], NAMES, [0.9, 0.2], least_side=300)
    np.testing.assert_array_equal(drawn[150, 100], class_color(0))


def test_colors_differ():
    colors = np.array([class_color(label) for label in range(12)], int)
    distance = np.abs(colors[:, None] - colors[None]).sum(-1) + np.eye(12, dtype=int) * 999
    assert distance.min() > 40


def test_title_is_cut_from_the_left():
    short, long = with_title(BLACK, "a.jpg"), with_title(BLACK, "x" * 500)
    assert short.shape == long.shape == (228, 300, 3)
    np.testing.assert_array_equal(short[28:], BLACK)


def test_side_by_side_and_pages():
    white = np.full((100, 50, 3), 255, np.uint8)
    pair = side_by_side(BLACK, white, gap=6)
    assert pair.shape == (200, 356, 3)
    assert (pair[:100, 306:] == 255).all() and (pair[100:, 306:] == 24).all()
    grid = page([white] * 5, columns=2, cell_width=100, gap=6)
    assert grid.shape == (3 * 206 + 6, 2 * 106 + 6, 3)
    assert (grid[6:206, 6:106] == 255).all()
    assert (grid[-200:, 112:] == 24).all()


def test_save(tmp_path):
    path = tmp_path / "new" / "a.png"
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    save_picture(path, image)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), image)


@pytest.mark.parametrize("scale", [1, 3])
def test_masks_are_tinted_and_outlined_each_in_its_own_colour(scale):
    gray = np.full((200, 300, 3), 90, np.uint8)
    square = np.ones((60, 60), np.uint8)
    masks = [MaskPatch(square, 20, 20), MaskPatch(square, 200, 100), MaskPatch(np.zeros((0, 0), np.uint8), 0, 0)]
    boxes = np.array([[10, 10, 90, 90], [190, 90, 270, 170], [120, 20, 160, 60]], float)
    drawn = draw_objects(gray, boxes, [0, 0, 0], NAMES, least_side=300 * scale, masks=masks)
    for i, (x, y) in enumerate([(50, 50), (230, 130)]):
        expected = 0.55 * 90 + 0.45 * np.array(class_color(i))
        np.testing.assert_allclose(drawn[y * scale, x * scale], expected, atol=1)
        edge = drawn[y * scale, (x - 30) * scale + 1]  # the square's left side
        np.testing.assert_array_equal(edge, class_color(i))
    np.testing.assert_array_equal(drawn[40 * scale, 140 * scale], [90, 90, 90])
    np.testing.assert_array_equal(drawn[60 * scale, 140 * scale], class_color(2))
    assert (gray == 90).all()


def test_masks_beyond_the_image_are_cut_off():
    mask = MaskPatch(np.ones((400, 500), np.uint8), -50, -60)
    drawn = draw_objects(BLACK, np.array([[0, 0, 299, 199]]), [0], NAMES, least_side=300, masks=[mask])
    np.testing.assert_allclose(drawn[100, 150], 0.45 * np.array(class_color(0)), atol=1)


def test_small_objects_of_a_crowded_picture_have_no_labels():
    image = np.zeros((640, 640, 3), np.uint8)
    boxes = np.array(
        [[20 + 60 * (i % 10), 100 + 60 * (i // 10), 40 + 60 * (i % 10), 120 + 60 * (i // 10)] for i in range(30)]
    )
    few = draw_objects(image, boxes[:20], [0] * 20, ["nucleus"])
    many = draw_objects(image, boxes, [0] * 30, ["nucleus"])
    assert few[:98].any()  # plates above the first row
    assert not many[:98].any() and many[100:].any()
