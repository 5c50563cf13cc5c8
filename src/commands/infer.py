"""Detect objects in an image or a folder of images: the work of infer.py."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from src.blocks.image_info import original_hw
from src.common.errors import UserError
from src.common.parallel import map_ahead
from src.common.progress import with_progress
from src.data.image import ImageError
from src.evaluation.masks import encode_detections
from src.evaluation.predictions import image_entry, save_predictions
from src.schema import Config, require

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


def infer(config: Config) -> dict[str, dict]:
    """Predict as the configuration says and write `pred_output`; returns what was written.

    Raises:
        UserError: missing keys or files, a checkpoint of another network, or no image that could be read.
    """
    require(config, "checkpoint_path", "pred_input", "pred_output")
    if Path(config.pred_output).is_dir():
        raise UserError(f"pred_output {config.pred_output} is a folder; give the JSON file to write")
    paths = find_images(config.pred_input)

    from src.commands.trained_detector import trained_detector
    from src.data.image import load_image
    from src.data.network_input import EvalTransform

    net, _ = trained_detector(config)
    prepare = EvalTransform.from_config(config)
    predictions, broken = detect_images(
        net.predict,
        lambda path: prepare(load_image(path)),
        paths,
        class_names=config.class_names,
        category_ids=config.category_ids,
        batch_size=config.test_batch_size,
        workers=config.num_parallel_workers,
        mask_threshold=config.mask_threshold,
        progress=lambda items: with_progress(items, len(paths), "images", config.progress_bar),
    )
    for problem in broken:
        print(f"warning: {problem}; skipped", flush=True)
    if not predictions:
        raise UserError(f"pred_input {config.pred_input}: none of its {len(paths)} images could be read")
    save_predictions(config.pred_output, predictions)
    found = sum(len(entry["predictions"]) for entry in predictions.values())
    print(f"{found} objects in {len(predictions)} images ({len(broken)} images skipped)")
    print(f"predictions are in {config.pred_output}; draw_predictions.py draws them", flush=True)
    return predictions


def find_images(source: str | Path) -> list[Path]:
    """The image `source`, or the images in the root of the folder `source`, sorted by name.

    Raises:
        UserError: the path does not exist, or the folder has no image.
    """
    source = Path(source)
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise UserError(f"pred_input {source} does not exist; give an image or a folder of images")
    paths = sorted(p for p in source.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))
    if not paths:
        raise UserError(f"pred_input {source}: no image ({', '.join(IMAGE_SUFFIXES)}) in this folder")
    return paths


def detect_images(
    predict: Callable,
    load: Callable[[Path], tuple[np.ndarray, np.ndarray]],
    paths: list[Path],
    class_names: list[str],
    category_ids: list[int],
    batch_size: int = 1,
    workers: int = 1,
    mask_threshold: float | None = None,
    progress: Callable[[Iterable], Iterable] = lambda items: items,
) -> tuple[dict[str, dict], list[str]]:
    """Predict all images, in batches of one shape (the last one is filled up by repeating its last image).

    Args:
        predict: (images float32 [B, 3, H, W], image_info float32 [B, 6]) -> `Detections` of numpy arrays.
        load: path -> (image float32 [3, H, W], image_info float32 [6]); raises `ImageError` for a broken image.
        class_names, category_ids: see `image_entry`.
        workers: threads that load images ahead of the network; 0: none.
        mask_threshold: see `encode_masks`; None: the detector has no masks.
        progress: wraps the iteration over images.

    Returns:
        ({path: `image_entry`} in the order of `paths`, a line for each broken image).
    """
    batch_size = min(batch_size, len(paths))
    predictions, broken, batch = {}, [], []

    def flush() -> None:
        filled = batch + [batch[-1]] * (batch_size - len(batch))
        infos = np.stack([item[2] for item in filled])
        detections = predict(np.stack([item[1] for item in filled]), infos)
        masks = None if mask_threshold is None else encode_detections(detections, infos, mask_threshold)
        boxes, scores, labels, valid = (np.asarray(value) for value in detections[:4])
        for b, (path, _, info) in enumerate(batch):
            height, width = original_hw(info).astype(int).tolist()
            kept = valid[b].astype(bool)
            found = boxes[b][kept], scores[b][kept], labels[b][kept]
            codes = None if masks is None else [masks[b][row] for row in np.flatnonzero(kept)]
            predictions[str(path)] = image_entry(height, width, *found, class_names, category_ids, codes)
        batch.clear()

    for path, loaded in progress(_load_ahead(load, paths, workers, 2 * batch_size)):
        if isinstance(loaded, ImageError):
            broken.append(str(loaded))
            continue
        batch.append((path, *loaded))
        if len(batch) == batch_size:
            flush()
    if batch:
        flush()
    return predictions, broken


def _load_ahead(load: Callable, paths: list[Path], workers: int, ahead: int) -> Iterator[tuple[Path, object]]:
    """(path, loaded) in order, where loaded is an ImageError for a broken image; at most `ahead` wait in memory."""

    def attempt(path: Path) -> object:
        try:
            return load(path)
        except ImageError as error:
            return error

    yield from map_ahead(attempt, paths, workers, ahead)
