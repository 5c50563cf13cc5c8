"""Tiles, flips and scales: what is found in views of a picture becomes what is in the picture, once."""

import json

import cv2
import numpy as np
import pytest

from src.commands import evaluate
from src.common.errors import UserError
from src.config import load_config
from src.data.masks import decode_mask
from src.model_utils.device_adapter import Device
from src.predictor.detect_images import InferenceOptions, detect_stream, detect_views
from src.predictor.merging import merged
from src.predictor.views import Found, View, ViewOptions, cut_out, in_picture, plan_views
from tests.conftest import ROOT

INPUT = 64
NAMES = ["red", "green", "blue"]


class ColourDetector:
    """Finds the connected coloured rectangles of what it sees: label and score follow the colour; masks if asked."""

    def __init__(self, masks=False):
        self.masks, self.calls = masks, 0

    def predict(self, images, info):
        self.calls += 1
        rows = 40
        boxes, scores = np.zeros((len(images), rows, 4), np.float32), np.zeros((len(images), rows), np.float32)
        labels, valid = np.zeros((len(images), rows), np.int32), np.zeros((len(images), rows), bool)
        masks = np.zeros((len(images), rows, 28, 28), np.float32)
        for b, image in enumerate(images):
            n = 0
            for label, plane in enumerate(image):
                plane = (plane > 100).astype(np.uint8)
                for x, y, w, h, area in cv2.connectedComponentsWithStats(plane)[2][1:]:
                    if area < 4:
                        continue
                    boxes[b, n] = np.array([x, y, x + w, y + h]) / info[b, [5, 4, 5, 4]]
                    scores[b, n], labels[b, n], valid[b, n] = 0.5 + 0.01 * min(w, h), label, True
                    masks[b, n] = cv2.resize(plane[y : y + h, x : x + w].astype(np.float32), (28, 28))
                    n += 1
        return (boxes, scores, labels, valid, masks) if self.masks else (boxes, scores, labels, valid)


def prepare(pixels):
    """Into 64 x 64, as EvalTransform does."""
    height, width = pixels.shape[:2]
    scale = INPUT / max(height, width)
    size = round(width * scale), round(height * scale)
    canvas = np.zeros((3, INPUT, INPUT), np.float32)
    canvas[:, : size[1], : size[0]] = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).transpose(2, 0, 1)
    info = [height, width, size[1], size[0], size[1] / height, size[0] / width]
    return canvas, np.array(info, np.float32)


def drawn(height, width, rectangles):
    """Black, with rectangles (x1, y1, x2, y2, label)."""
    image = np.zeros((height, width, 3), np.uint8)
    for x1, y1, x2, y2, label in rectangles:
        image[y1:y2, x1:x2, label] = 250
    return image


def found_in(images, views, batch_size=3, masks=False, workers=2):
    net = ColourDetector(masks)
    options = InferenceOptions(NAMES, [], batch_size, workers, 0.5 if masks else None)
    outcomes = detect_views(net.predict, lambda image: image, prepare, images, options, views)
    return {place: entry["predictions"] for place, _, entry in outcomes}, net


def boxes_of(predictions):
    rows = [(p["bbox"], p["class"]["label"]) for p in predictions]
    return sorted((b["x_min"], b["y_min"], b["x_min"] + b["width"], b["y_min"] + b["height"], c) for b, c in rows)


@pytest.mark.parametrize(
    ("size", "options", "windows"),
    [
        ((100, 80), ViewOptions(), {(0, 0, 80, 100)}),
        ((100, 80), ViewOptions(tile=128), {(0, 0, 80, 100)}),
        ((64, 100), ViewOptions(tile=64, overlap=0.2), {(0, 0, 64, 64), (36, 0, 64, 64), (0, 0, 100, 64)}),
        ((100, 80), ViewOptions(scales=(0.5,)), {(0, 0, 80, 100), (0, 0, 160, 200)}),
        ((64, 64), ViewOptions(scales=(2.0,), overlap=0.0), {(0, 0, 64, 64), (0, 0, 32, 32), (32, 0, 32, 32),
                                                              (0, 32, 32, 32), (32, 32, 32, 32)}),
    ],
)  # fmt: skip
def test_windows(size, options, windows):
    views = plan_views(*size, options)
    assert {view[:4] for view in views} == windows and len(views) == len(windows)
    mirrored = plan_views(*size, options._replace(flip=True))
    assert len(mirrored) == 2 * len(views) and sum(view.flipped for view in mirrored) == len(views)


@pytest.mark.parametrize("overlap", [0.0, 0.2, 0.5])
def test_tiles_cover_the_picture_and_overlap(overlap):
    tiles = [view for view in plan_views(1000, 731, ViewOptions(tile=128, overlap=overlap)) if not view.least_side]
    assert {(view.width, view.height) for view in tiles} == {(128, 128)}
    for starts, length in (({view.x for view in tiles}, 731), ({view.y for view in tiles}, 1000)):
        starts = sorted(starts)
        assert starts[0] == 0 and starts[-1] == length - 128
        assert max(np.diff(starts)) <= 128 * (1 - overlap) + 1


