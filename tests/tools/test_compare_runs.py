"""tools/compare_runs.py: what one run finds and the other does not."""

import json
import re

import pytest

from src.commands.compare_runs import compare_runs
from src.commands.open_data import evaluation_data
from src.common.errors import UserError
from tests.browser import check_pictures_are_shown, pictures_of
from tests.data.coco_files import IDS, annotation, write_dataset
from tests.end_to_end.commands import run

# Image 0: three cats; image 1: a dog; image 2: nothing.
CATS = [[4, 4, 20, 20], [40, 4, 20, 20], [80, 4, 20, 20]]
DOG = [4, 40, 20, 20]


def result(image, box, label, score):
    return {"image_id": 10 + 3 * image, "category_id": IDS[label], "bbox": box, "score": score}


# The first finds two cats and the dog; the second one cat and the dog, and is wrong on the background once.
FIRST = [result(0, CATS[0], 0, 0.9), result(0, CATS[1], 0, 0.8), result(1, DOG, 1, 0.7)]
SECOND = [result(0, CATS[0], 0, 0.5), result(1, DOG, 1, 0.5), result(2, [60, 40, 20, 20], 1, 0.6)]


@pytest.fixture
def folder(tmp_path):
    objects = [annotation(n, 10, box, IDS[0]) for n, box in enumerate(CATS)] + [annotation(9, 13, DOG, IDS[1])]
    write_dataset(tmp_path / "data", 3, 80, 120, objects)
    for name, results in (("first", FIRST), ("second", SECOND)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "predictions.json").write_text(json.dumps(results))
    return tmp_path


def test_the_comparison(folder):
    out, _ = run(
        "tools/compare_runs.py", "first/predictions.json", "second/predictions.json", "--annotations", "data",
        "--output_dir", "report", cwd=folder,
    )  # fmt: skip
    first, second = "first/predictions.json", "second/predictions.json"  # the stems are the same
    for line in (
        r"mAP_50 +0\.832 +0\.418 +-0\.413",  # 67 and 34 of 101 recall points; all of them, and all by half
        r"cat +0\.663 +0\.337 +-0\.327 +0\.663 +0\.337 +-0\.327",
        r"owl +- +- +- +- +- +-",
        r"cat +3 +1 +1 +0 +1 +0 +0",
        r"dog +1 +1 +0 +0 +0 +0 +1",
        r"all +4 +2 +1 +0 +1 +0 +1",
        rf"{first}: detections from 0\.35",  # the middle of 0.00 to 0.70
    ):
        assert re.search(rf"^ {line}", out, re.MULTILINE), f"{line}\n{out}"
    assert f"by {second} only" in out and out.rstrip().endswith("report/index.html")
    page = folder / "report/index.html"
    # Image 0 for its cat, image 2 for the wrong detection; in image 1 both are the same.
    assert [path.stem for path in pictures_of(page)] == ["image_01", "image_02"]
    assert "2 of 3 images differ" in page.read_text()
    check_pictures_are_shown(page)


def test_a_run_against_itself_has_no_differences(folder, capsys):
    dataset = evaluation_data("auto", str(folder / "data/labels.json"), str(folder / "data/data"))
    parts = compare_runs([folder / "first/predictions.json"] * 2, dataset, folder / "report")
    assert all(row[3] in ("+0.000", "-") for row in parts[0].table[1:])
    assert not parts[-1].pictures and "0 of 3 images differ" in parts[-1].lines[0]


def test_predictions_of_other_images_are_refused(folder):
    (folder / "other.json").write_text(json.dumps([result(7, DOG, 1, 0.5)]))
    with pytest.raises(UserError, match="not in the annotations"):
        compare_runs(
            [folder / "other.json", folder / "other.json"], evaluation_data("coco", str(folder / "data")), folder
        )


def test_data_that_does_not_name_its_classes_wants_them(tmp_path):
    (tmp_path / "list.txt").write_text("")
    with pytest.raises(UserError, match="give --classes"):
        evaluation_data("other", str(tmp_path / "list.txt"))
