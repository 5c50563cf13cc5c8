"""The synthetic data set: reproducible, consistent with its own masks, and as asked for."""

import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from src.common.errors import UserError
from src.data.formats.coco import CocoDataset
from src.data.synthetic import annotation, main, run_lengths, write_synthetic_dataset
from src.data.synthetic_scene import SceneOptions, random_scene
from src.data.synthetic_shapes import SHAPES, coverage

LARGE = SceneOptions(width=200, height=160, classes=5, max_object=140, crowd_share=0.2, empty_share=0.1)


def scenes(options=LARGE, count=60):
    for seed in range(count):
        yield random_scene(options, np.random.default_rng(seed))


def decode(segmentation, height: int, width: int) -> np.ndarray:
    rle = coco_mask.frPyObjects(segmentation, height, width)
    return coco_mask.decode(coco_mask.merge(rle) if isinstance(rle, list) else rle).astype(bool)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """40 training and 10 validation images."""
    folder = tmp_path_factory.mktemp("shapes")
    write_synthetic_dataset(folder, 40, 10, seed=5)
    return folder


def files(folder) -> dict:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_layout_is_read_by_the_coco_reader(small):
    names = SceneOptions().class_names
    train, val = CocoDataset(small, names, "train"), CocoDataset(small, names, "val")
    assert (len(train), len(val)) == (40, 10)
    assert train.annotation_file == small / "train" / "labels.json" and train.images_dir == small / "train" / "data"
    assert not train.problems and not val.problems
    assert names == ["circle", "square", "triangle", "star"]


def test_same_seed_same_files_and_more_images_do_not_change_the_first(small, tmp_path):
    write_synthetic_dataset(tmp_path / "same", 40, 10, seed=5)
    assert files(tmp_path / "same") == files(small)
    write_synthetic_dataset(tmp_path / "more", 45, 0, seed=5)
    more = files(tmp_path / "more")
    assert all(more[name] == data for name, data in files(small).items() if "train/data" in name)
    write_synthetic_dataset(tmp_path / "other", 40, 0, seed=6)
    assert files(tmp_path / "other")["train/data/000001.jpg"] != files(small)["train/data/000001.jpg"]


def test_train_and_validation_images_differ(small):
    images = [data for name, data in files(small).items() if name.endswith(".jpg")]
    assert len(set(images)) == 50


def test_boxes_and_segmentations_agree_with_the_visible_pixels():
    kinds = {"polygon": 0, "rle": 0, "crowd": 0}
    for _, objects in scenes():
        for number, thing in enumerate(objects):
            values = annotation(thing, number, 1)
            mask = decode(values["segmentation"], *thing.mask.shape)
            kinds["crowd" if thing.crowd else "polygon" if thing.whole else "rle"] += 1
            if thing.whole:
                assert np.sum(mask ^ thing.mask) <= 0.4 * cv2.arcLength(thing.outline.astype(np.float32), True)
            else:
                assert np.array_equal(mask, thing.mask)
                assert np.array_equal(coco_mask.toBbox(coco_mask.encode(np.asfortranarray(mask))), values["bbox"])
            x, y, w, h = values["bbox"]
            assert x >= 0 and y >= 0 and x + w <= 200 and y + h <= 160
            assert values["area"] == thing.mask.sum() > 0
    assert min(kinds.values()) >= 5, kinds


def test_objects_stay_visible_and_have_the_size_asked_for():
    for _, objects in scenes():
        for thing in objects:
            assert thing.mask.sum() >= LARGE.min_visible * thing.full_area
            if not thing.crowd:
                assert LARGE.min_object - 1 <= max(thing.box[2:]) <= LARGE.max_object + 1
                assert min(thing.box[2:]) >= LARGE.min_object / 2


def test_masks_do_not_overlap():
    for _, objects in scenes(count=20):
        assert sum(thing.mask.astype(int) for thing in objects).max() <= 1 if objects else True


