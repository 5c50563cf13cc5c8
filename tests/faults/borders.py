"""The borders of the project, each with a small good file, damage to it, and what must hold of what is read."""

import binascii
import json
import math
import random
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from src.config import load_config
from src.config.load import config_from_values
from src.data.formats.coco import CocoDataset
from src.data.formats.cvat import CvatDataset
from src.data.formats.fiftyone import FiftyOneDataset
from src.data.formats.labelme import LabelmeDataset
from src.data.formats.lvis import LvisDataset
from src.data.formats.txt import TxtDataset
from src.data.formats.voc import VocDataset
from src.data.formats.yolo import YoloDataset
from src.data.image import ImageError, ImageRules, load_image
from src.data.mindrecord.create import create_mindrecord
from src.data.mindrecord.dataset import MindRecordDataset
from src.data.sample import read_sample
from src.evaluation.coco_evaluator import CocoEvaluator
from src.evaluation.predictions import load_predictions, load_results
from tests.conftest import ROOT
from tests.data.coco_files import NAMES, noise_image, write_dataset
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
from tests.data.test_loader import make_config
from tests.faults.campaign import Border, Case, SilentError
from tests.faults.mutations import damaged_bytes, damaged_value, json_or_bytes

EXPERIMENTS = ("spinenet_retinanet/default_config", "nas_fpn/default_config", "instaboost/default_config",
               "refinedet/refinedet_vgg16_320")  # fmt: skip
RLE = {"size": [40, 60], "counts": [100, 10, 2290]}


def check(holds: object, what: str) -> None:
    if not holds:
        raise SilentError(what)


def check_finite(value: Any, where: str = "") -> None:
    """No number anywhere in nested values is NaN or infinite."""
    if isinstance(value, dict):
        for name, one in value.items():
            check_finite(one, f"{where}.{name}")
    elif isinstance(value, list):
        for one in value:
            check_finite(one, where)
    elif isinstance(value, float):
        check(math.isfinite(value), f"{where} is {value}")


def check_records(dataset: Any, classes: int) -> None:
    """Boxes lie in their images, labels among the classes; the ground truth can be evaluated."""
    for record in dataset.records:
        check(record.height > 0 and record.width > 0, "an image without pixels")
        x1, y1, x2, y2 = record.boxes.T
        inside = (x1 >= 0) & (y1 >= 0) & (x2 <= record.width) & (y2 <= record.height) & (x1 < x2) & (y1 < y2)
        check(inside.all(), f"boxes {record.boxes.tolist()} in {record.width}x{record.height}")
        check(((record.labels >= 0) & (record.labels < classes)).all(), "a label beyond the classes")
    with_masks = any(record.masks for record in dataset.records)
    evaluator = CocoEvaluator.for_dataset(dataset, ("bbox", "segm") if with_masks else ("bbox",))
    check_finite(evaluator.compute_metrics().stats)
    for record in dataset.records[:3]:
        with suppress(ImageError):
            read_sample(record)


def configuration(folder: Path) -> Case:
    values = [yaml.safe_load((ROOT / f"configs/{name}.yaml").read_text()) for name in EXPERIMENTS]
    full = [load_config(ROOT / f"configs/{name}.yaml").model_dump() for name in EXPERIMENTS]
    for one in values:
        one.pop("base")
    path = folder / "experiment.yaml"

    def damage(rng: random.Random) -> None:
        number = rng.randrange(len(values))
        base = f"base: {ROOT / f'configs/{EXPERIMENTS[number]}.yaml'}\n"
        if rng.random() < 0.3:
            path.write_bytes(base.encode() + damaged_bytes(yaml.safe_dump(values[number]).encode(), rng))
            return
        changed = damaged_value(full[number], rng)
        text = json.dumps(changed).replace("Infinity", ".inf").replace("NaN", ".nan")
        path.write_text(text if isinstance(changed, dict) else base + text)

    def read() -> None:
        config = load_config(path)
        check_finite(config.model_dump())
        check(len(config.class_names) == config.num_classes - 1, "other classes than their number")
        check(max(config.input_hw) < 2**16, f"an input of {config.input_hw}")
        config_from_values(config.model_dump(), "a checkpoint")

    return Case(damage, read)


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


