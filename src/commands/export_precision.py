"""Other precisions than float32 for an exported ONNX file, and what they cost: what export.py does for `precision`."""

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import numpy as np

from src.data.builders import build_eval_loader
from src.data.image import ImageError, ImageRules, load_image
from src.data.image_files import find_images
from src.data.network_input import EvalTransform
from src.deploy.difference import Difference
from src.deploy.export_card import ApOfPrecisions, ExportCard
from src.deploy.exported_model import ExportedDetector
from src.deploy.onnx_int8 import Int8Converter
from src.deploy.onnx_metadata import write_metadata
from src.deploy.onnx_precision import convert_precision
from src.deploy.other_process import call_without_mindspore
from src.engine.evaluation_loop import EvaluationOptions, evaluate_detector
from src.evaluation.coco_evaluator import CocoEvaluator
from src.model_utils.device_adapter import Device
from src.schema import Config

logger = logging.getLogger(__name__)

RANKED_ON = 8  # images


def change_precision(file: Path, card: ExportCard, config: Config, differ: Callable[[Path], Difference]) -> None:
    """Convert a file in float32, in place, and note in its card what that changes.

    Args:
        file: complete ONNX file, with its card inside.
        card: of the file; gets precision, difference and, where there is validation data, AP before and after.
        config: names the precision and the data.
        differ: file -> largest difference of its outputs from the checkpoint's.

    Raises:
        UserError: ONNX Runtime's tools cannot convert the file; no calibration image can be read.
    """
    assert config.precision != "bfloat16", "no precision of files"
    card.precision = config.precision
    has_data = bool(config.val_dataset) and Path(config.val_dataset).exists()
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".") as folder:
        source, converted = file.resolve(), Path(folder, "converted.onnx").resolve()
        exact = _ap(file, config) if has_data else {}

        def measure() -> float:
            """The largest loss of AP, which is noted in the card."""
            write_metadata(converted, card.model_dump(exclude={"sha256"}))
            found = _ap(converted, config)
            both: dict[str, ApOfPrecisions] = {
                kind: {"float32": exact[kind], card.precision: found[kind]} for kind in config.iou_types
            }
            logger.info(f"AP on {config.val_dataset}: {_shown(both)}")
            card.ap = both[config.iou_types[-1]]
            card.bbox_ap = both["bbox"] if len(both) > 1 else None
            return max(exact[kind] - found[kind] for kind in found)

        if config.precision == "float16":
            convert_precision(source, converted, config.precision)
            if has_data:
                measure()
        else:
            converter = Int8Converter(source, converted.with_name("int8"))
            converter.folder.mkdir()
            read = call_without_mindspore(converter.calibrate, stream=_calibration(config, card))
            logger.info(f"int8: calibrated on {read} images of {config.calibration_images}")
            call_without_mindspore(converter.write, converted)
            if has_data and (loss := measure()) > config.int8_max_ap_loss:
                _leave_sensitive_layers_out(converter, converted, card, config, measure, loss)
        if not has_data:
            logger.warning(f"{config.precision}: AP was not measured; give the validation data as --val_dataset")
        difference = differ(converted)
        logger.info(f"{config.precision}: largest difference from the checkpoint: {difference}")
        card.difference = difference.size
        write_metadata(converted, card.model_dump(exclude={"sha256"}))
        file.write_bytes(converted.read_bytes())


def _leave_sensitive_layers_out(
    converter: Int8Converter,
    converted: Path,
    card: ExportCard,
    config: Config,
    measure: Callable[[], float],
    loss: float,
) -> None:
    """Write the file with ever more layers in float32, the most sensitive ones, until it loses little enough AP."""
    limit = config.int8_max_ap_loss
    images = islice(_calibration(config, card), RANKED_ON)
    ranked, count = call_without_mindspore(converter.rank, stream=images), 1
    while True:
        logger.info(f"int8: {loss:.4f} AP lost, allowed: {limit:g}; the most sensitive layers, {count}, stay float32")
        card.float32_layers = call_without_mindspore(converter.write, converted, ranked[:count])
        loss = measure()
        if loss <= limit or count >= len(ranked):
            break
        count = min(2 * count, len(ranked))
    if count >= len(ranked):
        logger.warning(f"int8: all layers stay float32: with fewer of them more than {limit:g} AP is lost")
    else:
        logger.info(f"int8: {len(card.float32_layers)} layers stay float32, which the card names")


def _shown(values: Mapping[str, ApOfPrecisions]) -> str:
    """AP by IoU types and precisions, for the log."""
    return "; ".join(f"{kind} {', '.join(f'{n} {v:.4f}' for n, v in of.items())}" for kind, of in values.items())


def _calibration(config: Config, card: ExportCard) -> Iterator[list[np.ndarray]]:
    """Inputs of the file, one image at a time: repeated, where the file takes several."""
    prepare, rules = EvalTransform.from_config(config), ImageRules.of(config)
    for path in find_images(config.calibration_images, recursive=True, key="calibration_images"):
        try:
            image, info = prepare(load_image(path, rules=rules))
        except ImageError as error:
            logger.warning(f"{error}; skipped")
            continue
        inputs = {"image": image, "image_info": info}
        yield [np.repeat(inputs[port.name][None], card.batch_size or 1, 0) for port in card.inputs]


def _ap(file: Path, config: Config) -> dict[str, float]:
    """AP of an exported file on the validation data, of boxes and, where it has them, of masks."""
    loader = build_eval_loader(config)
    try:
        evaluator = CocoEvaluator.for_dataset(loader.dataset, config.iou_types)
        options = EvaluationOptions(config.mask_threshold, config.progress_bar)
        metrics = evaluate_detector(ExportedDetector(file, config), loader, evaluator, Device("CPU"), options)
    finally:
        loader.close()
    assert metrics is not None  # this is the only process
    return {kind: max(metrics.stats[f"{kind}_mAP"], 0.0) for kind in config.iou_types}
