"""TXT lists of images and boxes."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from src.common.errors import UserError
from src.data.formats.txt import TxtDataset
from src.data.image import load_image
from src.data.image_size import image_size
from tests.data.coco_files import NAMES, noise_image
from tests.data.listed_files import write_image


def read(tmp_path: Path, text: str, **options) -> TxtDataset:
    (tmp_path / "list.txt").write_text(text)
    for name in ("a.png", "b c.png", "sub/d.PNG"):
        write_image(tmp_path / name)
    return TxtDataset(tmp_path / "list.txt", NAMES, **options)


def test_lines(tmp_path):
    dataset = read(tmp_path, "a.png 0,5,40,30,3 35.5,8,60,20,1\n\n  b c.png\t1,2,3,4,2 \r\nsub/d.PNG\n")
    first, second, third = dataset.records
    assert [record.image for record in dataset.records] == [
        str(tmp_path / n) for n in ("a.png", "b c.png", "sub/d.PNG")
    ]
    assert first.boxes.tolist() == [[0, 5, 40, 30], [35.5, 8, 60, 20]] and first.boxes.dtype == np.float32
    assert first.labels.tolist() == [2, 0] and first.labels.dtype == np.int32
    assert (first.height, first.width, first.image_id) == (40, 60, 1)
    assert second.labels.tolist() == [1] and len(third.boxes) == 0 and third.image_id == 3
    assert dataset.category_ids == [1, 2, 3] and dataset.problems == []
    assert dataset.annotation_file == tmp_path / "list.txt" and dataset.images_dir == tmp_path


def test_the_seeds_line(tmp_path):
    write_image(tmp_path / "train2017/0000001.jpg", 500, 500)
    (tmp_path / "list.txt").write_text("train2017/0000001.jpg 0,259,401,459,7 35,28,324,201,2 0,30,59,80,2\n")
    names = [f"class {number}" for number in range(1, 11)]
    record = TxtDataset(tmp_path / "list.txt", names).records[0]
    assert record.boxes.tolist() == [[0, 259, 401, 459], [35, 28, 324, 201], [0, 30, 59, 80]]
    assert [names[label] for label in record.labels] == ["class 7", "class 2", "class 2"]


def test_images_in_a_folder_of_their_own(tmp_path):
    write_image(tmp_path / "pictures/a.png")
    (tmp_path / "lists").mkdir()
    path = tmp_path / "lists/list.txt"
    path.write_text(f"a.png 0,0,9,9,1\n{tmp_path}/b.png\n", encoding="utf-8-sig")
    write_image(tmp_path / "b.png")
    assert len(TxtDataset(path, NAMES, tmp_path / "pictures").records) == 2


def test_impossible_boxes_are_skipped_and_reported(tmp_path):
    dataset = read(tmp_path, "\na.png 9,9,9,20,1 1,1,9,9,2 70,0,80,9,1 20,5,10,9,1 nan,0,5,5,1 50,30,90,90,3\n")
    assert dataset.records[0].boxes.tolist() == [[1, 1, 9, 9], [50, 30, 60, 40]]
    skipped = [line for line in dataset.problems if "skipped" in line]
    assert len(skipped) == 4 and all(line.startswith(f"{tmp_path}/list.txt, line 2: box ") for line in skipped)
    assert skipped[0].endswith(f"box 9, 9, 9, 20 is empty or outside the image {tmp_path}/a.png (60x40); skipped")


def test_missing_images_are_reported_and_count_in_evaluation(tmp_path):
    dataset = read(tmp_path, "none.png 10,5,30,20,2\na.png 1,1,5,5,1\n")
    assert [record.image_id for record in dataset.records] == [2]
    assert dataset.missing_images == [str(tmp_path / "none.png")]
    assert f"{tmp_path}/none.png: missing; {tmp_path}/list.txt, line 1 names it" in dataset.problems
    content = dataset.coco_annotations()
    assert [image["id"] for image in content["images"]] == [1, 2]
    assert [one["bbox"] for one in content["annotations"]] == [[10, 5, 20, 15], [1, 1, 4, 4]]


def test_a_broken_image_is_left_to_the_loader(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    dataset = read(tmp_path, "broken.png 1,1,5,5,1\n")
    assert len(dataset.records) == 1 and dataset.records[0].boxes.tolist() == [[1, 1, 5, 5]]
    assert any("broken.png: broken" in line for line in dataset.problems)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.png 1,1,5,5", "'1,1,5,5' is not xmin,ymin,xmax,ymax,class"),
        ("a.png 1,1,5,5,1,1", "is not xmin,ymin,xmax,ymax,class"),
        ("a.png 1,1,5,five,1", "is not xmin,ymin,xmax,ymax,class"),
        ("a.png 1, 1,5,5,1", "'1,' is not"),
        ("a.png 1,1,5,5,1.5", "is not xmin,ymin,xmax,ymax,class"),
        ("a.png 1,1,5,5,cat", "is not xmin,ymin,xmax,ymax,class"),
        ("a.png 1,1,5,5,0", "class 0 of '1,1,5,5,0' is not one of the 3 classes.*0 is the background.*1 is 'cat'"),
        ("a.png 1,1,5,5,4", "class 4 of .*3 is 'owl'"),
        ("a.png 1,1,5,5,-1", "class -1"),
        ("1,1,5,5,1", "no image in '1,1,5,5,1'"),
        ("x.png", r"x\.png is in .*list\.txt, line 1 too"),
    ],
)
def test_faulty_lines_are_named(tmp_path, line, message):
    with pytest.raises(UserError, match=rf"list\.txt, line 3: .*{message}"):
        read(tmp_path, f"x.png\n\n{line}\n")


def test_files_that_are_no_lists(tmp_path):
    with pytest.raises(UserError, match="names no images"):
        read(tmp_path, "\n \n")
    with pytest.raises(UserError, match="cannot read the list"):
        TxtDataset(tmp_path / "none.txt", NAMES)
    with pytest.raises(UserError, match="is a folder"):
        TxtDataset(tmp_path, NAMES)
    with pytest.raises(UserError, match="not a text file in UTF-8"):
        TxtDataset(tmp_path / "a.png", NAMES)


def test_parts_of_a_list(tmp_path):
    text = "".join(f"{n}.png\n" for n in range(6))
    for n in range(6):
        write_image(tmp_path / f"{n}.png")
    assert [Path(r.image).stem for r in read(tmp_path, text, first=5, every=2).records] == ["0", "2", "4"]


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_sizes_are_those_of_the_image_as_it_is_loaded(tmp_path, orientation):
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(noise_image(30, 50)).save(path, exif=exif)
    assert image_size(str(path)) == load_image(path).shape[:2] == ((30, 50) if orientation < 5 else (50, 30))


def test_formats_that_the_header_reader_lacks_are_decoded(tmp_path, monkeypatch):
    cv2.imencode(".png", noise_image(30, 50))[1].tofile(tmp_path / "a.png")
    monkeypatch.setattr(Image, "open", lambda path: (_ for _ in ()).throw(OSError))
    assert image_size(str(tmp_path / "a.png")) == (30, 50)
