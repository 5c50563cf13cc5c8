"""Annotations as arrays: the records and messages are those that plain JSON gives, from the file and from the cache."""

import json
import math
import os
import pickle
import threading
import time

import numpy as np
import pytest

from src.common.errors import UserError
from src.data.annotations import cache, parsing
from src.data.formats import coco
from src.data.formats.coco import CocoDataset
from src.data.masks import segmentation_fault
from src.data.reader_checks import clip_box, clip_boxes
from tests.data.coco_files import IDS, NAMES, annotation, write_dataset

HW = 40, 60
SQUARE = [[1.25, 2.5, 9, 2.5, 9, 8.75, 1.25, 8.75]]
RUNS = {"size": [40, 60], "counts": [7, 3, 2390]}
STRING = {"size": [40, 60], "counts": "T`0P1", "more": None}


@pytest.fixture(params=[False, True], ids=["from the file", "from the cache"])
def cached(request, monkeypatch, tmp_path):
    """Chunks of three annotations; where it is true, files of any size are cached."""
    monkeypatch.setattr(parsing, "CHUNK", 3)
    if request.param:
        use_cache(monkeypatch, tmp_path)
    return request.param


def use_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(cache, "CACHED_FROM", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/mindspore_detection/annotations"


def reference(root, with_masks):
    """What is to come out: (image id, boxes, labels, crowd, masks) of each image, and the lines of what is left out."""
    content = json.loads((root / "labels.json").read_text())
    label_of = {category["id"]: NAMES.index(category["name"]) for category in content["categories"]}
    records, lines = [], []
    for image in content["images"]:
        path, found = root / "data" / image["file_name"], []
        for one in content["annotations"]:
            if one.get("image_id") != image["id"]:
                continue
            try:
                x, y, w, h = one.get("bbox")
                if any(type(value) not in (int, float) for value in (x, y, w, h)):
                    raise TypeError
                box = clip_box((x, y, x + w, y + h), *HW)
            except (TypeError, ValueError):
                box = None
            if box is None:
                lines.append(
                    f"{path}: box {one.get('bbox')} of annotation {one.get('id')} is empty, not a box or outside the "
                    "image (60x40); skipped"
                )
            elif with_masks and (fault := segmentation_fault(one.get("segmentation"), *HW)):
                lines.append(f"{path}: annotation {one.get('id')} is left out: {fault}")
            else:
                label = label_of[one["category_id"]]
                found.append((box, label, bool(one.get("iscrowd", 0)), one.get("segmentation")))
        records.append((image["id"], *([row[k] for row in found] for k in range(4))))
    return records, lines


def check(root, with_masks):
    """Records and lines equal those of the reference."""
    expected, lines = reference(root, with_masks)
    dataset = CocoDataset(root, NAMES, with_masks=with_masks)
    assert [line for line in dataset.problems if "does not list" not in line] == lines
    assert len(dataset.records) == len(expected)
    for record, (image_id, boxes, labels, crowd, masks) in zip(dataset.records, expected, strict=True):
        assert record.image_id == image_id and (record.height, record.width) == HW
        assert record.boxes.dtype == np.float32 and record.labels.dtype == np.int32 and record.crowd.dtype == bool
        assert np.array_equal(record.boxes, np.array(boxes, np.float32).reshape(-1, 4))
        assert record.labels.tolist() == labels and record.crowd.tolist() == crowd
        assert record.masks is None if not with_masks else list(record.masks) == masks
    return dataset


def objects(*segmentations):
    """One annotation per segmentation, on the images by turns."""
    return [
        annotation(n + 1, 10 + 3 * (n % 3), [1.5 + n, 2, 10, 8.25], IDS[n % 3], segmentation=segmentation)
        for n, segmentation in enumerate(segmentations)
    ]


@pytest.mark.parametrize("with_masks", [False, True])
def test_all_kinds_of_masks(tmp_path, cached, with_masks):
    two = [*SQUARE, [20, 20, 30, 20.125, 25, 28]]
    listed = objects(
        SQUARE, two, RUNS, STRING, None, [], SQUARE, [[1, 2, 3]], [[1, 2, 3, 4]], [[1, 2], *SQUARE], SQUARE
    )
    listed[3]["iscrowd"] = 1
    del listed[4]["segmentation"]
    write_dataset(tmp_path, 4, annotations=listed)
    check(tmp_path, with_masks)
    check(tmp_path, with_masks)


@pytest.mark.parametrize("points", [[0.1, 0.2, 5, 639.99, 3, 7], [1 / 3, 0.2, 5, 6, 3, 7], [1e9, 0.5, 5, 6, 3, 7]])
def test_points_are_the_same_numbers(tmp_path, cached, points):
    """Also where they are no hundredths of a pixel, or beyond what hundredths hold."""
    write_dataset(tmp_path, annotations=objects(*SQUARE, [points], SQUARE, SQUARE, SQUARE))
    check(tmp_path, True)


@pytest.mark.parametrize(
    "change",
    [
        {"bbox": [5, 5, 0, 10]},
        {"bbox": ["5", "5", "9", "10"]},
        {"bbox": [1, 2, 3]},
        {"bbox": None},
        {"bbox": [1, 2, math.nan, 4]},
        {"bbox": [1, 2, 1e999, 4]},
        {"segmentation": "none"},
        {"segmentation": [[1, 2, "3", 4, 5, 6]]},
        {"segmentation": {"size": [60, 40], "counts": [2400]}},
        {"segmentation": {}},
        {"iscrowd": True},
        {"iscrowd": None},
        {"iscrowd": 1.0},
        {"id": None, "segmentation": []},
        {"id": "seven", "segmentation": []},
        {"id": 2**70},
        {"category_id": float(IDS[1])},
        {"more": [[1, {"deep": None}]]},
    ],
    ids=str,
)
@pytest.mark.parametrize("with_masks", [False, True])
def test_annotations_that_are_odd(tmp_path, cached, with_masks, change):
    """Beside plain ones of the same image and of others."""
    listed = objects(*[SQUARE] * 7)
    listed[3].update(change)
    write_dataset(tmp_path, annotations=listed)
    check(tmp_path, with_masks)


def test_files_that_are_not_plain_json(tmp_path, cached):
    """A byte-order mark, or NaN somewhere."""
    write_dataset(tmp_path, annotations=objects(SQUARE, RUNS, None, SQUARE))
    text = (tmp_path / "labels.json").read_bytes()
    expected = [(r.image_id, r.boxes.tolist(), r.masks) for r in CocoDataset(tmp_path, NAMES, with_masks=True).records]
    for other in (b"\xef\xbb\xbf" + text, text.replace(b'"area": 82.5', b'"area": NaN', 1)):
        assert other != text
        (tmp_path / "labels.json").write_bytes(other)
        found = CocoDataset(tmp_path, NAMES, with_masks=True).records
        assert [(r.image_id, r.boxes.tolist(), r.masks) for r in found] == expected


def test_strays_and_the_first_of_them(tmp_path, cached):
    listed = objects(*[SQUARE] * 5)
    listed[2]["image_id"], listed[4]["image_id"] = 10.5, 999
    write_dataset(tmp_path, annotations=listed)
    assert CocoDataset(tmp_path, NAMES).problems == [
        f"{tmp_path}/labels.json: 2 annotations of images that it does not list were skipped (the first: image_id 10.5)"
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"category_id": 3}, r"annotation 4 has category_id 3, which its categories lack \(they are \[7, 12, 90\]\)"),
        ({"category_id": None}, r"annotations\[3\]: category_id is None, not a number"),
        ({"category_id": [7]}, r"annotations\[3\]: category_id is \[7\], not a number"),
        ({"id": 2}, "annotation id 2 is used more than once"),
        ({"id": [2]}, r"annotations\[3\]: id is \[2\], not a number or a text"),
    ],
)
def test_faults_are_the_same_error_every_time(tmp_path, cached, change, message):
    listed = objects(*[SQUARE] * 5)
    listed[3].update(change)
    write_dataset(tmp_path, annotations=listed)
    for _ in range(2):
        with pytest.raises(UserError, match=message):
            CocoDataset(tmp_path, NAMES)


