"""Detect objects in an image or a folder of images: the work of infer.py."""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from src.blocks.image_info import original_hw
from src.common.atomic import check_writable
from src.common.errors import UserError
from src.common.parallel import map_ahead
from src.common.progress import with_progress
from src.data.image import ImageError
from src.data.image_files import find_images
from src.evaluation.masks import encode_detections
from src.evaluation.predictions import image_entry, save_predictions
from src.schema import Config, require

if TYPE_CHECKING:
    from src.blocks.detections import Detections

logger = logging.getLogger(__name__)

Predict = Callable[[np.ndarray, np.ndarray], "Detections"]
Load = Callable[[Path], tuple[np.ndarray, np.ndarray]]
Loaded = tuple[Path, np.ndarray, np.ndarray]  # path, image, image_info


def infer(config: Config) -> dict[str, dict]:
    """Predict as the configuration says and write `pred_output`; returns what was written.

    Raises:
        UserError: missing keys or files, a checkpoint of another network, or no image that could be read.
    """
    require(config, "checkpoint_path", "pred_input", "pred_output")
    if Path(config.pred_output).is_dir():
        raise UserError(f"pred_output {config.pred_output} is a folder; give the JSON file to write")
    check_writable(config.pred_output)
    paths = find_images(config.pred_input, key="pred_input")

    from src.commands.trained_detector import in_frame_of_file, trained_detector
    from src.data.image import ImageRules, load_image
    from src.data.network_input import EvalTransform

    config = in_frame_of_file(config)
    net, _ = trained_detector(config)
    prepare, rules = EvalTransform.from_config(config), ImageRules.of(config)
    predictions, broken = detect_images(
        net.predict,
        lambda path: prepare(load_image(path, rules=rules)),
        paths,
        InferenceOptions(
            config.class_names,
            config.category_ids,
            config.test_batch_size,
            config.num_parallel_workers,
            config.mask_threshold,
        ),
        progress=lambda items: with_progress(items, len(paths), "images", config.progress_bar),
    )
    for problem in broken:
        logger.warning(f"{problem}; skipped")
    if not predictions:
        raise UserError(f"pred_input {config.pred_input}: none of its {len(paths)} images could be read")
    save_predictions(config.pred_output, predictions)
    found = sum(len(entry["predictions"]) for entry in predictions.values())
    logger.info(f"{found} objects in {len(predictions)} images ({len(broken)} images skipped)")
    logger.info(f"predictions are in {config.pred_output}; draw_predictions.py draws them")
    return predictions


@dataclass(frozen=True)
class InferenceOptions:
    """How `detect_images` goes about it.

    Attributes:
        class_names: K names.
        category_ids: K ids of the data set, or none where they are not known.
        batch_size: images per call of the network.
        workers: threads that load images ahead of the network; 0: none.
        mask_threshold: see `encode_masks`; None: the detector has no masks.
    """

    class_names: list[str]
    category_ids: list[int]
    batch_size: int = 1
    workers: int = 1
    mask_threshold: float | None = None


def detect_images(
    predict: Predict,
    load: Load,
    paths: list[Path],
    options: InferenceOptions,
    progress: Callable[[Iterable], Iterable] = lambda items: items,
) -> tuple[dict[str, dict], list[str]]:
    """Predict all images, in batches of one shape (the last of each is filled up by repeating its last image).

    Args:
        predict: (images float32 [B, 3, H, W], image_info float32 [B, 6]) -> `Detections` of numpy arrays.
        load: path -> (image float32 [3, H, W], image_info float32 [6]); raises `ImageError` for a broken image.
        paths: of the images.
        options: classes, masks, and sizes.
        progress: wraps the iteration over images.

    Returns:
        ({path: `image_entry`} in the order of `paths`, a line for each broken image).
    """
    size = min(options.batch_size, len(paths))
    predictions: dict[str, dict] = {}
    broken: list[str] = []
    batches: dict[tuple[int, ...], list[Loaded]] = defaultdict(list)  # by the shape of their images
    for path, loaded in progress(_load_ahead(load, paths, options.workers, 2 * size)):
        if isinstance(loaded, ImageError):
            broken.append(str(loaded))
            continue
        shape = loaded[0].shape
        batches[shape].append((path, *loaded))
        if len(batches[shape]) == size:
            predictions |= _entries(predict, batches.pop(shape), size, options)
    for batch in batches.values():
        predictions |= _entries(predict, batch, size, options)
    return {str(path): predictions[str(path)] for path in paths if str(path) in predictions}, broken


def _entries(predict: Predict, batch: list[Loaded], size: int, options: InferenceOptions) -> dict[str, dict]:
    """The `image_entry` of each image of a batch, which is filled up to `size` for the network."""
    filled = batch + [batch[-1]] * (size - len(batch))
    infos = np.stack([info for _, _, info in filled])
    detections = predict(np.stack([image for _, image, _ in filled]), infos)
    threshold = options.mask_threshold
    masks = None if threshold is None else encode_detections(detections, infos, threshold)
    boxes, scores, labels, valid = (np.asarray(value) for value in detections[:4])
    entries = {}
    for b, (path, _, info) in enumerate(batch):
        height, width = original_hw(info).astype(int).tolist()
        kept = valid[b].astype(bool)
        found = boxes[b][kept], scores[b][kept], labels[b][kept]
        codes = None if masks is None else [code for code in masks[b] if code is not None]
        entries[str(path)] = image_entry(height, width, *found, options.class_names, options.category_ids, codes)
    return entries


def _load_ahead(
    load: Load, paths: list[Path], workers: int, ahead: int
) -> Iterator[tuple[Path, tuple[np.ndarray, np.ndarray] | ImageError]]:
    """(path, loaded) in order, where loaded is an ImageError for a broken image; at most `ahead` wait in memory."""

    def attempt(path: Path) -> tuple[np.ndarray, np.ndarray] | ImageError:
        try:
            return load(path)
        except ImageError as error:
            return error

    yield from map_ahead(attempt, paths, workers, ahead)
