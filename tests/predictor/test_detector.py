"""Detector finds exactly what infer.py writes, whatever form an image has; the README's lines and the notebook run."""

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from src.common.errors import UserError
from src.config import save_config
from src.data.synthetic import main as write_synthetic
from src.deploy import exported_model
from src.predictor import Detector, detector
from src.predictor.detect_images import InferenceOptions
from src.predictor.image_detections import ImageDetections
from src.predictor.pipeline import Pipeline
from tests.deploy.cards import write_card
from tests.deploy.small_models import small_model
from tests.end_to_end.commands import ROOT, environment

CHECKPOINT = "outputs/first/checkpoints/best.ckpt"
IMAGES = "data/shapes/validation/data"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder as a training of masks leaves it, and what infer.py finds in it."""
    folder = tmp_path_factory.mktemp("detector")
    write_synthetic(["--output_dir", str(folder / "data/shapes"), "--train", "1", "--val", "3", "--image_size", "96"])
    path = folder / CHECKPOINT
    path.parent.mkdir(parents=True)
    config = small_model("mask_rcnn", path.parent).model_copy(update={"test_batch_size": 1})
    Path(config.checkpoint_path).rename(path)
    save_config(config.model_copy(update={"checkpoint_path": ""}), folder / "outputs/first/config.yaml")
    words = [sys.executable, ROOT / "infer.py", "--config_path", "outputs/first/config.yaml", "--checkpoint_path"]
    words += [CHECKPOINT, "--pred_input", IMAGES, "--pred_output", "found.json"]
    subprocess.run(words, cwd=folder, env=environment(), check=True, capture_output=True, timeout=300)
    return folder


@pytest.fixture
def inside(folder, monkeypatch) -> dict:
    """Runs in the folder; what infer.py wrote."""
    monkeypatch.chdir(folder)
    return json.loads(Path("found.json").read_text())


@pytest.fixture(scope="module")
def masks_detector(folder) -> Detector:
    return Detector(folder / CHECKPOINT)


def test_what_infer_writes_and_what_detector_finds_are_equal(inside, masks_detector) -> None:
    found = masks_detector.predict(IMAGES)
    assert {str(path): one.to_json() for path, one in zip(inside, found, strict=True)} == inside
    assert sum(len(one) for one in found) > 5 and all("mask" in p for p in found[0].to_json()["predictions"])


def test_any_form_of_an_image(inside, masks_detector) -> None:
    path, entry = next(iter(inside.items()))
    pixels = cv2.imread(path, cv2.IMREAD_COLOR_RGB)
    cv2.imwrite("same.png", pixels[..., ::-1])
    forms = [path, Path(path), Path(path).read_bytes(), pixels, Image.open("same.png")]
    assert [one.to_json() for one in masks_detector.predict(forms)] == [entry] * 5
    assert masks_detector.predict(pixels).to_json() == entry
    assert masks_detector.predict([]) == []


def test_objects_and_their_forms(inside, masks_detector) -> None:
    path, entry = next(iter(inside.items()))
    found = masks_detector.predict(path)
    count, wanted = len(entry["predictions"]), entry["predictions"][0]
    assert len(found) == count and found.names[0] == wanted["class"]["name"] and found.scores[0] == wanted["score"]
    assert found.masks.shape == (count, 96, 96) and found.masks.dtype == bool
    x1, y1, x2, y2 = found.boxes[0].tolist()
    box = wanted["bbox"]
    assert [x1, y1, x2 - x1, y2 - y1] == pytest.approx([box[k] for k in ("x_min", "y_min", "width", "height")])
    coco = found.to_coco(7)
    assert coco[0]["image_id"] == 7 and coco[0]["segmentation"] == wanted["mask"] and len(coco) == count
    assert coco[0]["category_id"] == wanted["class"]["label"] + 1
    other = found.to_supervision()
    assert len(other) == count and len(list(other)) == count and other.mask.shape == found.masks.shape
    assert other.xyxy.shape == (count, 4) and other.data["class_name"].tolist() == found.names
    assert other.confidence.tolist() == found.scores.tolist() and other.class_id.tolist() == found.labels.tolist()
    picture = found.draw("drawn.png", score_thr=0.0)
    np.testing.assert_array_equal(cv2.imread("drawn.png", cv2.IMREAD_COLOR_RGB), picture)
    assert (found.draw(score_thr=1.0) != picture).any()
    assert f"ImageDetections(96x96: {found.names[0]}" in repr(found)


@pytest.mark.parametrize("masks", [True, False])
def test_the_package_supervision_takes_what_was_found(inside, masks_detector, masks) -> None:
    supervision = pytest.importorskip("supervision", exc_type=ImportError)
    path, entry = next(iter(inside.items()))
    if masks:
        found = masks_detector.predict(path)
    else:
        objects = [{name: value for name, value in one.items() if name != "mask"} for one in entry["predictions"]]
        found = ImageDetections({**entry, "predictions": objects}, masks_detector.class_names, [], lambda: None)
    theirs = supervision.Detections(**vars(found.to_supervision()))
    assert len(theirs) == len(found) > 1 and (theirs.mask is not None) == masks
    np.testing.assert_array_equal(theirs.box_area, np.prod(found.boxes[:, 2:] - found.boxes[:, :2], 1))
    sure = theirs[theirs.confidence > found.scores.mean()]  # its own selection of rows
    assert 0 < len(sure) < len(found) and sure["class_name"].tolist() == found.names[: len(sure)]
    picture = supervision.BoxAnnotator().annotate(cv2.imread(path), theirs)
    if masks:
        np.testing.assert_array_equal(theirs.area, found.masks.sum((1, 2)))
        picture = supervision.MaskAnnotator().annotate(picture, theirs)
    assert (picture != cv2.imread(path)).any()


@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_the_lines_of_the_pages(inside, page) -> None:
    text = (ROOT / page).read_text()
    (lines,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.S) if "src.predictor" in block]
    assert len(lines.replace("\n\n", "\n").strip().splitlines()) <= 5
    Path("found.png").unlink(missing_ok=True)
    exec(compile(lines, page, "exec"), {})
    assert Path("found.png").is_file()


def test_the_notebook(inside, capsys) -> None:
    notebook = json.loads((ROOT / "docs/detect.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] for cell in notebook["cells"] if cell["cell_type"] == "code")
    names: dict = {}
    for number, cell in enumerate(cells):
        exec(compile(cell, f"cell {number}", "exec"), names)
    assert len(cells) > 4 and "ImageDetections(96x96: " in capsys.readouterr().out
    assert json.loads(Path("results.json").read_text())[0]["score"] > 0


def stand_in(monkeypatch, prepare=None) -> Detector:
    """A detector without a network: two boxes in every image."""

    def predict(images, info):
        boxes = np.tile(np.float32([[0, 0, 4, 4], [1, 1, 3, 3]]), (len(images), 1, 1))
        scores = np.tile(np.float32([0.9, 0.2]), (len(images), 1))
        return boxes, scores, np.zeros(scores.shape, np.int32), np.ones(scores.shape, bool)

    options = InferenceOptions(["thing"], [17], batch_size=2)
    made = Pipeline(SimpleNamespace(predict=predict), lambda image: (np.zeros((3, 2, 2), np.float32),
                    np.float32([*image.shape[:2], 2, 2, 1, 1])), None, options)  # fmt: skip
    monkeypatch.setattr(detector, "_pipeline_of", lambda *_: made)
    return Detector("none")


def test_grey_pictures_and_boxes_alone(monkeypatch) -> None:
    made = stand_in(monkeypatch)
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    several = made.predict([grey, grey[..., None], Image.fromarray(grey)])
    assert [(one.height, one.width, len(one), one.masks) for one in several] == [(8, 8, 2, None)] * 3
    assert several[0].to_coco()[0]["category_id"] == 17 and several[0].to_supervision().mask is None
    assert (several[0].draw() == several[2].draw()).all()


def test_tiles_of_a_call(monkeypatch) -> None:
    """The stand-in finds two boxes in every view; those at a tile's left edge, but for the picture's, count as one."""
    made = stand_in(monkeypatch)
    large = np.zeros((32, 80, 3), np.uint8)
    assert len(made.predict(large)) == len(made.predict(large, tile=80)) == 2
    found = made.predict([large, large[:, :70]], tile=32, overlap=0)
    assert [one.boxes[:, 0].min() for one in found] == [0, 0]
    assert [sorted(one.boxes[:, 0].tolist()) for one in found] == [[0, 1, 24, 48], [0, 1, 19, 38]]
    with pytest.raises(UserError, match="tile"):
        made.predict(large, tile=-1)
    with pytest.raises(UserError, match="overlap"):
        made.predict(large, tile=32, overlap=1)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((4, 4, 3)), r"an array float64 \[4, 4, 3\] is no image; give uint8 \[H, W, 3\]"),
        (np.zeros((4, 4, 4), np.uint8), r"an array uint8 \[4, 4, 4\] is no image"),
        (np.zeros((0, 4), np.uint8), r"an array uint8 \[0, 4\] is no image"),
        (7, "int is no image; give a path, bytes, an array or one of Pillow's images"),
        (Image.new("I;16", (4, 4)), "mode I;16 has no 8 bits per channel; convert it to RGB"),
        (b"no image", "<bytes>: broken, truncated or not an image"),
        ("none.jpg", "none.jpg: No such file or directory"),
    ],
)
def test_what_is_no_image(monkeypatch, source, message) -> None:
    from src.data.image import ImageRules

    made = stand_in(monkeypatch)
    object.__setattr__(made.pipeline, "rules", ImageRules())
    for given in (source, [source]):
        with pytest.raises(UserError, match=message):
            made.predict(given)


def test_mistakes_of_configurations(folder) -> None:
    with pytest.raises(UserError, match="unknown key 'score_thr'"):
        Detector(folder / CHECKPOINT, overrides={"score_thr": 0.3})
    with pytest.raises(UserError, match="none.ckpt does not exist"):
        Detector("none.ckpt")


def test_a_file_without_a_configuration_says_all(tmp_path, monkeypatch) -> None:
    """Only its run can be configured; the network is a stand-in."""
    path = tmp_path / "a.mindir"
    write_card(path, ["cat", "dog"], [2], category_ids=[5, 9])
    seen = []

    class TwoBoxes:
        def __init__(self, path):
            seen.append(path)

        def run(self, images):
            boxes = np.float32([[[0, 0, 32, 32], [40, 40, 60, 60]]])
            return [np.repeat(boxes, len(images), 0), np.repeat(np.float32([[[0.9, 0], [0, 0.6]]]), len(images), 0)]

    monkeypatch.setitem(exported_model.MODELS, ".mindir", {"mindspore": TwoBoxes})
    made = Detector(path, overrides={"test_batch_size": 2, "device_target": "CPU"})
    found = made.predict(np.zeros((32, 32, 3), np.uint8))
    assert (made.class_names, found.names, seen) == (["cat", "dog"], ["cat", "dog"], [str(path)])
    assert found.boxes[0].tolist() == [0, 0, 16, 16] and [one["category_id"] for one in found.to_coco()] == [5, 9]
    with pytest.raises(
        UserError, match=r"a.mindir has no configuration beside it: test_cfg cannot be set, only device"
    ):
        Detector(path, overrides={"test_cfg": {"score_thr": 0.3}})
    with pytest.raises(UserError, match="--runtime onnxruntime does not run .*a.mindir; mindspore can"):
        Detector(path, overrides={"runtime": "onnxruntime"})