def mindrecord(folder: Path) -> Case:
    packed = folder / "packed"
    create_mindrecord(make_config(write_dataset(folder / "source", 5), mindrecord_dir=str(packed)), shards=2)
    good = {path: path.read_bytes() for path in sorted(packed.iterdir())}
    manifest = packed / "train.mindrecord.json"
    content = json.loads(good[manifest])
    expected = contents(packed)

    def damage(rng: random.Random) -> None:
        path = rng.choice([*good, manifest])
        if path == manifest and rng.random() < 0.7:
            path.write_text(json.dumps(damaged_value(content, rng)), encoding="utf-8", errors="replace")
        else:
            path.write_bytes(damaged_bytes(good[path], rng))

    def restore() -> None:
        for path, text in good.items():
            path.write_bytes(text)

    def read() -> None:
        with suppress(ImageError):  # one line, with the path; see the images
            check(contents(packed) == expected, "another data set")

    return Case(damage, read, restore)


def contents(packed: Path) -> list:
    """All that is read from MindRecord files."""
    dataset = MindRecordDataset(packed, "train.mindrecord", NAMES, with_masks=True)
    return [
        (record.name, record.boxes.tolist(), record.labels.tolist(), record.masks, record.image.read().tobytes())
        for record in dataset.records
    ] + [dataset.coco_annotations()]


def checkpoints(folder: Path) -> Case:
    """Bytes, with and without a checksum that fits, and the JSON beside the weights."""
    import mindspore as ms

    from src.weights.checkpoint import META_NAME, TrainingState, _read, _state, checkpoint_config

    path = folder / "last.ckpt"
    meta = {**vars(TrainingState(step=30, epoch=2, step_in_epoch=10, loss_sum=1.5, best_metric=0.25)),
            "config": {"lr": 0.1, "coco_classes": ["background", "a"]}}  # fmt: skip
    arrays = {"head.weight": np.arange(12, dtype=np.float32).reshape(3, 4), "head.bias": np.ones(4, np.float32)}
    parameters = [{"name": name, "data": ms.Tensor(array)} for name, array in arrays.items()]

    def write(text: str) -> bytes:
        ms.save_checkpoint(parameters, str(path), append_dict={META_NAME: text}, crc_check=True)
        return path.read_bytes()

    good = write(json.dumps(meta))
    body = good[: good.rindex(b"crc_num")]
    sealed = [True]

    def damage(rng: random.Random) -> None:
        kind = rng.randrange(3)
        sealed[0] = kind > 0
        if kind == 0:
            path.write_bytes(damaged_bytes(good, rng))
        elif kind == 1:
            changed = damaged_bytes(body, rng)
            path.write_bytes(changed + b"crc_num" + binascii.crc32(changed).to_bytes(10, "big"))
        else:
            text = json.dumps(damaged_value(meta, rng))
            write(text.replace("\\ud800", "x").replace("\\u0000", "x"))

    def read() -> None:
        found, noted = _read(path)
        if not sealed[0] and noted:  # a file cut off before both is like MindSpore's own, which have no checksum
            intact = noted == meta and all(np.array_equal(found[name], array) for name, array in arrays.items())
            check(intact, "a checkpoint whose checksum does not fit was read")
        checkpoint_config(path)
        if "step" in noted:
            state = _state(path, noted)
            check(state.step >= 0 and state.loss_scale > 0, f"{state}")
            check_finite({name: value for name, value in vars(state).items() if name != "config"})

    return Case(damage, read)


def cards(folder: Path) -> Case:
    from src.deploy.export_card import card_path, load_card
    from src.deploy.raw_selection import build_selection
    from tests.deploy.cards import write_card

    network = folder / "a.mindir"
    write_card(network, NAMES, [6, 3])
    path = card_path(network)
    good = json.loads(path.read_text())
    image, info = np.zeros((40, 60, 3), np.uint8), np.float32([[40, 60, 40, 60, 1, 1]])

    def damage(rng: random.Random) -> None:
        path.write_bytes(json_or_bytes(good, rng))

    def read() -> None:
        card = load_card(network)
        prepared, _ = card.preprocessing.transform()(image)
        check(prepared.shape == tuple(card.inputs[0].shape[1:]), f"an input of {prepared.shape}")
        check(np.isfinite(prepared).all(), "an input with values that are no numbers")
        check(card.batch_size is None or card.batch_size > 0, "no images per call")
        if card.selection is not None:
            _, anchors, columns = card.outputs[1].shape
            if anchors * columns < 10**6:
                build_selection(card.selection)(
                    np.zeros((1, anchors, 4), np.float32), np.zeros((1, anchors, columns), np.float32), info
                )

    return Case(damage, read)


