"""Run a detector over a data set and compute COCO metrics, on as many devices as were started."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mindspore import nn
from tqdm import tqdm

from src.common.progress import wants_bar
from src.data.detection_dataset import DetectionDataset
from src.engine.train_step import MeanOverDevices
from src.evaluation.coco_metrics import CocoEvaluator
from src.evaluation.masks import encode_detections
from src.evaluation.metrics import Metrics
from src.model_utils.device_adapter import Device


def evaluator_of(dataset: DetectionDataset, iou_types: Sequence[str] = ("bbox",)) -> CocoEvaluator:
    """An empty evaluator for a data set: of boxes ("bbox"), masks ("segm") or both.

    Raises:
        UserError: masks are to be evaluated and the annotations have none.
    """
    return CocoEvaluator(
        dataset.coco_annotations(),
        dataset.class_names,
        dataset.category_ids,
        iou_types,
        dataset.voc_metrics,
        origin=dataset.annotation_file,
    )


def evaluate_detector(
    net: nn.Cell,
    loader,
    evaluator: CocoEvaluator,
    device: Device,
    exchange_folder: Path,
    progress_bar: str = "auto",
    after_batch: Callable[[], None] = lambda: None,
    mask_threshold: float | None = None,
) -> Metrics | None:
    """Predict every image of `loader` and evaluate.

    Args:
        net: detector with `predict`.
        loader: evaluation loader of this rank.
        evaluator: collects the detections.
        device: this process; other ranks hand their detections to the main one through files.
        exchange_folder: for those files, seen by all ranks.
        progress_bar: 'auto', 'on' or 'off'.
        after_batch: called after each batch (it may raise to stop).
        mask_threshold: see `encode_masks`; None: masks are not evaluated.

    Returns:
        The metrics on the main rank, None on the others.
    """
    was_training = net.training
    net.set_train(False)
    show = device.is_main and wants_bar(progress_bar)
    for batch in tqdm(loader.epoch(0), total=len(loader), desc="evaluation", unit="batch", disable=not show):
        detections = net.predict(batch["image"], batch["image_info"])
        masks = None if mask_threshold is None else encode_detections(detections, batch["image_info"], mask_threshold)
        evaluator.add(batch["image_id"], detections, masks)
        after_batch()
    net.set_train(was_training)
    if device.world > 1:
        _gather(evaluator, device, exchange_folder)
    return evaluator.evaluate() if device.is_main else None


def _gather(evaluator: CocoEvaluator, device: Device, folder: Path) -> None:
    """Bring all detections to the main rank."""
    part = folder / f".detections_rank_{device.rank}.npz"
    if not device.is_main:
        evaluator.save_part(part)
    wait_for_all(device)
    if device.is_main:
        for rank in range(1, device.world):
            other = folder / f".detections_rank_{rank}.npz"
            evaluator.load_part(other)
            other.unlink()


def wait_for_all(device: Device) -> None:
    """Return once every rank has called this."""
    if device.world > 1:
        import numpy as np
        from mindspore import Tensor

        MeanOverDevices(device.world)(Tensor(np.ones(1, np.float32))).asnumpy()


def timed(function: Callable, *arguments) -> tuple[object, float]:
    """(result, milliseconds) of a call."""
    start = time.perf_counter()
    result = function(*arguments)
    return result, 1000 * (time.perf_counter() - start)
