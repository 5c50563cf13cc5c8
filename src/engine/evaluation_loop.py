"""The evaluation loop: a detector over a data set to COCO metrics, on as many devices as were started."""

from collections.abc import Callable
from dataclasses import dataclass

from tqdm import tqdm

from src.common.progress import wants_bar
from src.data.batch import Batch
from src.data.loader import BatchLoader
from src.engine.exchange import gather_bytes
from src.evaluation.coco_evaluator import CocoEvaluator
from src.evaluation.masks import encode_detections
from src.evaluation.metrics import Metrics
from src.model_utils.device_adapter import Device
from src.models.api import Predictor
from src.models.prediction import evaluating


@dataclass(frozen=True)
class EvaluationOptions:
    """How `evaluate_detector` goes about it.

    Attributes:
        mask_threshold: see `encode_masks`; None: masks are not evaluated.
        progress_bar: 'auto', 'on' or 'off'.
        after_batch: called with each batch after its detections (it may raise to stop).
    """

    mask_threshold: float | None = None
    progress_bar: str = "auto"
    after_batch: Callable[[Batch], None] = lambda batch: None


def evaluate_detector(
    net: Predictor,
    loader: BatchLoader,
    evaluator: CocoEvaluator,
    device: Device,
    options: EvaluationOptions = EvaluationOptions(),
) -> Metrics | None:
    """Predict every image of `loader`, add the detections to `evaluator`, and compute its metrics.

    Args:
        net: detector; it computes as in evaluation meanwhile.
        loader: evaluation loader of this rank.
        evaluator: collects the detections.
        device: this process; other ranks send their detections to the main one.
        options: masks, progress, and what happens between batches.

    Returns:
        The metrics on the main rank, None on the others.
    """
    show = device.is_main and wants_bar(options.progress_bar)
    threshold = options.mask_threshold
    with evaluating(net):
        for batch in tqdm(loader.epoch(0), total=len(loader), desc="evaluation", unit="batch", disable=not show):
            detections = net.predict(batch["image"], batch["image_info"])
            masks = None if threshold is None else encode_detections(detections, batch["image_info"], threshold)
            evaluator.add(batch["image_id"], detections, masks)
            options.after_batch(batch)
    return joint_metrics(evaluator, device)


def joint_metrics(evaluator: CocoEvaluator, device: Device) -> Metrics | None:
    """The metrics of what the evaluators of all ranks hold, on the main rank; None on the others."""
    if device.world > 1:
        for part in gather_bytes(b"" if device.is_main else evaluator.part(), device.world, device.is_main)[1:]:
            evaluator.add_part(part)
    return evaluator.compute_metrics() if device.is_main else None