def test_what_a_view_shows_and_where_it_is():
    image = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    np.testing.assert_array_equal(cut_out(image, View(5, 6, 10, 8), (0,) * 3), image[6:14, 5:15])
    np.testing.assert_array_equal(cut_out(image, View(5, 6, 10, 8, True), (0,) * 3), image[6:14, 5:15][:, ::-1])
    wide = cut_out(image, View(0, 0, 50, 36), (1, 2, 3))
    np.testing.assert_array_equal(wide[:30, :40], image)
    assert (wide[30:] == (1, 2, 3)).all() and (wide[:, 40:] == (1, 2, 3)).all()
    seen = Found(
        np.float32([[2, 2, 5, 6], [0, 1, 3, 2]]), np.float32([1, 1]), np.int32([0, 0]), np.stack([np.eye(2)] * 2)
    )
    whole, cut = in_picture(seen, View(20, 10, 10, 8, True), 30, 40)
    assert whole.boxes.tolist() == [[25, 12, 28, 16], [27, 11, 30, 12]] and cut.tolist() == [False, True]
    np.testing.assert_array_equal(whole.masks[0], [[0, 1], [1, 0]])


RECTANGLES = [
    (10, 12, 26, 30, 0),
    (52, 40, 76, 60, 1),
    (120, 50, 136, 70, 1),
    (55, 150, 75, 170, 2),
    (134, 118, 150, 134, 0),
]


@pytest.mark.parametrize("merge", ["nms", "wbf"])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_objects_on_seams_are_found_once(merge, batch_size):
    """Seams go through three of the five objects."""
    image = drawn(200, 220, RECTANGLES)
    views = ViewOptions(tile=64, overlap=0.25, merge=merge)
    seams = {v.x for v in plan_views(200, 220, views)} | {v.x + 64 for v in plan_views(200, 220, views)}
    assert sum(any(x1 < seam < x2 for seam in seams) for x1, _, x2, *_ in RECTANGLES) >= 3
    found, _ = found_in([image, image[:180, :190], np.zeros_like(image)], views, batch_size)
    for place, rectangles in ((0, RECTANGLES), (1, RECTANGLES), (2, [])):
        boxes = boxes_of(found[place])
        assert len(boxes) == len(rectangles)
        np.testing.assert_allclose(boxes or np.zeros((0, 5)), sorted(rectangles) or np.zeros((0, 5)), atol=3)


def test_masks_are_pasted_into_the_whole_picture():
    image = drawn(200, 220, RECTANGLES)
    found, _ = found_in([image], ViewOptions(tile=64, overlap=0.25, flip=True), masks=True)
    assert len(found[0]) == len(RECTANGLES)
    together = np.zeros((200, 220), bool)
    for one in found[0]:
        together |= decode_mask(one["mask"], 200, 220).bitmap(200, 220).astype(bool)
    wanted = image.any(axis=2)
    assert (together & wanted).sum() / (together | wanted).sum() > 0.95


def test_evaluation_sees_the_same(tmp_path, monkeypatch):
    """eval.py with --tile: every object of two pictures, one of them in pieces of tiles; a broken picture is named."""
    rows = []
    for number, (height, width) in enumerate([(200, 220), (60, 60)]):
        rectangles = RECTANGLES if number == 0 else RECTANGLES[:1]
        cv2.imwrite(str(tmp_path / f"{number}.png"), drawn(height, width, rectangles)[..., ::-1])
        for x1, y1, x2, y2, label in rectangles:
            box = [x1, y1, x2 - x1, y2 - y1]
            rows.append({"id": len(rows) + 1, "image_id": number, "category_id": label + 5, "bbox": box,
                         "area": box[2] * box[3], "iscrowd": 0})  # fmt: skip
    (tmp_path / "2.png").write_bytes(b"no picture")
    images = [{"id": i, "file_name": f"{i}.png", "height": h, "width": w} for i, h, w in
              ((0, 200, 220), (1, 60, 60), (2, 50, 50))]  # fmt: skip
    categories = [{"id": i + 5, "name": name} for i, name in enumerate(NAMES)]
    (tmp_path / "labels.json").write_text(json.dumps({"images": images, "annotations": rows, "categories": categories}))
    keys = {"val_dataset": str(tmp_path / "labels.json"), "coco_classes": ["background", *NAMES], "num_classes": 4,
            "img_width": 64, "img_height": 64, "img_mean": [0, 0, 0], "img_std": [1, 1, 1], "progress_bar": "off",
            "checkpoint_path": "a.ckpt", "tile": 64, "overlap": 0.25, "test_batch_size": 4}  # fmt: skip
    config = load_config(ROOT / "configs/demo/refinedet.yaml", keys)
    monkeypatch.setattr(evaluate, "trained_detector", lambda config: (ColourDetector(), Device("CPU")))
    metrics, _, evaluator = evaluate.evaluate_checkpoint(config)
    assert metrics.stats["bbox_mAP_50"] == pytest.approx(1.0) and metrics.stats["bbox_AR_100"] > 0.9
    assert len(evaluator.results()) == len(rows)


