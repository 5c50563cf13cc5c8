"""Other precisions than float32 for an exported ONNX file, and what they cost: what export.py does for `precision`."""

import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from src.data.builders import build_eval_loader
from src.data.image import ImageError, ImageRules, load_image
from src.data.image_files import find_images
from src.data.network_input import EvalTransform
from src.deploy.difference import Difference
from src.deploy.export_card import ExportCard
from src.deploy.exported_model import ExportedDetector
from src.deploy.onnx_metadata import write_metadata
from src.deploy.onnx_precision import convert_precision
from src.engine.evaluation_loop import EvaluationOptions, evaluate_detector
from src.evaluation.coco_evaluator import CocoEvaluator
from src.model_utils.device_adapter import Device
from src.schema import Config

logger = logging.getLogger(__name__)


def change_precision(file: Path, card: ExportCard, config: Config, differ: Callable[[Path], Difference]) -> None:
    """Convert a file in float32, in place, and note in its card what that changes.

    Args:
        file: complete ONNX file, with its card inside.
        card: of the file; gets precision, difference and, where there is validation data, AP before and after.
        config: names the precision and the data.
        differ: file -> largest difference of its outputs from the checkpoint's.

    Raises:
        UserError: see `convert_precision`; no calibration image can be read.
    """
    assert config.precision != "bfloat16", "no precision of files"
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".") as folder:
        converted = Path(folder, "converted.onnx")
        convert_precision(file, converted, config.precision, _calibration(config, card))
        card.precision = config.precision
        difference = differ(converted)
        logger.info(f"{config.precision}: largest difference from the checkpoint: {difference}")
        card.difference = difference.size
        if config.val_dataset and Path(config.val_dataset).exists():
            write_metadata(converted, card.model_dump(exclude={"sha256"}))
            card.ap = {"float32": _ap(file, config), config.precision: _ap(converted, config)}
            shown = ", ".join(f"{name} {value:.4f}" for name, value in card.ap.items())
            logger.info(f"AP on {config.val_dataset}: {shown}")
        else:
            logger.warning(f"{config.precision}: AP was not measured; give the validation data as --val_dataset")
        write_metadata(converted, card.model_dump(exclude={"sha256"}))
        file.write_bytes(converted.read_bytes())


def _calibration(config: Config, card: ExportCard) -> Iterator[list[np.ndarray]]:
    """Inputs of the file, one image at a time: repeated, where the file takes several."""
    if config.precision != "int8":
        return
    prepare, rules, read = EvalTransform.from_config(config), ImageRules.of(config), 0
    for path in find_images(config.calibration_images, recursive=True, key="calibration_images"):
        try:
            image, info = prepare(load_image(path, rules=rules))
        except ImageError as error:
            logger.warning(f"{error}; skipped")
            continue
        inputs = {"image": image, "image_info": info}
        yield [np.repeat(inputs[port.name][None], card.batch_size or 1, 0) for port in card.inputs]
        read += 1
    logger.info(f"int8: calibrated on {read} images of {config.calibration_images}")


def _ap(file: Path, config: Config) -> float:
    """AP of an exported file on the validation data: that of masks, where it has them."""
    loader = build_eval_loader(config)
    try:
        evaluator = CocoEvaluator.for_dataset(loader.dataset, config.iou_types)
        options = EvaluationOptions(config.mask_threshold, config.progress_bar)
        metrics = evaluate_detector(ExportedDetector(file, config), loader, evaluator, Device("CPU"), options)
    finally:
        loader.close()
    assert metrics is not None  # this is the only process
    return max(metrics.stats[f"{config.iou_types[-1]}_mAP"], 0.0)