def test_the_first_of_several_faults_is_named(tmp_path):
    listed = objects(*[SQUARE] * 5)
    listed[1]["category_id"], listed[3]["category_id"] = 3, 3.5
    write_dataset(tmp_path, annotations=listed)
    with pytest.raises(UserError, match="annotation 2 has category_id 3"):
        CocoDataset(tmp_path, NAMES)


def test_an_annotation_that_is_none(tmp_path):
    write_dataset(tmp_path, annotations=[*objects(SQUARE), None])
    with pytest.raises(UserError, match=r"labels\.json: annotations\[1\] is None, not an object"):
        CocoDataset(tmp_path, NAMES)


def test_numbers_beyond_64_bits(tmp_path):
    write_dataset(tmp_path)
    text = (tmp_path / "labels.json").read_text().replace('"id": 13,', f'"id": {2**63},', 1)
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(UserError, match=r"images\[1\]: id is 9223372036854775808, not a whole number of 64 bits"):
        CocoDataset(tmp_path, NAMES)


def test_records_are_a_sequence(tmp_path, cached):
    write_dataset(tmp_path, annotations=objects(*[SQUARE] * 7))
    records = CocoDataset(tmp_path, NAMES, with_masks=True).records
    assert [record.image_id for record in records[1:3]] == [13, 16] and records[-1].image_id == 25
    assert records[0].masks == [SQUARE] * 3 and records[0].masks[1:] == [SQUARE] * 2
    with pytest.raises(IndexError):
        records[6]
    copy = pickle.loads(pickle.dumps(records[0]))  # as a loader's processes get it
    assert type(copy.masks) is list and copy.masks == records[0].masks and len(pickle.dumps(records[0])) < 2000


