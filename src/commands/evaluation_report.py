"""One web page on an evaluation: tables, curves, and pictures of the images with the worst errors of each kind."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src.commands.analyse import analyse
from src.data.detection_dataset import DetectionDataset
from src.data.record import Record
from src.evaluation.coco_evaluator import CocoEvaluator
from src.evaluation.coco_matching import AREA_RANGES, Objects, match_objects
from src.evaluation.coco_precision import precision_and_recall
from src.evaluation.error_types import ERRORS, MISSED, classify_detections
from src.evaluation.metrics import Metrics
from src.evaluation.score_curves import THRESHOLDS, ScoreCurves, score_curves
from src.visual.error_pictures import GOOD, OTHER, Panel, draw_panels
from src.visual.score_charts import draw_precision_recall, draw_score_curves
from src.visual.web_page import Part, write_page

MOST_PICTURES = 6  # of a kind of error
DESCRIPTIONS = {
    "localisation": "Badly placed: the right class, IoU from 0.1 to 0.5",
    "class": "Wrong class: IoU from 0.5 with an object of another class",
    "both": "Badly placed and of the wrong class",
    "duplicate": "Duplicates of a better detection",
    "background": "False on background: IoU up to 0.1 with any object",
    "missed": "Missed objects: nothing found them, not even in a wrong place or with a wrong class",
}


def write_report(evaluator: CocoEvaluator, dataset: DetectionDataset, metrics: Metrics, output_dir: str | Path) -> Path:
    """Write index.html, its pictures and analysis.json.

    Args:
        evaluator: ground truth and detections of the whole data set.
        dataset: where its images are.
        metrics: of `evaluator`.
        output_dir: made if needed.

    Returns:
        The page.
    """
    folder, names, images = Path(output_dir), evaluator.class_names, evaluator.all_image_ids
    truth, found = evaluator.truth(images), evaluator.found(images)
    matches = match_objects(truth, found, len(images), len(names))
    curves = score_curves(matches)
    threshold = curves.best_for_all()
    confusion, class_ap, errors, _ = analyse(evaluator, folder, threshold, metrics)
    precision = precision_and_recall(matches)[0][0, :, :, list(AREA_RANGES).index("all")]
    draw_precision_recall(folder / "precision_recall.png", precision, names)
    parts = [
        Part("Average precision", table=_statistics(metrics)),
        Part("Classes", table=_classes(metrics, curves, names), pictures=[class_ap]),
        Part("Precision and recall", pictures=[folder / "precision_recall.png"]),
        Part(
            "Least score of a detection",
            [
                f"{threshold:.2f} is best for all classes together (greatest mean F1, {curves.mean_f1.max():.3f}); the "
                "confusion matrix and the pictures show detections from there"
            ],
            pictures=draw_score_curves(folder, curves, names),
        ),
        Part("Confusion matrix", pictures=[confusion]),
        Part("Kinds of errors, of all detections", pictures=[errors]),
    ]
    kept = found.take(np.flatnonzero(found.score >= threshold))
    records = {record.image_id: record for record in dataset.records}
    parts += _worst_images(folder, truth, kept, [records.get(int(image)) for image in images], names)
    write_page(folder / "index.html", f"Evaluation on {dataset.annotation_file}", parts)
    print(f"the report is {folder / 'index.html'}", flush=True)
    return folder / "index.html"


def written(value: float) -> str:
    """A number as tables have it, three digits, or a dash where nothing could be measured (-1)."""
    return "-" if value < 0 else f"{value:.3f}"


def _statistics(metrics: Metrics) -> list[Sequence[object]]:
    """The numbers by name, a column for boxes and one for masks where there are any."""
    kinds = list(metrics.tables)
    rows = {name.partition("_")[2]: None for name in metrics.stats if name.startswith(f"{kinds[0]}_")}
    head = ("", *({"bbox": "boxes", "segm": "masks"}[kind] for kind in kinds))
    table: list[Sequence[object]] = [head]
    table += [(name, *(written(metrics.stats[f"{kind}_{name}"]) for kind in kinds)) for name in rows]
    others = [name for name in metrics.stats if name.partition("_")[0] not in kinds]
    return table + [(name, written(metrics.stats[name])) for name in others]


def _classes(metrics: Metrics, curves: ScoreCurves, names: Sequence[str]) -> list[Sequence[object]]:
    columns = [metrics.per_class, metrics.per_class_50]
    head = ["class", "objects", "AP", "AP50"]
    if len(metrics.tables) > 1:
        columns += [metrics.per_class_segm, metrics.per_class_segm_50]
        head += ["mask AP", "mask AP50"]
    table: list[Sequence[object]] = [(*head, "best least score", "precision there", "recall there", "F1 there")]
    for k, (name, best) in enumerate(zip(names, curves.best_places().tolist(), strict=True)):
        values = [written(column[name]) for column in columns]
        at_best = [curves.precision[k, best], curves.recall[k, best], curves.f1[k, best]]
        scores = [f"{THRESHOLDS[best]:.2f}", *(f"{value:.3f}" for value in at_best)] if best >= 0 else ["-"] * 4
        table.append((name, int(curves.objects[k]), *values, *scores))
    return table


def _worst_images(
    folder: Path, truth: Objects, found: Objects, records: Sequence[Record | None], names: Sequence[str]
) -> list[Part]:
    """A part for each kind of error that occurs, with the images where it weighs most.

    An image weighs as much as the scores of its wrong detections together, or as the number of its missed objects.
    """
    classified = classify_detections(truth, found, len(records), len(names))
    parts = []
    for kind in (MISSED, *range(MISSED)):
        bad_found, bad_truth = np.zeros(len(found.image), bool), np.zeros(len(truth.image), bool)
        if kind == MISSED:
            bad_truth[classified.missed_row] = True
            weights = np.bincount(truth.image[bad_truth], minlength=len(records)).astype(float)
        else:
            bad_found[classified.row[classified.kind == kind]] = True
            weights = np.bincount(found.image[bad_found], found.score[bad_found], minlength=len(records))
        total = int(bad_found.sum() + bad_truth.sum())
        pictures: list[Path] = []
        for image in np.argsort(-weights, kind="stable").tolist():
            record = records[image]
            if weights[image] <= 0 or len(pictures) == MOST_PICTURES:
                break
            if record is None:
                continue
            objects, detections = (np.flatnonzero(one.image == image) for one in (truth, found))
            count = int(bad_found[detections].sum() + bad_truth[objects].sum())
            panels = (
                Panel(f"{len(objects)} objects: {Path(record.name).name}", truth, objects, bad_truth, GOOD, False),
                Panel(f"{len(detections)} found; {ERRORS[kind]}: {count}", found, detections, bad_found, OTHER),
            )
            path = folder / "pictures" / f"{ERRORS[kind]}_{len(pictures) + 1:02d}.jpg"
            if draw_panels(path, record, panels, names):
                pictures.append(path)
        if total:
            lines = [f"{total} in {np.count_nonzero(weights)} images; the worst first"]
            parts.append(Part(DESCRIPTIONS[ERRORS[kind]], lines, pictures=pictures, is_bad=True))
    return parts