@pytest.mark.parametrize("views", [ViewOptions(flip=True), ViewOptions(scales=(0.5, 2.0)),
                                   ViewOptions(flip=True, scales=(0.8,), merge="wbf")])  # fmt: skip
def test_flips_and_scales_find_the_same_objects(views):
    image = drawn(64, 56, [(4, 6, 20, 22, 0), (30, 30, 50, 60, 1)])
    found, _ = found_in([image], views)
    np.testing.assert_allclose(boxes_of(found[0]), [(4, 6, 20, 22, 0), (30, 30, 50, 60, 1)], atol=1.5)


def test_a_picture_with_one_view_is_seen_as_without_views():
    images = [drawn(64, 56, [(4, 6, 20, 22, 0)]), drawn(40, 40, [(3, 3, 30, 30, 2), (3, 3, 30, 30, 1)])]
    net, options = ColourDetector(), InferenceOptions(NAMES, [], 2, 0)
    plain = [entry["predictions"] for _, _, entry in detect_stream(net.predict, prepare, images, options)]
    found, _ = found_in(images, ViewOptions(tile=64), 2)
    assert [found[0], found[1]] == plain


def part(*rows):
    """Found from (x1, y1, x2, y2, score, label)."""
    rows = np.array(rows, np.float32).reshape(-1, 6)
    return Found(rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int32))


TWO = [View(0, 0, 100, 100), View(0, 0, 100, 100, flipped=True)]


def test_nms_takes_the_best_of_each_class():
    first = part((10, 10, 30, 30, 0.6, 0), (10, 10, 30, 30, 0.5, 1))
    second = part((70, 10, 90, 30, 0.9, 0), (10, 50, 20, 60, 0.3, 0))  # mirrored: 10 to 30, and 80 to 90
    found = merged([first, second], TWO, 100, 100, ViewOptions())
    assert found.scores.tolist() == pytest.approx([0.9, 0.5, 0.3]) and found.labels.tolist() == [0, 1, 0]
    assert found.boxes[2].tolist() == [80, 50, 90, 60]


def test_wbf_averages_by_score_and_counts_the_views():
    first = part((10, 10, 30, 30, 0.6, 0), (50, 50, 60, 60, 0.9, 0))
    second = part((68, 10, 88, 30, 0.2, 0))  # mirrored: 12 to 32
    found = merged([first, second], TWO, 100, 100, ViewOptions(merge="wbf"))
    np.testing.assert_allclose(found.boxes, [[50, 50, 60, 60], [10.5, 10, 30.5, 30]], rtol=1e-6)
    np.testing.assert_allclose(found.scores, [0.9 / 2, 0.4], rtol=1e-6)  # seen by one of two; by both


def test_a_part_of_an_object_goes_for_the_whole():
    views = [View(0, 0, 100, 100), View(60, 0, 100, 100)]
    halves = [part((70, 20, 100, 60, 0.9, 0)), part((10, 20, 50, 60, 0.7, 0))]  # 70 to 100, cut off; 70 to 110
    for merge in ("nms", "wbf"):
        found = merged(halves, views, 160, 160, ViewOptions(merge=merge))
        assert found.boxes.tolist() == [[70, 20, 110, 60]] and found.scores[0] == pytest.approx(0.7)


def test_the_whole_picture_is_for_objects_larger_than_the_overlap():
    views = plan_views(100, 200, ViewOptions(tile=100, overlap=0.3))
    (whole,) = (view for view in views if view.least_side)
    assert whole[:4] == (0, 0, 200, 100) and whole.least_side == 30
    found, _ = in_picture(part((10, 10, 41, 20, 0.9, 0), (50, 50, 80, 80, 0.8, 0)), whole, 100, 200)
    assert found.boxes.tolist() == [[10, 10, 41, 20]]


@pytest.mark.parametrize(
    ("keys", "message"),
    [({"tile": 8}, "should be 0 or at least 32"), ({"tta": "flop"}, "tta"), ({"tta": "flip,9"}, "tta")],
)
def test_mistakes(keys, message):
    with pytest.raises(UserError, match=message):
        load_config(ROOT / "configs/demo/refinedet.yaml", keys)


@pytest.mark.parametrize(("given", "tta"), [("flip", ["flip"]), ("flip,0.8", ["flip", 0.8]), (1.5, [1.5]), ("", [])])
def test_forms_of_the_key(given, tta):
    assert load_config(ROOT / "configs/demo/refinedet.yaml", {"tta": given}).tta == tta
