"""Images through a network in batches, and what the inference JSON says of each."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np

from src.blocks.image_info import original_hw
from src.common.parallel import map_ahead
from src.data.image import ImageError
from src.evaluation.masks import encode_masks
from src.evaluation.predictions import image_entry
from src.predictor.merging import merged
from src.predictor.views import Found, View, ViewOptions, cut_out, plan_views

if TYPE_CHECKING:
    from src.blocks.detections import Detections

Source = TypeVar("Source")
Result = TypeVar("Result")
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
        As `gathered`.
    """
    options = replace(options, batch_size=min(options.batch_size, len(paths)))
    return gathered(progress(detect_stream(predict, load, paths, options)), paths)


def gathered(outcomes: Iterable[Outcome[Path]], paths: list[Path]) -> tuple[dict[str, dict], list[str]]:
    """({path: `image_entry`} in the order of `paths`, a line for each broken image)."""
    found: dict[str, dict] = {}
    broken: list[str] = []
    for _, path, result in outcomes:
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
    batches = _Batches(predict, options.batch_size)

    def outcome(loaded: _Loaded, found: Found) -> Outcome[Source]:
        height, width = original_hw(loaded.info).astype(int).tolist()
        return Outcome(loaded.place, loaded.source, _entry(found, height, width, options))

    loading = _load_ahead(load, sources, options.workers, 2 * options.batch_size)
    for place, (source, loaded) in enumerate(loading):
        if isinstance(loaded, ImageError):
            yield Outcome(place, source, loaded)
            continue
        yield from (outcome(*one) for one in batches.add(_Loaded(place, source, *loaded)))
    yield from (outcome(*one) for one in batches.rest())


@dataclass
class _Viewed:
    """A picture of which some views were predicted."""

    source: Any
    size: tuple[int, int]  # height, width
    views: list[View]
    found: dict[View, Found]


def detect_views(
    predict: Predict,
    read: Callable[[Source], np.ndarray],
    prepare: Callable[[np.ndarray], Prepared],
    sources: Iterable[Source],
    options: InferenceOptions,
    views: ViewOptions,
) -> Iterator[Outcome[Source]]:
    """`detect_stream` with several views of each picture, whose objects are merged.

    Args:
        predict: as of `detect_stream`.
        read: source -> pixels uint8 [H, W, 3]; raises `ImageError` for a broken image.
        prepare: pixels of a view -> input of the network, and its sizes.
        sources: as of `detect_stream`.
        options: likewise.
        views: which views, and how they are merged.
    """
    batches = _Batches(predict, options.batch_size)
    waiting: dict[int, _Viewed] = {}

    def outcomes(predicted: Iterable[tuple[_Loaded, Found]]) -> Iterator[Outcome[Source]]:
        for loaded, found in predicted:
            one = waiting[loaded.place]
            one.found[loaded.source] = found
            if len(one.found) == len(one.views):
                del waiting[loaded.place]
                whole = merged([one.found[view] for view in one.views], one.views, *one.size, views)
                yield Outcome(loaded.place, one.source, _entry(whole, *one.size, options))

    for place, (source, pixels) in enumerate(_load_ahead(read, sources, options.workers, 2)):
        if isinstance(pixels, ImageError):
            yield Outcome(place, source, pixels)
            continue
        height, width = pixels.shape[:2]
        chosen = plan_views(height, width, views)
        waiting[place] = _Viewed(source, (height, width), chosen, {})
        prepared = map_ahead(
            partial(_prepared, pixels, prepare, views.fill), chosen, options.workers, 2 * options.batch_size
        )
        for view, one in prepared:
            yield from outcomes(batches.add(_Loaded(place, view, *one)))
        if len(waiting) > options.batch_size:  # views of another shape would wait for company
            yield from outcomes(batches.rest())
    yield from outcomes(batches.rest())


def _prepared(
    pixels: np.ndarray, prepare: Callable[[np.ndarray], Prepared], fill: tuple[int, ...], view: View
) -> Prepared:
    return prepare(cut_out(pixels, view, fill))


class _Loaded(NamedTuple):
    place: int
    source: Any
    image: np.ndarray
    info: np.ndarray


class _Batches:
    """Inputs on their way through a network, in batches of one shape."""

    def __init__(self, predict: Predict, size: int) -> None:
        self.predict, self.size = predict, size
        self.waiting: dict[tuple[int, ...], list[_Loaded]] = defaultdict(list)  # by the shape of their images

    def add(self, loaded: _Loaded) -> Iterator[tuple[_Loaded, Found]]:
        """Take one more; yields what was found in each input of its batch, where that is full now."""
        shape = loaded.image.shape
        self.waiting[shape].append(loaded)
        if len(self.waiting[shape]) == self.size:
            yield from self._predicted(self.waiting.pop(shape))

    def rest(self) -> Iterator[tuple[_Loaded, Found]]:
        """The same of those that wait, whose batches are filled up."""
        waiting, self.waiting = self.waiting, defaultdict(list)
        for batch in waiting.values():
            yield from self._predicted(batch)

    def _predicted(self, batch: list[_Loaded]) -> Iterator[tuple[_Loaded, Found]]:
        filled = batch + [batch[-1]] * (self.size - len(batch))
        detections = self.predict(np.stack([one.image for one in filled]), np.stack([one.info for one in filled]))
        boxes, scores, labels, valid = (np.asarray(part) for part in detections[:4])
        masks = detections[4] if len(detections) > 4 else None
        found = Found(boxes, scores, labels, None if masks is None else np.asarray(masks))
        for b, loaded in enumerate(batch):
            yield loaded, found.take((b, np.flatnonzero(valid[b])))


def _entry(found: Found, height: int, width: int, options: InferenceOptions) -> dict:
    """The `image_entry` of what was found in a picture."""
    codes = None
    if options.mask_threshold is not None and found.masks is not None:
        codes = encode_masks(found.masks, found.boxes, height, width, options.mask_threshold)
    names, ids = options.class_names, options.category_ids
    return image_entry(height, width, found.boxes, found.scores, found.labels, names, ids, codes)


def _load_ahead(
    load: Callable[[Source], Result], sources: Iterable[Source], workers: int, ahead: int
) -> Iterator[tuple[Source, Result | ImageError]]:
    """(source, loaded) in order, where loaded is an ImageError for a broken image; at most `ahead` wait in memory."""

    def attempt(source: Source) -> Result | ImageError:
        try:
            return load(source)
        except ImageError as error:
            return error

    yield from map_ahead(attempt, sources, workers, ahead)
