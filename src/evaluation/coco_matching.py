"""Matching of detections to ground truth as the COCO protocol does it, for a whole data set at once.

The protocol (cocodataset.org/#detection-eval): within one image and class, detections in order of falling score each
take the free ground-truth object that they overlap most, if by at least the threshold. Objects that do not count
(crowds, and areas outside the range in question) are taken only when none that counts is left; a crowd can be taken any
number of times, and so can a difficult object of Pascal VOC, which the protocol does not know. A detection that took
such an object, or took nothing and lies outside the area range, is ignored.

The loop over detections cannot be avoided, but it can run over all (image, class) pairs, area ranges and thresholds in
step: round r handles the r-th detection of every pair. That is some 20 times faster than a loop over pairs.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
AREA_RANGES = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
MAX_DETECTIONS = 100

FALSE_POSITIVE, TRUE_POSITIVE, IGNORED = 0, 1, 2


@dataclass
class Objects:
    """One kind of object (ground truth or detections) of the whole data set, one per row.

    Attributes:
        image: int64 [N], position of the image in the evaluated set.
        label: int64 [N], 0..K-1.
        boxes: float64 [N, 4], x, y, width, height in pixels.
        area: float64 [N], square pixels (of the mask where there is one).
        score: float64 [N]; unused for ground truth.
        crowd: bool [N]; unused for detections.
        masks: N COCO run-length codes, or None where boxes are evaluated.
        difficult: bool [N], objects that neither count nor make their detections wrong (Pascal VOC); None: none is.
    """

    image: np.ndarray
    label: np.ndarray
    boxes: np.ndarray
    area: np.ndarray
    score: np.ndarray
    crowd: np.ndarray
    masks: list | None = None
    difficult: np.ndarray | None = None

    def take(self, index: np.ndarray) -> "Objects":
        """The rows `index`, in that order."""
        masks = None if self.masks is None else [self.masks[i] for i in index]
        return Objects(
            self.image[index],
            self.label[index],
            self.boxes[index],
            self.area[index],
            self.score[index],
            self.crowd[index],
            masks,
            None if self.difficult is None else self.difficult[index],
        )

    @property
    def uncounted(self) -> np.ndarray:
        """Crowds and difficult objects, which no detection must find; bool [N]."""
        return self.crowd if self.difficult is None else self.crowd | self.difficult


@dataclass
class Matches:
    """What became of each detection.

    Attributes:
        label, score: int64 and float64 [N], of the detections that count, ordered by label, image, falling score.
        rank: int64 [N], place of the detection within its image and class, from 0.
        state: uint8 [N, A, T], FALSE_POSITIVE, TRUE_POSITIVE or IGNORED for A area ranges and T thresholds.
        positives: int64 [K, A], ground-truth objects that count.
        row: int64 [N], the detection's row in what was given to `match_objects`.
        taken: int64 [N], row of the object that it took at the lowest threshold and any area; -1: none.
    """

    label: np.ndarray
    score: np.ndarray
    rank: np.ndarray
    state: np.ndarray
    positives: np.ndarray
    row: np.ndarray
    taken: np.ndarray


@dataclass
class Pairs:
    """The (image, class) pairs that have both: first row and number of rows in the sorted tables, int64 [P] each."""

    found_start: np.ndarray
    found_count: np.ndarray
    truth_start: np.ndarray
    truth_count: np.ndarray


def match_objects(
    truth: Objects, found: Objects, num_images: int, num_classes: int, mask_iou: Callable | None = None
) -> Matches:
    """Match the detections `found` to the objects `truth`.

    Args:
        truth: ground truth.
        found: detections; of an image and class the best MAX_DETECTIONS count.
        num_images: of the data set.
        num_classes: of the data set.
        mask_iou: (detected masks, true masks, crowd flags) -> [D, G]; None evaluates boxes.
    """
    truth_row = np.lexsort((truth.image, truth.label))
    found_row = np.lexsort((-found.score, found.image, found.label))
    truth, found = truth.take(truth_row), found.take(found_row)
    found_key = found.label * num_images + found.image
    rank = _rank_in_group(found_key)
    if (rank >= MAX_DETECTIONS).any():
        kept = np.flatnonzero(rank < MAX_DETECTIONS)
        found, found_key, rank, found_row = found.take(kept), found_key[kept], rank[kept], found_row[kept]

    any_number = truth.uncounted
    truth_ignored = any_number[:, None] | _outside_area_ranges(truth.area)
    pairs = common_pairs(truth.label * num_images + truth.image, found_key)
    overlaps = box_overlaps(truth, found, pairs) if mask_iou is None else _mask_overlaps(truth, found, pairs, mask_iou)
    state, taken = _match_pairs(pairs, overlaps, any_number, truth_ignored, len(found.image))
    outside = _outside_area_ranges(found.area)[:, :, None]
    state[(state == FALSE_POSITIVE) & outside] = IGNORED

    positives = np.zeros((num_classes, len(AREA_RANGES)), np.int64)
    np.add.at(positives, truth.label, ~truth_ignored)
    taken[taken >= 0] = truth_row[taken[taken >= 0]]
    return Matches(found.label, found.score, rank, state, positives, found_row, taken)


def _rank_in_group(key: np.ndarray) -> np.ndarray:
    """Place of each row within its run of equal keys, from 0."""
    if not len(key):
        return np.zeros(0, np.int64)
    starts = np.flatnonzero(np.r_[True, key[1:] != key[:-1]])
    return np.arange(len(key)) - np.repeat(starts, np.diff(np.r_[starts, len(key)]))


def _outside_area_ranges(area: np.ndarray) -> np.ndarray:
    """Whether the area lies outside the range, whose ends belong to it; bool [N, A]."""
    low, high = np.array(list(AREA_RANGES.values())).T
    return (area[:, None] < low) | (area[:, None] > high)


def common_pairs(truth_key: np.ndarray, found_key: np.ndarray) -> Pairs:
    """The pairs of image and class that stand in both sorted tables; keys int64 [G] and [N] number the pairs."""
    truth_keys, truth_start, truth_count = np.unique(truth_key, return_index=True, return_counts=True)
    found_keys, found_start, found_count = np.unique(found_key, return_index=True, return_counts=True)
    _, of_truth, of_found = np.intersect1d(truth_keys, found_keys, assume_unique=True, return_indices=True)
    return Pairs(found_start[of_found], found_count[of_found], truth_start[of_truth], truth_count[of_truth])


def box_overlaps(truth: Objects, found: Objects, pairs: Pairs) -> np.ndarray:
    """IoU (crowds: share of the detection inside) of each pair's detections x objects; flat, pair after pair."""
    sizes = pairs.found_count * pairs.truth_count
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    row, column = np.divmod(within, np.repeat(pairs.truth_count, sizes))
    d = found.boxes[np.repeat(pairs.found_start, sizes) + row]
    object_index = np.repeat(pairs.truth_start, sizes) + column
    g = truth.boxes[object_index]
    corner = np.minimum(d[:, :2] + d[:, 2:], g[:, :2] + g[:, 2:])
    width, height = np.maximum(corner - np.maximum(d[:, :2], g[:, :2]), 0.0).T
    intersection = width * height
    area = d[:, 2] * d[:, 3]
    union = np.where(truth.crowd[object_index], area, area + g[:, 2] * g[:, 3] - intersection)
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)