def predictions(folder: Path) -> Case:
    """The JSON of infer.py, drawn and evaluated."""
    from src.commands.draw import _predicted

    dataset = CocoDataset(write_dataset(folder / "seen", 3), NAMES)
    path = folder / "p.json"
    code = {"size": [40, 60], "counts": "T3:l2"}
    one = {"bbox": {"x_min": 1.0, "y_min": 2.0, "width": 10.0, "height": 5.5},
           "class": {"label": 1, "category_id": 90, "name": "dog"}, "score": 0.75}  # fmt: skip
    good = {record.name: {"height": 40, "width": 60, "predictions": [one, {**one, "score": 0.5}]}
            for record in dataset.records}  # fmt: skip
    masks = json.loads(json.dumps(good))
    for entry in masks.values():
        for found in entry["predictions"]:
            found["mask"] = code

    def damage(rng: random.Random) -> None:
        path.write_bytes(json_or_bytes(rng.choice((good, masks)), rng))

    def read() -> None:
        for name, entry in load_predictions(path).items():
            drawn = _predicted(entry, 0.3, f"{path}: {name}")
            check(np.isfinite(drawn.boxes).all(), "a box that is no numbers")
        evaluator = CocoEvaluator.for_dataset(dataset)
        evaluator.add_results(load_results(path, dataset), path)
        check_finite(evaluator.compute_metrics().stats)

    return Case(damage, read)


def coco_results(folder: Path) -> Case:
    dataset = CocoDataset(write_dataset(folder / "evaluated", 3), NAMES, with_masks=True)
    path = folder / "r.json"
    box = {"image_id": 13, "category_id": 7, "bbox": [5, 7, 20, 12], "score": 0.9}
    good = [box, {**box, "image_id": 16}, {**box, "score": 0.25}]
    with_masks = [{**one, "segmentation": RLE} for one in good]

    def damage(rng: random.Random) -> None:
        path.write_bytes(json_or_bytes(rng.choice((good, with_masks)), rng))

    def read() -> None:
        for iou_types in (("bbox",), ("bbox", "segm")):
            evaluator = CocoEvaluator.for_dataset(dataset, iou_types)
            results = load_results(path, dataset)
            evaluator.add_results(results, path)
            check_finite(evaluator.compute_metrics().stats)
            check(len(evaluator.results()) == len(results), "other results than were given")

    return Case(damage, read)


def check_image(path: Path, rules: ImageRules) -> None:
    """The path is named, or the image is one that the rules allow."""
    try:
        found = load_image(path, rules=rules)
    except ImageError as error:
        check("\n" not in str(error) and str(path) in str(error), f"a message without the path: {error}")
    else:
        check(found.dtype == np.uint8 and found.ndim == 3 and found.shape[2] == 3, f"{found.shape}")
        check(found.shape[0] * found.shape[1] <= rules.max_pixels, f"{found.shape}")


def images(folder: Path) -> Case:
    path = folder / "image"
    picture = noise_image(40, 60)
    good = [cv2.imencode(suffix, picture)[1].tobytes() for suffix in (".png", ".jpg", ".jpg", ".bmp", ".webp", ".tiff")]

    def damage(rng: random.Random) -> None:
        path.write_bytes(damaged_bytes(rng.choice(good), rng))

    def read() -> None:
        for rules in (ImageRules(max_pixels=10_000_000), ImageRules(max_pixels=10_000, strict=True)):
            check_image(path, rules)

    return Case(damage, read)


def _without_warnings(prepare: Callable[[Path], Case]) -> Callable[[Path], Case]:
    def prepared(folder: Path) -> Case:
        warnings.simplefilter("ignore")
        folder.mkdir(parents=True, exist_ok=True)
        return prepare(folder)

    return prepared


BORDERS = [
    Border(prepare.__name__, _without_warnings(prepare))
    for prepare in (
        configuration, coco, evaluated_annotations, voc, voc_list, txt, yolo, labelme, lvis, cvat, fiftyone, mindrecord,
        checkpoints, cards, predictions, coco_results, images,
    )
]  # fmt: skip
