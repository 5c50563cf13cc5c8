"""Images, packed data, checkpoints, cards and predictions: good files, damage, and what must hold."""

import binascii
import json
import random
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from src.data.formats.coco import CocoDataset
from src.data.image import ImageError, ImageRules, load_image
from src.data.mindrecord.create import create_mindrecord
from src.data.mindrecord.dataset import MindRecordDataset
from src.evaluation.coco_evaluator import CocoEvaluator
from src.evaluation.predictions import load_predictions, load_results
from tests.data.coco_files import NAMES, noise_image, write_dataset
from tests.data.test_loader import make_config
from tests.faults.campaign import Case
from tests.faults.checks import check, check_finite
from tests.faults.mutations import damaged_bytes, damaged_value, json_or_bytes

RLE = {"size": [40, 60], "counts": [100, 10, 2290]}


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
