"""Annotations and their formats, each a small good file, damage to it, and what must hold."""

import json
import random
from pathlib import Path

import numpy as np

from src.data.formats.coco import CocoDataset
from src.data.formats.cvat import CvatDataset
from src.data.formats.fiftyone import FiftyOneDataset
from src.data.formats.labelme import LabelmeDataset
from src.data.formats.lvis import LvisDataset
from src.data.formats.txt import TxtDataset
from src.data.formats.voc import VocDataset
from src.data.formats.yolo import YoloDataset
from src.evaluation.coco_evaluator import CocoEvaluator
from tests.data.coco_files import NAMES, write_dataset
from tests.data.drawn_files import (
    TRIANGLE,
    fiftyone_object,
    labelme_shape,
    png_text,
    write_cvat,
    write_fiftyone,
    write_labelme,
    write_lvis,
    write_yolo,
)
from tests.data.listed_files import txt_copy, voc_object, voc_xml, write_year
from tests.faults.campaign import Case
from tests.faults.checks import check_finite, check_records
from tests.faults.mutations import damaged_bytes, json_or_bytes

RLE = {"size": [40, 60], "counts": [100, 10, 2290]}


def coco(folder: Path) -> Case:
    root = write_dataset(folder / "coco", 4)
    labels = root / "labels.json"
    content = json.loads(labels.read_text())
    content["annotations"][1]["segmentation"] = RLE
    content["annotations"].append({**content["annotations"][0], "id": 999, "iscrowd": 1, "segmentation": RLE})

    def damage(rng: random.Random) -> None:
        labels.write_bytes(json_or_bytes(content, rng))

    def read() -> None:
        for with_masks in (False, True):
            check_records(CocoDataset(root, NAMES, with_masks=with_masks), len(NAMES))

    return Case(damage, read)


def evaluated_annotations(folder: Path) -> Case:
    """An annotation file that evaluation reads by itself."""
    root = write_dataset(folder / "truth", 4)
    labels = root / "labels.json"
    content = json.loads(labels.read_text())
    content["annotations"].append({**content["annotations"][0], "id": 999, "iscrowd": 1, "segmentation": RLE})
    names = [one["name"] for one in content["categories"]]
    ids = [one["id"] for one in content["categories"]]

    def damage(rng: random.Random) -> None:
        labels.write_bytes(json_or_bytes(content, rng))

    def read() -> None:
        evaluator = CocoEvaluator(labels, names, ids, ("bbox", "segm"))
        check_finite(evaluator.compute_metrics().stats)

    return Case(damage, read)


def voc(folder: Path) -> Case:
    year = write_year(folder / "VOC2007", {"trainval": ["a", "b", "c"]})
    path = year / "Annotations" / "b.xml"
    good = voc_xml(voc_object("cat", (2.5, 3.25, 30.1, 20.7), difficult=1) + voc_object("dog", (5, 3, 20, 20)))
    encodings = ("utf-8", "latin-1", "utf-16", "utf-7", "cp037", "unknown", "shift_jis", "utf-32", "base64", "UTF-8\0")

    def damage(rng: random.Random) -> None:
        text = good.encode()
        if rng.randrange(10) == 0:
            text = f"<?xml version='1.0' encoding='{rng.choice(encodings)}'?>".encode() + text
        if rng.randrange(10) == 0:
            number = rng.choice((b"9" * 400, b"9" * 5000, b"1e999", b"nan", b"-5", b"0", b"1_0", b"\xd9\xa3"))
            text = text.replace(rng.choice((b"60", b"40", b"20", b"2.5")), number, 1)
        path.write_bytes(damaged_bytes(text, rng))

    def read() -> None:
        check_records(VocDataset(year, NAMES, "train", ["trainval"]), len(NAMES))

    return Case(damage, read)


def voc_list(folder: Path) -> Case:
    year = write_year(folder / "VOC2012", {"trainval": ["a", "b", "c"]})
    path = year / "ImageSets" / "Main" / "trainval.txt"

    def damage(rng: random.Random) -> None:
        path.write_bytes(damaged_bytes(b"a\nb\nc\n", rng))

    def read() -> None:
        check_records(VocDataset(year, NAMES, "train", ["trainval"]), len(NAMES))

    return Case(damage, read)


def txt(folder: Path) -> Case:
    root = write_dataset(folder / "txt", 4)
    path = txt_copy(CocoDataset(root, NAMES), root / "data" / "list.txt")
    good = path.read_bytes()

    def damage(rng: random.Random) -> None:
        path.write_bytes(damaged_bytes(good, rng))

    def read() -> None:
        check_records(TxtDataset(path, NAMES), len(NAMES))

    return Case(damage, read)


