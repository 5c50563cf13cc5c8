"""The work of eval.py: predictions of a checkpoint, or saved ones, to COCO's table and a JSON of metrics."""

import logging
import time
from pathlib import Path

import numpy as np

from src.commands.evaluation_report import write_report
from src.common.atomic import check_writable
from src.common.errors import UserError
from src.common.progress import with_progress
from src.common.zoo_name import output_path
from src.data.builders import build_eval_loader
from src.data.detection_dataset import DetectionDataset
from src.data.image import ImageError, load_image
from src.data.open_dataset import check_or_pack_dataset
from src.data.record import Record
from src.engine.evaluation_loop import EvaluationOptions, evaluate_detector, joint_metrics
from src.engine.log_format import LOG_FORMATS, LogFormat
from src.evaluation.coco_evaluator import CocoEvaluator
from src.evaluation.metrics import Metrics
from src.evaluation.predictions import coco_result, load_results, save_results
from src.model_utils.device_adapter import Device
from src.model_utils.moxing_adapter import result_path
from src.predictor.detect_images import detect_views
from src.predictor.pipeline import Pipeline
from src.predictor.trained_detector import in_frame_of_file, trained_detector
from src.schema import Config, require

logger = logging.getLogger(__name__)


def evaluate(config: Config) -> Metrics | None:
    """Evaluate as the configuration says, print the table, write the metrics; returns them on the main rank.

    Raises:
        UserError: bad data or checkpoints, or files that cannot be written; metrics that cannot were printed before.
    """
    check_or_pack_dataset(config, training=False)
    start = time.perf_counter()
    report = Path(config.report) if config.report else None
    if report is not None:
        check_writable(report / "index.html")
    saved = Path(config.prediction_path) if config.prediction_path else None
    if saved is not None and saved.is_file():
        logger.info(f"evaluating the predictions of {saved}; the network does not run")
        dataset, evaluator = evaluator_with_results(config, saved)
        metrics: Metrics | None = evaluator.compute_metrics()
        path, saved = _metrics_path(config, saved), None
    else:
        require(config, "checkpoint_path")
        path = _metrics_path(config, output_path(config.checkpoint_path))
        _check_outputs(path, saved)
        metrics, dataset, evaluator = evaluate_checkpoint(config)
    if metrics is not None:
        print_tables(metrics, LOG_FORMATS[config.log_format])
        if saved is not None:
            save_results(saved, evaluator.results())
            logger.info(f"predictions are in {saved}")
        if report is not None:
            write_report(evaluator, dataset, metrics, report)
        write_metrics(metrics, path, time.perf_counter() - start)
    return metrics


def _metrics_path(config: Config, subject: Path) -> Path:
    """Where the metrics of a checkpoint or of saved predictions go."""
    beside = result_path(config, subject)
    return beside.with_name(f"{beside.stem}_metrics.json")


def _check_outputs(metrics: Path, predictions: Path | None) -> None:
    """Refuse a prediction file that could not be written; metrics are printed too, so that a warning does for them."""
    if predictions is not None:
        check_writable(predictions)
    try:
        check_writable(metrics)
    except UserError as error:
        logger.warning(f"{error}; the tables will be printed")


def evaluator_with_results(config: Config, path: Path) -> tuple[DetectionDataset, CocoEvaluator]:
    """`val_dataset`, and its evaluator with the detections of a file that eval.py or infer.py wrote."""
    dataset = build_eval_loader(config, 0, 1).dataset
    evaluator = CocoEvaluator.for_dataset(dataset, config.iou_types)
    evaluator.add_results(load_results(path, dataset), path)
    return dataset, evaluator


def evaluate_checkpoint(config: Config) -> tuple[Metrics | None, DetectionDataset, CocoEvaluator]:
    """The metrics of `checkpoint_path` on the main rank, None on others, the data and who has the detections."""
    config = in_frame_of_file(config)
    net, device = trained_detector(config)
    pipeline = Pipeline.of_net(net, config)
    if pipeline.views.several:
        return _evaluate_views(pipeline, config, device)
    loader = build_eval_loader(config, device.rank, device.world)
    _announce(loader.dataset, device)
    try:
        evaluator = CocoEvaluator.for_dataset(loader.dataset, config.iou_types)
        options = EvaluationOptions(config.mask_threshold, config.progress_bar)
        metrics = evaluate_detector(net, loader, evaluator, device, options)
    finally:
        loader.close()
    if device.is_main:
        for problem in loader.broken:
            logger.warning(problem)
    return metrics, loader.dataset, evaluator


def _evaluate_views(
    pipeline: Pipeline, config: Config, device: Device
) -> tuple[Metrics | None, DetectionDataset, CocoEvaluator]:
    """As infer.py sees images: in tiles, mirrored, at several scales."""
    dataset = build_eval_loader(config).dataset
    _announce(dataset, device)
    evaluator = CocoEvaluator.for_dataset(dataset, config.iou_types)
    places = range(device.rank, len(dataset.records), device.world)
    own = (dataset.records[place] for place in places)

    def read(record: Record) -> np.ndarray:
        return load_image(record.image, (record.height, record.width), pipeline.rules)

    found = detect_views(pipeline.net.predict, read, pipeline.prepare, own, pipeline.options, pipeline.views)
    for _, record, entry in with_progress(found, len(places), "images", config.progress_bar):
        if isinstance(entry, ImageError):
            logger.warning(f"{entry}; skipped")
            continue
        ids = dataset.category_ids
        evaluator.add_results(
            [coco_result(one, record.image_id, ids[one["class"]["label"]]) for one in entry["predictions"]]
        )
    return joint_metrics(evaluator, device), dataset, evaluator


def _announce(dataset: DetectionDataset, device: Device) -> None:
    if device.is_main:
        logger.info(f"total images num:  {len(dataset.records)}")
        for problem in dataset.problems:
            logger.warning(problem)
        logger.info("Processing, please wait a moment.")


def print_tables(metrics: Metrics, log_format: LogFormat = LOG_FORMATS["timed"]) -> None:
    """Print what is known, before a disk has its say."""
    for kind, table in metrics.tables.items():
        print(f"Evaluate annotation type *{kind}*\n{table}")
        print(log_format.result_line(kind, metrics.stats[f"{kind}_mAP"]))
    if metrics.voc_table:
        print(f"Pascal VOC\n{metrics.voc_table}")
    print(f"\n{metrics.per_class_table()}", flush=True)


def write_metrics(metrics: Metrics, path: Path, seconds: float) -> None:
    """Write the numbers to `path`, and print the last lines of an evaluation that took so long."""
    metrics.to_json(path)
    print(f"\nEvaluation done!\nmetrics are in {path}\n\nDone!\nTime taken: {seconds:.0f} seconds", flush=True)