def test_a_second_start_parses_nothing(tmp_path, monkeypatch):
    folder = use_cache(monkeypatch, tmp_path)
    root = write_dataset(tmp_path, annotations=objects(SQUARE, RUNS, None, SQUARE))
    check(root, True)
    assert folder.stat().st_mode & 0o777 == 0o700 and len(list(folder.glob("*.arrays"))) == 1
    monkeypatch.setattr(coco, "make_columns", None)
    check(root, True)


def test_other_content_of_the_same_size_and_time_is_parsed(tmp_path, monkeypatch):
    use_cache(monkeypatch, tmp_path)
    root = write_dataset(tmp_path, annotations=objects(SQUARE, SQUARE))
    check(root, True)
    path, times = root / "labels.json", (root / "labels.json").stat()
    path.write_text(path.read_text().replace("8.75", "7.75"))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert path.stat().st_size == times.st_size
    assert check(root, True).records[0].masks[0][0][-1] == 7.75


def test_other_code_parses_again(tmp_path, monkeypatch):
    folder = use_cache(monkeypatch, tmp_path)
    root = write_dataset(tmp_path)
    check(root, False)
    monkeypatch.setattr(cache, "_code_version", lambda: "new")
    check(root, False)
    assert len(list(folder.glob("*.arrays"))) == 2


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-64], lambda b: b[:-70] + b"x" + b[-69:], lambda b: b"", lambda b: b * 2]
)
def test_damaged_cache(tmp_path, monkeypatch, caplog, damage):
    folder = use_cache(monkeypatch, tmp_path)
    root = write_dataset(tmp_path, annotations=objects(*[SQUARE] * 5))
    check(root, True)
    (file,) = folder.glob("*.arrays")
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    check(root, True)
    assert "the annotations are parsed again" in caplog.text and file.read_bytes() == whole


def test_small_files_are_not_cached(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    check(write_dataset(tmp_path), True)
    assert not (tmp_path / "cache").exists()


def test_folders_of_others_and_links_are_refused(tmp_path, monkeypatch, caplog):
    """They are left as they are, and the annotations are read all the same."""
    folder = use_cache(monkeypatch, tmp_path)
    root = write_dataset(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    folder.parent.mkdir(parents=True)
    folder.symlink_to(elsewhere)
    check(root, True)
    assert f"{folder}: is a link or a file" in caplog.text and not list(elsewhere.iterdir())
    folder.unlink()
    folder.mkdir()
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    check(root, True)
    assert f"{folder}: belongs to another user" in caplog.text and not list(folder.iterdir())


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch, caplog):
    use_cache(monkeypatch, tmp_path)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "write_arrays", full)
    check(write_dataset(tmp_path), True)
    assert "the cache cannot be written" in caplog.text and "No space left" in caplog.text


def test_the_cache_keeps_the_files_that_were_used_last(tmp_path, monkeypatch):
    folder = use_cache(monkeypatch, tmp_path)
    monkeypatch.setattr(cache, "MOST_FILES", 2)
    roots = [write_dataset(tmp_path / str(n), n + 1) for n in range(3)]
    for age, n in enumerate((0, 1, 0, 2)):
        CocoDataset(roots[n], NAMES)
        for file in folder.glob("*.arrays"):  # all are older by now
            os.utime(file, (file.stat().st_atime, file.stat().st_mtime - 100))
        assert len(list(folder.glob("*.arrays"))) == min(age + 1, 2)
    names = {path.name.split(".")[0] for path in folder.iterdir()}
    assert len(names) == 2  # the locks of those that went are gone too
    monkeypatch.setattr(coco, "make_columns", None)
    CocoDataset(roots[0], NAMES)
    CocoDataset(roots[2], NAMES)


def test_one_of_several_parses(tmp_path, monkeypatch):
    """Threads stand in for processes: the lock is that of an open file."""
    use_cache(monkeypatch, tmp_path)
    root = write_dataset(tmp_path)
    parsed, made, parse = [], [], coco.make_columns

    def slowly(*arguments):
        parsed.append(threading.get_ident())
        time.sleep(0.5)
        return parse(*arguments)

    monkeypatch.setattr(coco, "make_columns", slowly)
    threads = [threading.Thread(target=lambda: made.append(len(CocoDataset(root, NAMES)))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [6, 6, 6] and len(parsed) == 1


def test_boxes_are_clipped_together_as_one_by_one():
    rng = np.random.default_rng(0)
    boxes = np.concatenate([rng.uniform(-30, 90, (200, 4)), [[0, 0, 1e308, 1], [1e308] * 4, [59.9995, 1, 1, 1]]])
    height, width = rng.integers(1, 60, (2, len(boxes)))
    corners, usable = clip_boxes(boxes, height, width)
    for (x, y, w, h), *size, found, kept in zip(boxes.tolist(), height, width, corners, usable, strict=True):
        expected = clip_box((x, y, x + w, y + h), *map(int, size))
        assert kept == (expected is not None) and (expected is None or tuple(found) == expected)
