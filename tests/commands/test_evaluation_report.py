"""eval.py --report: one web page with everything about an evaluation."""

import json
import re

import cv2
import numpy as np
import pytest

from src.commands.evaluate import evaluate
from src.config import load_config
from src.evaluation.error_types import ERRORS
from src.visual.error_pictures import BAD
from tests.browser import check_pictures_are_shown, pictures_of
from tests.conftest import ROOT
from tests.data.coco_files import IDS, NAMES, annotation, write_dataset

# x, y, width, height, class. Image 1 has nothing; those of image 2 are all found, with the lowest scores of all, so
# that the best least score leaves nothing out.
EASY = [(4 + 30 * n, 4 + 36 * label, 20, 20, label) for n in range(3) for label in range(2)]
TRUTH = [(4, 4, 20, 20, 0), (40, 4, 20, 20, 0), (80, 4, 20, 20, 1), (4, 40, 20, 20, 1), (40, 40, 20, 20, 2)]
FOUND = [
    (0, (4, 4, 20, 20), 0, 0.95),  # right
    (0, (5, 4, 20, 20), 0, 0.9),  # duplicate
    (0, (50, 4, 20, 20), 0, 0.85),  # localisation: IoU 1/3
    (0, (80, 4, 20, 20), 0, 0.8),  # class
    (0, (14, 40, 20, 20), 0, 0.75),  # both
    (1, (80, 50, 20, 20), 1, 0.7),  # background
    *((2, tuple(box), label, 0.4) for *box, label in EASY),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data set, predictions with an error of each kind, and the report on them."""
    folder = tmp_path_factory.mktemp("report")
    objects = [annotation(n, 10, list(box), IDS[label]) for n, (*box, label) in enumerate(TRUTH)]
    objects += [annotation(50 + n, 16, list(box), IDS[label]) for n, (*box, label) in enumerate(EASY)]
    write_dataset(folder / "data & <more>", 3, 80, 120, objects)
    for path in (folder / "data & <more>/data").iterdir():  # no red but that of the report
        cv2.imwrite(str(path), cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), cv2.COLOR_GRAY2BGR))
    results = [
        {"image_id": 10 + 3 * image, "category_id": IDS[label], "bbox": list(box), "score": score}
        for image, box, label, score in FOUND
    ]
    (folder / "predictions.json").write_text(json.dumps(results))
    evaluate(configuration(folder))
    return folder


def configuration(folder, **more):
    values = {
        "coco_classes": ["background", *NAMES], "num_classes": 4, "category_ids": [], "dataset": "coco",
        "val_dataset": str(folder / "data & <more>"), "prediction_path": str(folder / "predictions.json"),
        "report": str(folder / "report"),
    }  # fmt: skip
    return load_config(ROOT / "configs/demo/refinedet.yaml", {**values, **more})


def test_the_page_has_tables_curves_and_a_picture_of_each_kind_of_error(folder):
    page = folder / "report/index.html"
    text, pictures = page.read_text(), pictures_of(page)
    names = [path.stem for path in pictures]
    assert names[:5] == ["class_ap", "precision_recall", "score_curves_01", "confusion_matrix", "errors"]
    assert sorted(names[5:]) == sorted(f"{kind}_01" for kind in ERRORS)  # one image each
    for path in pictures:
        image = cv2.imread(str(path))
        assert image is not None and image.std() > 10
    metrics = json.loads((folder / "predictions_metrics.json").read_text())
    assert f"<td>mAP</td><td>{metrics['stats']['bbox_mAP']:.3f}</td>" in text
    # Class 1: three of five objects are found, by three of four detections: F1 is 6 / 9, from any score up to 0.4.
    scores = "</td><td>".join(("0.20", "0.750", "0.600", "0.667"))
    assert re.search(rf"<td>dog</td><td>5</td>(<td>0\.\d+</td>){{2}}<td>{scores}</td>", text)
    assert re.search(r"<td>owl</td><td>1</td><td>0\.000</td><td>0\.000</td>(<td>-</td>){4}", text)
    assert "data &amp; &lt;more&gt;" in text and "<more>" not in text
    assert json.loads((folder / "report/analysis.json").read_text())["errors"]["counts"]["duplicate"] == 1


def test_pictures_show_in_red_what_is_wrong(folder):
    """The wrong box in the right half alone, the missed object in the left half alone."""
    for kind, halves in (("background", [False, True]), ("missed", [True, False])):
        image = cv2.imread(str(folder / f"report/pictures/{kind}_01.jpg")).astype(int)
        red = (np.abs(image - BAD[::-1]) < 30).all(axis=2)
        middle = image.shape[1] // 2
        assert [bool(red[28:, half].sum() > 200) for half in (slice(0, middle), slice(middle, None))] == halves, kind


def test_a_browser_shows_every_picture(folder):
    check_pictures_are_shown(folder / "report/index.html")


def test_a_folder_that_cannot_be_written_is_refused_at_once(folder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match="file"):
        evaluate(configuration(folder, report=str(tmp_path / "file/report")))


def test_images_that_are_gone_leave_a_page_without_their_pictures(folder, tmp_path):
    (folder / "data & <more>/data/000.png").rename(tmp_path / "000.png")
    try:
        evaluate(configuration(folder, report=str(tmp_path / "report")))
    finally:
        (tmp_path / "000.png").rename(folder / "data & <more>/data/000.png")
    names = [path.stem for path in pictures_of(tmp_path / "report/index.html")]
    assert names[5:] == ["background_01"]