def _mask_overlaps(truth: Objects, found: Objects, pairs: Pairs, mask_iou: Callable) -> np.ndarray:
    """As `box_overlaps`, for masks."""
    parts = [np.zeros(0)]
    found_masks, true_masks = found.masks or [], truth.masks or []
    for d, nd, g, ng in zip(pairs.found_start, pairs.found_count, pairs.truth_start, pairs.truth_count, strict=True):
        crowd = truth.crowd[g : g + ng].astype(int).tolist()
        parts.append(np.asarray(mask_iou(found_masks[d : d + nd], true_masks[g : g + ng], crowd)).reshape(-1))
    return np.concatenate(parts)


def _match_pairs(
    pairs: Pairs, overlaps: np.ndarray, any_number: np.ndarray, ignored: np.ndarray, num_found: int
) -> tuple[np.ndarray, np.ndarray]:
    """State of each detection, uint8 [N, A, T], FALSE_POSITIVE where nothing was taken; `Matches.taken` int64 [N]."""
    state = np.full((num_found, len(AREA_RANGES), len(IOU_THRESHOLDS)), FALSE_POSITIVE, np.uint8)
    taken = np.full(num_found, -1, np.int64)
    sizes = pairs.found_count * pairs.truth_count
    matching = _Matching(pairs, overlaps, np.cumsum(sizes) - sizes, any_number, ignored, state, taken)
    # Pairs with about as many objects run together, padded to the next power of two.
    width = 2 ** np.ceil(np.log2(pairs.truth_count)).astype(int) if len(sizes) else np.zeros(0, int)
    for slots in np.unique(width):
        chosen = np.flatnonzero(width == slots)
        chosen = chosen[np.argsort(-pairs.found_count[chosen], kind="stable")]
        # At most this many pairs at a time keeps the working arrays under some 100 MB.
        for part in np.array_split(chosen, -(-len(chosen) * int(slots) // 200_000)):
            _match_bucket(matching, part, int(slots))
    return state, taken


@dataclass
class _Matching:
    """What matching reads, and what it writes.

    Attributes:
        pairs: of images and classes.
        overlaps: of all pairs, flat.
        offset: int64 [P], where each pair begins in `overlaps`.
        any_number: bool [G], objects that can be taken any number of times.
        ignored: bool [G, A], objects that do not count.
        state: see `_match_pairs`; written.
        taken: see `Matches`; written.
    """

    pairs: Pairs
    overlaps: np.ndarray
    offset: np.ndarray
    any_number: np.ndarray
    ignored: np.ndarray
    state: np.ndarray
    taken: np.ndarray


def _match_bucket(matching: _Matching, chosen: np.ndarray, slots: int) -> None:
    """Match the pairs `chosen` (ordered by falling number of detections, each with at most `slots` objects)."""
    pairs, state = matching.pairs, matching.state
    slot = np.arange(slots)[:, None]
    count = pairs.truth_count[chosen]
    exists = slot < count
    index = np.where(exists, pairs.truth_start[chosen] + slot, 0)
    # Axes below: object slot, pair, area range, threshold.
    counts_as_object = ~matching.ignored[index][..., None]
    is_single = ~matching.any_number[index][..., None, None]
    free = np.broadcast_to(exists[..., None, None], (*exists.shape, *state.shape[1:])).copy()
    thresholds = np.minimum(IOU_THRESHOLDS, 1 - 1e-10)
    found_count = pairs.found_count[chosen]
    for r in range(int(found_count.max())):
        n = np.searchsorted(-found_count, -r, side="left")  # pairs with more than r detections
        position = np.where(exists[:, :n], matching.offset[chosen[:n]] + r * count[:n] + slot, 0)
        iou = np.where(exists[:, :n], matching.overlaps[position], -1.0)
        # A higher preference wins: objects that count first, then by IoU, of equal ones the last.
        place = np.argsort(np.argsort(iou, axis=0, kind="stable"), axis=0)[..., None, None] + 1
        preference = (place + slots * counts_as_object[:, :n]).astype(np.int32)
        open_to = free[:, :n] & (iou[..., None, None] >= thresholds)
        preference = np.where(open_to, preference, 0)
        best = preference.max(axis=0)
        took = best > 0
        row = pairs.found_start[chosen[:n]] + r
        state[row] = np.where(took, np.where(best > slots, TRUE_POSITIVE, IGNORED), FALSE_POSITIVE)
        at_lowest = preference[:, :, 0, 0]  # any area, lowest threshold
        matching.taken[row] = np.where(took[:, 0, 0], pairs.truth_start[chosen[:n]] + at_lowest.argmax(axis=0), -1)
        free[:, :n] &= ~((preference == best) & took & is_single[:, :n])
