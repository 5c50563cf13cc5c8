"""The report on a data set names everything that was put into it."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from src.commands.check_dataset import check_dataset
from src.commands.open_data import data_config
from src.config import load_config
from src.data.formats.coco import CocoDataset
from src.evaluation.data_facts import duplicates, facts_of, suggested_num_gts, suggested_size
from tests.conftest import ROOT
from tests.data.coco_files import NAMES, annotation, noise_image, write_dataset

PICTURES = re.compile(r'<img src="([^"]+)"')


def picture(seed: int) -> np.ndarray:
    return cv2.resize(np.random.default_rng(seed).integers(0, 256, (12, 16, 3)).astype(np.uint8), (160, 120))


def write_pictures(folder: Path, count: int, first: int) -> None:
    for n in range(count):
        cv2.imencode(".png", picture(first + n))[1].tofile(folder / f"{n:03d}.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Training data with a broken image, a tiny and an outside box; in evaluation another class and two old images."""
    boxes = [annotation(n, 10 + 3 * n, [5, 6, 40, 30], 7) for n in range(4)]
    boxes += [annotation(50, 10, [5, 6, 2, 30], 90), annotation(51, 13, [150, 6, 30, 10], 90)]
    train = write_dataset(tmp_path / "train", 6, 120, 160, boxes)
    val = write_dataset(tmp_path / "val", 4, 120, 160, [annotation(1, 10, [5, 6, 40, 30], 7)])
    write_pictures(train / "data", 6, 0)
    write_pictures(val / "data", 4, 100)
    (train / "data/005.png").write_bytes(b"no picture")
    (val / "data/001.png").write_bytes((train / "data/002.png").read_bytes())
    small = cv2.resize(picture(3), (80, 60), interpolation=cv2.INTER_AREA)
    cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tofile(val / "data/002.png")
    labels = json.loads((val / "labels.json").read_text())
    labels["categories"][2]["name"] = "bee"
    labels["images"][2] |= {"height": 60, "width": 80}
    (val / "labels.json").write_text(json.dumps(labels))
    return tmp_path


def test_the_report(folder: Path, capsys: pytest.CaptureFixture) -> None:
    data = data_config("coco", str(folder / "train"), str(folder / "val"))
    experiment = load_config(
        ROOT / "configs/demo/refinedet.yaml",
        {"coco_classes": data.coco_classes, "num_classes": data.num_classes, "category_ids": []},
    )
    check_dataset(data, folder / "report", experiment)
    out = capsys.readouterr().out
    for line in (
        r"train +6 +2 +6 +2 +160 x 120",
        r"cat +0 +4 +0 +4 +4",
        r"dog +2 +0 +0 +2 +2",
        r"only in train: owl",
        r"only in val, unknown to the training: bee",
        r"005\.png: .*image",
        r"001\.png: annotation 51 reaches 20 pixels out of the image",
        r"000\.png: 2 x 30 pixels at 5, 6",
        r"the same file: .*train/data/002\.png \(train\), .*val/data/001\.png \(val\)",
        r"the same picture: .*train/data/003\.png \(train\), .*val/data/002\.png \(val\)",
        r"num_classes: 4",
        r"num_gts: 10",
        r"img_width: 256, img_height: 256",
        r"anchors of .*refinedet\.yaml: ",
    ):
        assert re.search(line, out), line
    assert out.count("the same") == 2
    page = (folder / "report/index.html").read_text()
    pictures = PICTURES.findall(page)
    assert len(pictures) == 1 + 2 + 2 + 1  # a tiny box, two duplicates, and an image of each class that has any
    for name in pictures:
        assert cv2.imread(str(folder / "report" / name)).std() > 10
    assert "Images that are there more than once" in page and "<script" not in page


def test_good_data_has_nothing_to_report(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, 8, 120, 160, [annotation(n, 10 + 3 * n, [5, 6, 40, 30], 7) for n in range(8)])
    write_pictures(root / "data", 8, 0)
    facts = facts_of(CocoDataset(root, NAMES), "train")
    assert not (facts.broken or facts.beyond or facts.tiny or facts.problems or duplicates([facts]))
    assert facts.objects.tolist() == [[0, 8, 0], [0, 0, 0], [0, 0, 0]] and suggested_num_gts([facts]) == 10
    assert suggested_size(facts) == (256, 256)


def test_large_images_with_small_objects_get_a_large_input(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, 2, 900, 1300, [annotation(1, 10, [5, 6, 20, 30], 7)])
    assert suggested_size(facts_of(CocoDataset(root, NAMES), "train")) == (1024, 1344)
    assert noise_image(2, 2).shape == (2, 2, 3)