def yolo(folder: Path) -> Case:
    """The labels of an image, and the file that names classes and splits."""
    polygon = "2 0.1 0.1 0.5 0.15 0.3 0.7\n"
    root = write_yolo(folder / "yolo", {"a": f"0 0.5 0.5 0.5 0.25\n{polygon}", "b": "", "c": polygon})
    good = {path: path.read_bytes() for path in (root / "labels/train/a.txt", root / "data.yaml")}

    def damage(rng: random.Random) -> None:
        path = rng.choice(list(good))
        path.write_bytes(damaged_bytes(good[path], rng))

    def restore() -> None:
        for path, text in good.items():
            path.write_bytes(text)

    def read() -> None:
        for with_masks in (False, True):
            check_records(YoloDataset(root, NAMES, with_masks=with_masks), len(NAMES))

    return Case(damage, read, restore)


def labelme(folder: Path) -> Case:
    shapes = [labelme_shape("cat", TRIANGLE), labelme_shape("dog", [[30, 20], [10, 5]], "rectangle"),
              labelme_shape("dog", [[20, 20], [20, 30]], "circle"), labelme_shape("owl", TRIANGLE, group_id=1),
              labelme_shape("owl", [[0, 0], [4, 0], [4, 4]], group_id=1),
              labelme_shape("owl", [[4, 2], [6, 4]], "mask", mask=png_text(np.ones((3, 3), np.uint8)))]  # fmt: skip
    root = write_labelme(folder / "labelme", {"a": shapes, "b": []})
    path = root / "a.json"
    good = json.loads(path.read_text())

    def damage(rng: random.Random) -> None:
        path.write_bytes(json_or_bytes(good, rng))

    def read() -> None:
        for with_masks in (False, True):
            check_records(LabelmeDataset(root, NAMES, with_masks=with_masks), len(NAMES))

    return Case(damage, read)


def fiftyone(folder: Path) -> Case:
    objects = [
        fiftyone_object(0, [0.1, 0.1, 0.5, 0.5], attributes={"iscrowd": 1}),
        fiftyone_object("owl", [0, 0, 1, 1]),
    ]
    root = write_fiftyone(folder / "fiftyone", {"a": objects, "b": []})
    path = root / "labels.json"
    good = json.loads(path.read_text())

    def damage(rng: random.Random) -> None:
        path.write_bytes(json_or_bytes(good, rng))

    def read() -> None:
        check_records(FiftyOneDataset(root, NAMES), len(NAMES))

    return Case(damage, read)


def lvis(folder: Path) -> Case:
    root = write_lvis(folder / "lvis")
    path = root / "annotations/lvis_v1_train.json"
    good = json.loads(path.read_text())

    def damage(rng: random.Random) -> None:
        path.write_bytes(json_or_bytes(good, rng))

    def read() -> None:
        for with_masks in (False, True):
            check_records(LvisDataset(root, NAMES, with_masks=with_masks), len(NAMES))

    return Case(damage, read)


def cvat(folder: Path) -> Case:
    shapes = """<box label="cat" xtl="10.5" ytl="5.00" xbr="30.00" ybr="25.50"/>
        <box label="cat" xtl="10.5" ytl="5.00" xbr="30.00" ybr="25.50" rotation="30.0"/>
        <polygon label="dog" points="10.50,5.00;30.00,6.00;20.00,25.50" group_id="1"/>
        <polygon label="dog" points="0,5;3,6;2,2" group_id="1"/>
        <mask label="owl" rle="0, 1, 2, 1, 2, 3" left="4" top="2" width="3" height="3"/>
        <ellipse label="cat" cx="20" cy="20" rx="10" ry="5" rotation="90"/>"""
    root = write_cvat(folder / "cvat", {"a.png": shapes, "b.png": ""})
    path = root / "annotations.xml"
    good = path.read_bytes()
    numbers = (b"9" * 400, b"999999999", b"1e999", b"nan", b"-5", b"0", b"1_0", b"\xd9\xa3", b"")

    def damage(rng: random.Random) -> None:
        text = good
        if rng.randrange(5) == 0:
            text = text.replace(rng.choice((b"60", b"40", b"10.5", b"30.0", b"3", b"4", b"2")), rng.choice(numbers), 1)
        path.write_bytes(damaged_bytes(text, rng))

    def read() -> None:
        for with_masks in (False, True):
            check_records(CvatDataset(root, NAMES, with_masks=with_masks), len(NAMES))

    return Case(damage, read)
