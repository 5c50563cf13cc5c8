"""The work of postprocess.py: the result files of the Ascend 310 program to COCO's table, image by image."""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from src.blocks.detections import Detections
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
from src.evaluation.masks import encode_detections
from src.evaluation.metrics import Metrics
from src.evaluation.predictions import save_results

logger = logging.getLogger(__name__)

Found = tuple[Detections, list[list[dict | None]] | None]


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
    if card.form == "raw" and (columns := card.outputs[1].shape[2]) != len(card.class_names):
        raise UserError(f"{mindir_path}: its card has {columns} columns of scores for {len(card.class_names)} classes")
    if not Path(result_path).is_dir():
        raise UserError(f"--result_path: no such folder: {result_path}")
    data = FORMATS[dataset].open_path(anno_path, card.class_names, card.category_ids, img_path)
    _check_images(data, anno_path)
    for problem in data.problems:
        logger.warning(problem)

    iou_types = ("bbox", "segm") if card.has_masks else ("bbox",)
    evaluator, missing = CocoEvaluator.for_dataset(data, iou_types), []
    images = map_ahead(reader(card, result_path), data.records, os.cpu_count() or 1, 16)
    for record, found in with_progress(images, len(data.records), "images"):
        if found is None:
            missing.append(record.name)
        else:
            evaluator.add(np.array([record.image_id]), *found)
    _report_missing(missing, len(data.records), result_path)
    metrics = evaluator.compute_metrics()
    print_tables(metrics)
    save_results(prediction_path, evaluator.results())
    logger.info(f"predictions are in {prediction_path}")
    path = Path(prediction_path)
    write_metrics(metrics, path.with_name(f"{path.stem}_metrics.json"), time.perf_counter() - start)
    logger.info(f"mAP: {metrics.stats['bbox_mAP']}")
    return metrics


def reader(card: ExportCard, result_path: str) -> Callable[[Record], Found | None]:
    """Function from a record to its detections, None without result files.

    Args:
        card: of the network.
        result_path: folder of the result files.

    Returns:
        Record -> a batch of one image, and the run-length codes of its masks, if the network has them.
    """
    transform = card.preprocessing.transform()
    select = None if card.selection is None else build_selection(card.selection)

    def detections_of(record: Record) -> Found | None:
        outputs = read_results(result_path, record.name, card.outputs)
        if outputs is None:
            return None
        batch = [output[None] for output in outputs]
        info = transform.info_of((record.height, record.width))[None]
        if select is not None:
            _refuse_nan(batch[:2], record, result_path)
            return Detections(*select(*batch, info)), None
        found = Detections(*batch)
        kept = found.valid
        _refuse_nan([value[kept] for value in (*found[:2], *batch[4:])], record, result_path)
        if kept.any() and not 0 <= found.labels[kept].min() <= found.labels[kept].max() < len(card.class_names):
            raise UserError(f"{result_path}: the results of {record.name} hold other labels than those of its classes")
        return found, None if card.mask_threshold is None else encode_detections(found, info, card.mask_threshold)

    return detections_of


def _refuse_nan(values: list[np.ndarray], record: Record, result_path: str) -> None:
    if any(np.isnan(np.max(value, initial=0)) for value in values):
        raise UserError(f"{result_path}: the results of {record.name} hold values that are no numbers")


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
