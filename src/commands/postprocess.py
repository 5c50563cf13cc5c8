"""The work of postprocess.py: the result files of the Ascend 310 program to COCO's table, image by image."""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from src.commands.evaluate import print_tables, write_metrics
from src.common.errors import UserError
from src.common.parallel import map_ahead
from src.common.progress import with_progress
from src.data.detection_dataset import DetectionDataset
from src.data.formats.table import FORMATS
from src.data.record import Record
from src.deploy.export_card import ExportCard, load_card_of_converted
from src.deploy.raw_selection import build_selection
from src.deploy.result_files import read_results
from src.evaluation.coco_evaluator import CocoEvaluator
from src.evaluation.metrics import Metrics
from src.evaluation.predictions import save_results

logger = logging.getLogger(__name__)

Found = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def postprocess(
    mindir_path: str,
    result_path: str,
    anno_path: str,
    img_path: str = "",
    dataset: str = "coco",
    prediction_path: str = "predictions.json",
) -> Metrics:
    """Evaluate the results of a folder, print the table, write metrics and detections.

    Args:
        mindir_path: the network, for its card, or what MindSpore Lite converted it to.
        result_path: folder of the result files.
        anno_path: annotation file or data set folder.
        img_path: folder of the images; empty: as the annotations say.
        dataset: what annotates it: a name in `FORMATS`.
        prediction_path: JSON file for the detections in COCO's results format; *_metrics.json beside it has metrics.

    Raises:
        UserError: files that are missing or do not fit each other.
    """
    start = time.perf_counter()
    card = load_card_of_converted(mindir_path)
    if card.selection is None:
        raise UserError(f"{mindir_path}: gives detections; result files are made with the raw form of a network")
    if (columns := card.outputs[1].shape[2]) != len(card.class_names):
        raise UserError(f"{mindir_path}: its card has {columns} columns of scores for {len(card.class_names)} classes")
    select = build_selection(card.selection)
    if not Path(result_path).is_dir():
        raise UserError(f"--result_path: no such folder: {result_path}")
    data = FORMATS[dataset].open_path(anno_path, card.class_names, card.category_ids, img_path)
    _check_images(data, anno_path)
    for problem in data.problems:
        logger.warning(problem)

    evaluator, missing = CocoEvaluator.for_dataset(data), []
    images = map_ahead(reader(card, select, result_path), data.records, os.cpu_count() or 1, 16)
    for record, found in with_progress(images, len(data.records), "images"):
        if found is None:
            missing.append(record.name)
        else:
            evaluator.add(np.array([record.image_id]), found)
    _report_missing(missing, len(data.records), result_path)
    metrics = evaluator.compute_metrics()
    print_tables(metrics)
    save_results(prediction_path, evaluator.results())
    logger.info(f"predictions are in {prediction_path}")
    path = Path(prediction_path)
    write_metrics(metrics, path.with_name(f"{path.stem}_metrics.json"), time.perf_counter() - start)
    logger.info(f"mAP: {metrics.stats['bbox_mAP']}")
    return metrics


def reader(card: ExportCard, select: Callable, result_path: str) -> Callable[[Record], Found | None]:
    """Function from a record to its detections, None without result files.

    Args:
        card: of the network.
        select: from raw outputs to detections, see `build_selection`.
        result_path: folder of the result files.

    Returns:
        Record -> boxes [1, M, 4], scores [1, M], labels [1, M], valid [1, M].
    """
    _, anchors, _ = card.outputs[0].shape
    transform, classes = card.preprocessing.transform(), len(card.class_names)

    def detections_of(record: Record) -> Found | None:
        results = read_results(result_path, record.name, anchors, classes)
        if results is None:
            return None
        boxes, scores = results
        if np.isnan(boxes).any() or np.isnan(scores.max()):
            raise UserError(f"{result_path}: the results of {record.name} hold values that are no numbers")
        info = transform.info_of((record.height, record.width))
        return select(boxes[None], scores[None], info[None])

    return detections_of


def _check_images(data: DetectionDataset, anno_path: str) -> None:
    if not data.records:
        raise UserError(
            f"{anno_path}: none of its images is there; the first is looked for as {data.missing_images[0]}"
        )
    first: dict[str, str] = {}
    for record in data.records:
        other = first.setdefault(Path(record.name).stem, record.name)
        if other != record.name:
            raise UserError(f"{record.name} and {other} would have the same result files; give one another name")


def _report_missing(missing: list[str], total: int, result_path: str) -> None:
    if len(missing) == total:
        raise UserError(f"{result_path}: no result files of any of the {total} images, such as {missing[0]}")
    if missing:
        logger.warning(
            f"{result_path}: {len(missing)} of {total} images have no result files (the first: {missing[0]}); "
            "they count as images without detections"
        )
