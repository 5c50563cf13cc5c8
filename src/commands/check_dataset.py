"""A report on a data set before it is trained on: the work of tools/check_dataset.py."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src.commands.print_part import print_part
from src.data.detection_dataset import DetectionDataset
from src.data.formats.api import split_name
from src.data.formats.table import format_of
from src.evaluation.anchor_fit import objects_in_network_pixels, suggest
from src.evaluation.data_facts import (
    LEAST_LEARNT,
    SIZES,
    TINY_SIDE,
    SplitFacts,
    duplicates,
    facts_of,
    suggested_num_gts,
    suggested_shapes,
    suggested_size,
)
from src.models.anchors import anchor_spec
from src.models.table import spec_of
from src.schema import Config
from src.visual.data_report import draw_example, draw_pair
from src.visual.web_page import Part, write_page

MOST_PICTURES = 12


def check_dataset(data: Config, output_dir: str | Path, experiment: Config | None = None) -> list[Part]:
    """Print a report, and write it as a web page with pictures.

    Args:
        data: where the data is, see `data_config`.
        output_dir: gets index.html and its pictures.
        experiment: whose anchors are compared with the objects; None: of no network.

    Returns:
        The parts of the report.

    Raises:
        UserError: data that cannot be read at all.
    """
    folder = Path(output_dir)
    datasets = {
        split_name(training): _opened(data, training)
        for training in (True, False)
        if training or _has_evaluation_data(data)
    }
    splits = [facts_of(dataset, name) for name, dataset in datasets.items()]
    parts = [_counts(splits), *map(_objects, splits), *_class_differences(splits)]
    parts += [part for split in splits for part in _troubles(split, folder)]
    parts += _duplicates(splits, folder)
    parts.append(_suggestions(splits, datasets["train"], experiment))
    parts += [_examples(split, folder) for split in splits]
    for part in parts:
        print_part(part)
    write_page(folder / "index.html", f"Data set {data.train_dataset}", parts)
    print(folder / "index.html")
    return parts


def _has_evaluation_data(data: Config) -> bool:
    return bool(data.val_dataset)


def _opened(data: Config, training: bool) -> DetectionDataset:
    """A split with the classes that its own annotations name, so that others than the training's can be told."""
    chosen = format_of(data)
    names = data.class_names if chosen.class_names is None else chosen.class_names(data, training)
    return chosen.open_split(data.model_copy(update={"coco_classes": ["background", *names]}), training, False)


def _counts(splits: Sequence[SplitFacts]) -> Part:
    head = ("", "images", "without objects", "objects", "most in an image", "median size")
    rows = []
    for split in splits:
        height, width = np.median(split.image_hw, axis=0).astype(int) if split.images else (0, 0)
        total = int(split.objects.sum())
        rows.append((split.name, split.images, split.without_objects, total, split.most_objects, f"{width} x {height}"))
    return Part("Images and objects", table=[head, *rows])


def _objects(split: SplitFacts) -> Part:
    rows = [
        (name, *counts.tolist(), int(counts.sum()), int(images))
        for name, counts, images in zip(split.class_names, split.objects, split.images_of_class, strict=True)
    ]
    return Part(f"Objects by class and size ({split.name})", table=[("class", *SIZES, "all", "images"), *rows])


def _class_differences(splits: Sequence[SplitFacts]) -> list[Part]:
    if len(splits) < 2:
        return []
    names = [set(split.class_names) for split in splits]
    lines = [f"only in {splits[0].name}: {name}" for name in sorted(names[0] - names[1])]
    lines += [f"only in {splits[1].name}, unknown to the training: {name}" for name in sorted(names[1] - names[0])]
    return [Part("Classes of one part alone", lines, is_bad=True)] if lines else []


def _troubles(split: SplitFacts, folder: Path) -> list[Part]:
    tiny = [f"{record.name}: {_sides(record.boxes[index])}" for record, index in split.tiny]
    pictures = []
    for number, (record, index) in enumerate(split.tiny[:MOST_PICTURES]):
        path = folder / "pictures" / f"{split.name}_tiny_{number:02d}.jpg"
        if draw_example(path, record, split.class_names, [index]):
            pictures.append(path)
    kinds = [
        Part(f"Images that cannot be read ({split.name})", split.broken, is_bad=True),
        Part(f"Boxes that reach out of their image ({split.name}); they are clipped", split.beyond, is_bad=True),
        Part(f"Objects with a side below {TINY_SIDE:g} pixels ({split.name})", tiny, pictures=pictures, is_bad=True),
        Part(f"What the reader says ({split.name})", split.problems, is_bad=True),
    ]
    return [part for part in kinds if part.lines]


def _sides(box: np.ndarray) -> str:
    x1, y1, x2, y2 = box.tolist()
    return f"{x2 - x1:.3g} x {y2 - y1:.3g} pixels at {x1:.0f}, {y1:.0f}"


def _duplicates(splits: Sequence[SplitFacts], folder: Path) -> list[Part]:
    groups = duplicates(splits)
    lines, pictures = [], []
    for number, (how, members) in enumerate(groups):
        lines.append(f"{how}: " + ", ".join(f"{image} ({split})" for split, image in members))
        path = folder / "pictures" / f"duplicate_{number:02d}.jpg"
        if number < MOST_PICTURES and draw_pair(path, [image for _, image in members]):
            pictures.append(path)
    return [Part("Images that are there more than once", lines, pictures=pictures, is_bad=True)] if lines else []


def _suggestions(splits: Sequence[SplitFacts], train: DetectionDataset, experiment: Config | None) -> Part:
    height, width = suggested_size(splits[0])
    sides, ratios = suggested_shapes(splits[0], (height, width))
    lines = [
        f"num_classes: {len(splits[0].class_names) + 1}",
        f"num_gts: {suggested_num_gts(splits)}",
        f"img_width: {width}, img_height: {height} (for {LEAST_LEARNT} pixels and more of nine in ten objects)",
    ]
    if ratios:
        lines.append(f"anchors, in pixels of that input: sides {sides}, height / width {ratios}")
    if len(splits[0].sides):
        quantiles = np.quantile(splits[0].sides[:, 0] / splits[0].sides[:, 1], (0, 0.1, 0.5, 0.9, 1))
        lines.append("width / height of the objects, least, 10 %, median, 90 %, most: " + _listed(quantiles))
    if experiment is not None and spec_of(experiment).anchors is not None and len(splits[0].sides):
        changes, _, _ = suggest(experiment, objects_in_network_pixels(train.records, experiment))
        section = anchor_spec(experiment).section
        words = " ".join(f'--{section}.{name} "{value}"' for name, value in changes.items())
        lines.append(f"anchors of {experiment.config_path}: {words or 'they fit as they are'}")
    return Part("Suggested keys", lines)


def _listed(values: np.ndarray) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


def _examples(split: SplitFacts, folder: Path) -> Part:
    pictures = []
    for label, records in sorted(split.examples.items())[:MOST_PICTURES]:
        path = folder / "pictures" / f"{split.name}_class_{label:03d}.jpg"
        if any(draw_example(path, record, split.class_names) for record in records):
            pictures.append(path)
    return Part(f"An image of each class ({split.name})", pictures=pictures)
