"""Images through a network in batches, and what the inference JSON says of each."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import numpy as np

from src.blocks.image_info import original_hw
from src.common.parallel import map_ahead
from src.data.image import ImageError
from src.evaluation.masks import encode_detections
from src.evaluation.predictions import image_entry

if TYPE_CHECKING:
    from src.blocks.detections import Detections

Source = TypeVar("Source")
Prepared = tuple[np.ndarray, np.ndarray]  # image float32 [3, H, W], image_info float32 [6]
Predict = Callable[[np.ndarray, np.ndarray], "Detections"]


@dataclass(frozen=True)
class InferenceOptions:
    """How images go through a network.

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


class Outcome(NamedTuple, Generic[Source]):
    """What became of an image: its place among all of them, where it came from, and its `image_entry` or the error."""

    place: int
    source: Source
    result: dict | ImageError


def detect_images(
    predict: Predict,
    load: Callable[[Path], Prepared],
    paths: list[Path],
    options: InferenceOptions,
    progress: Callable[[Iterable], Iterable] = lambda items: items,
) -> tuple[dict[str, dict], list[str]]:
    """Predict all images of a list; see `detect_stream`.

    Args:
        predict: as of `detect_stream`.
        load: likewise.
        paths: of the images.
        options: classes, masks, and sizes.
        progress: wraps the iteration over images.

    Returns:
        ({path: `image_entry`} in the order of `paths`, a line for each broken image).
    """
    options = replace(options, batch_size=min(options.batch_size, len(paths)))
    found: dict[str, dict] = {}
    broken: list[str] = []
    for _, path, result in progress(detect_stream(predict, load, paths, options)):
        if isinstance(result, ImageError):
            broken.append(str(result))
        else:
            found[str(path)] = result
    return {str(path): found[str(path)] for path in paths if str(path) in found}, broken


def detect_stream(
    predict: Predict, load: Callable[[Source], Prepared], sources: Iterable[Source], options: InferenceOptions
) -> Iterator[Outcome[Source]]:
    """Predict images as they come, in batches of one shape (the last is filled up by repeating its last image).

    Args:
        predict: (images float32 [B, 3, H, W], image_info float32 [B, 6]) -> `Detections` of numpy arrays.
        load: source -> (image float32 [3, H, W], image_info float32 [6]); raises `ImageError` for a broken image.
        sources: of the images; any number, of which few wait in memory.
        options: classes, masks, and sizes.

    Yields:
        An outcome for each source; in order, unless images differ in shape or are broken.
    """
    size = options.batch_size
    batches: dict[tuple[int, ...], list[_Loaded]] = defaultdict(list)  # by the shape of their images
    for place, (source, loaded) in enumerate(_load_ahead(load, sources, options.workers, 2 * size)):
        if isinstance(loaded, ImageError):
            yield Outcome(place, source, loaded)
            continue
        shape = loaded[0].shape
        batches[shape].append(_Loaded(place, source, *loaded))
        if len(batches[shape]) == size:
            yield from _outcomes(predict, batches.pop(shape), options)
    for batch in batches.values():
        yield from _outcomes(predict, batch, options)


class _Loaded(NamedTuple):
    place: int
    source: object
    image: np.ndarray
    info: np.ndarray


def _outcomes(predict: Predict, batch: list[_Loaded], options: InferenceOptions) -> Iterator[Outcome]:
    """The outcome of each image of a batch, which is filled up for the network."""
    filled = batch + [batch[-1]] * (options.batch_size - len(batch))
    infos = np.stack([loaded.info for loaded in filled])
    detections = predict(np.stack([loaded.image for loaded in filled]), infos)
    threshold = options.mask_threshold
    masks = None if threshold is None else encode_detections(detections, infos, threshold)
    boxes, scores, labels, valid = (np.asarray(value) for value in detections[:4])
    for b, loaded in enumerate(batch):
        height, width = original_hw(loaded.info).astype(int).tolist()
        kept = valid[b].astype(bool)
        found = boxes[b][kept], scores[b][kept], labels[b][kept]
        codes = None if masks is None else [code for code in masks[b] if code is not None]
        entry = image_entry(height, width, *found, options.class_names, options.category_ids, codes)
        yield Outcome(loaded.place, loaded.source, entry)


def _load_ahead(
    load: Callable[[Source], Prepared], sources: Iterable[Source], workers: int, ahead: int
) -> Iterator[tuple[Source, Prepared | ImageError]]:
    """(source, loaded) in order, where loaded is an ImageError for a broken image; at most `ahead` wait in memory."""

    def attempt(source: Source) -> Prepared | ImageError:
        try:
            return load(source)
        except ImageError as error:
            return error

    yield from map_ahead(attempt, sources, workers, ahead)
