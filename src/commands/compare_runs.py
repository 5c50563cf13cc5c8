"""Two runs on the same images: the work of tools/compare_runs.py."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src.commands.evaluation_report import written
from src.commands.print_part import print_part
from src.data.detection_dataset import DetectionDataset
from src.evaluation.coco_evaluator import CocoEvaluator
from src.evaluation.coco_matching import Objects
from src.evaluation.comparison import Run, difference_by_image, run_of
from src.evaluation.predictions import load_results
from src.visual.error_pictures import OTHER, Panel, draw_panels
from src.visual.web_page import Part, write_page

MOST_PICTURES = 12


def compare_runs(predictions: Sequence[str | Path], dataset: DetectionDataset, output_dir: str | Path) -> list[Part]:
    """Print a comparison, and write it as a web page with the images that differ most.

    Args:
        predictions: two files of eval.py or infer.py.
        dataset: the images of both.
        output_dir: gets index.html and its pictures.

    Returns:
        The parts of the page.
    """
    evaluator = CocoEvaluator.for_dataset(dataset)
    runs = []
    for path, name in zip(predictions, _names([Path(path) for path in predictions]), strict=True):
        evaluator.reset()
        evaluator.add_results(load_results(path, dataset), path)
        runs.append(run_of(name, evaluator))
    first, second = runs
    truth, folder = evaluator.truth(evaluator.all_image_ids), Path(output_dir)
    parts = [
        Part("Average precision of boxes", table=_statistics(first, second)),
        Part("Average precision by class", table=_class_ap(first, second)),
        Part(
            "Objects found at IoU 0.5",
            [f"{run.name}: detections from {run.threshold:.2f}, where its mean F1 is greatest" for run in runs],
            _class_objects(first, second, truth, evaluator.class_names),
        ),
    ]
    for part in parts:
        print_part(part)
    parts.append(_pictures(folder, first, second, truth, dataset, evaluator))
    write_page(folder / "index.html", f"{first.name} and {second.name}", parts)
    print(f"\n{folder / 'index.html'}", flush=True)
    return parts


def _names(paths: Sequence[Path]) -> list[str]:
    """Names of files without their suffix; whole paths where those are the same."""
    stems = [path.stem for path in paths]
    return stems if len(set(stems)) == len(stems) else [str(path) for path in paths]


def _difference(first: float, second: float) -> str:
    return "-" if first < 0 or second < 0 else f"{second - first:+.3f}"


def _statistics(first: Run, second: Run) -> list[Sequence[object]]:
    pairs = [(name, first.metrics.stats[name], second.metrics.stats[name]) for name in first.metrics.stats]
    rows = [(name.removeprefix("bbox_"), written(a), written(b), _difference(a, b)) for name, a, b in pairs]
    return [("", first.name, second.name, "difference"), *rows]


def _class_ap(first: Run, second: Run) -> list[Sequence[object]]:
    head = (
        "class",
        *(f"{what}, {name}" for what in ("AP", "AP50") for name in (first.name, second.name, "difference")),
    )
    columns = [(run.metrics.per_class, run.metrics.per_class_50) for run in (first, second)]
    rows = []
    for name in first.metrics.per_class:
        pairs = [(a[name], b[name]) for a, b in zip(*columns, strict=True)]
        rows.append((name, *(cell for a, b in pairs for cell in (written(a), written(b), _difference(a, b)))))
    return [head, *rows]


def _class_objects(first: Run, second: Run, truth: Objects, names: Sequence[str]) -> list[Sequence[object]]:
    """For each class its objects by who finds them, and the wrong detections of both."""
    counted = ~truth.uncounted
    groups = {
        "objects": counted,
        "found by both": first.detects & second.detects,
        f"by {first.name} only": first.detects & ~second.detects,
        f"by {second.name} only": second.detects & ~first.detects,
        "by none": counted & ~first.detects & ~second.detects,
    }
    columns = [np.bincount(truth.label[group], minlength=len(names)) for group in groups.values()]
    columns += [np.bincount(run.found.label[run.wrong], minlength=len(names)) for run in (first, second)]
    head = ("class", *groups, *(f"wrong detections, {run.name}" for run in (first, second)))
    rows = [(name, *(int(column[k]) for column in columns)) for k, name in enumerate(names)]
    return [head, *rows, ("all", *(int(column.sum()) for column in columns))]


def _pictures(
    folder: Path, first: Run, second: Run, truth: Objects, dataset: DetectionDataset, evaluator: CocoEvaluator
) -> Part:
    """The images that differ most, each three times: its objects, then what each run found."""
    images = evaluator.all_image_ids.tolist()
    records = {record.image_id: record for record in dataset.records}
    differences = difference_by_image(first, second, truth, len(images))
    pictures: list[Path] = []
    for image in np.argsort(-differences, kind="stable").tolist():
        record = records.get(images[image])
        if not differences[image] or len(pictures) == MOST_PICTURES:
            break
        if record is None:
            continue
        objects, one_only = np.flatnonzero(truth.image == image), first.detects != second.detects
        title = f"{one_only[objects].sum()} of {len(objects)} objects found by one only: {Path(record.name).name}"
        panels = [Panel(title, truth, objects, one_only, OTHER, False)]
        for run in (first, second):
            rows = np.flatnonzero(run.found.image == image)
            title = f"{len(rows)} found, {run.wrong[rows].sum()} wrong: {run.name}"
            panels.append(Panel(title, run.found, rows, run.wrong))
        path = folder / "pictures" / f"image_{len(pictures) + 1:02d}.jpg"
        if draw_panels(path, record, panels, evaluator.class_names):
            pictures.append(path)
    lines = [
        f"{np.count_nonzero(differences)} of {len(images)} images differ; in red objects that one run alone finds, and "
        "wrong detections"
    ]
    return Part("Images that differ most", lines, pictures=pictures)