def test_all_classes_sizes_crowds_and_empty_images_occur():
    found = [objects for _, objects in scenes(count=200)]
    things = [thing for objects in found for thing in objects if not thing.crowd]
    assert {thing.label for thing in things} == set(range(5))
    areas = np.array([thing.mask.sum() for thing in things])
    assert (areas < 32**2).sum() > 20 and ((areas >= 32**2) & (areas < 96**2)).sum() > 20 and (areas >= 96**2).sum() > 5
    assert sum(thing.crowd for objects in found for thing in objects) > 10
    assert 5 < sum(not objects for objects in found) < 45


def test_objects_stand_out():
    for image, objects in scenes(count=20):
        for thing in objects:
            if thing.whole:
                inside = image[thing.mask].mean(axis=0)
                ring = cv2.dilate(thing.mask.astype(np.uint8), np.ones((7, 7))).astype(bool) & ~thing.mask
                assert np.abs(inside - image[ring].mean(axis=0)).max() > 10


@pytest.mark.parametrize("name", SHAPES)
def test_coverage_has_the_area_of_the_outline(name):
    outline = SHAPES[name]() * 20 + (32.3, 31.8)
    cover, rows, columns = coverage(outline, 64, 64)
    assert cover.shape == (rows.stop - rows.start, columns.stop - columns.start)
    assert cover.sum() == pytest.approx(cv2.contourArea(outline.astype(np.float32)), rel=0.05)


def test_coverage_outside_the_image_is_empty():
    cover, rows, columns = coverage(SHAPES["circle"]() * 5 + (-20, 30), 64, 64)
    assert cover.size == 0 and np.zeros((64, 64))[rows, columns].size == 0


@pytest.mark.parametrize("seed", range(4))
def test_run_lengths_are_what_pycocotools_reads(seed):
    mask = np.random.default_rng(seed).random((7, 9)) < 0.5
    mask[0, 0] = seed % 2
    assert np.array_equal(decode(run_lengths(mask), 7, 9), mask)
    assert decode(run_lengths(np.ones((3, 4), bool)), 3, 4).all()


def test_what_is_there_is_kept_or_refused_or_replaced(small, tmp_path, capsys):
    write_synthetic_dataset(tmp_path, 3, 0, seed=1)
    before = files(tmp_path)
    write_synthetic_dataset(tmp_path, 3, 0, seed=1)
    assert "already there" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"train exists, not made with these options"):
        write_synthetic_dataset(tmp_path, 3, 0, seed=2)
    assert files(tmp_path) == before
    write_synthetic_dataset(tmp_path, 3, 0, seed=2, overwrite=True)
    assert files(tmp_path).keys() == before.keys() and files(tmp_path) != before


def test_an_interrupted_run_leaves_nothing_behind(tmp_path, monkeypatch):
    calls = []

    def fail_at_third(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return random_scene(*arguments)

    monkeypatch.setattr("src.data.synthetic.random_scene", fail_at_third)
    with pytest.raises(KeyboardInterrupt):
        write_synthetic_dataset(tmp_path, 5, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": 2}, "classes must be 3 to 6"),
        ({"min_object": 50, "max_object": 40}, "min_object"),
        ({"max_object": 500}, "max_object must be at most .* 128"),
        ({"min_objects": 4, "max_objects": 2}, "min_objects"),
        ({"empty_share": 1.5}, "empty_share"),
    ],
)
def test_impossible_options(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        write_synthetic_dataset(tmp_path, 1, 1, options=SceneOptions(**options))
    with pytest.raises(UserError, match="numbers of images"):
        write_synthetic_dataset(tmp_path, 0, 0)


def test_as_a_command(tmp_path, capsys):
    main(f"--output_dir {tmp_path} --train 3 --val 2 --image_size 96x64 --classes 3 --seed 9 --max_objects 2".split())
    assert "3 train and 2 validation images of circle, square, triangle" in capsys.readouterr().out
    values = json.loads((tmp_path / "train" / "labels.json").read_text())
    assert [c["name"] for c in values["categories"]] == ["circle", "square", "triangle"]
    assert {(image["width"], image["height"]) for image in values["images"]} == {(96, 64)}
    assert values["info"]["seed"] == 9 and values["info"]["max_object"] == int(0.78 * 64)
