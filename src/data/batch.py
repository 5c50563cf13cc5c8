"""Batches of fixed shapes, and how samples are written into them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from src.data.mask_canvas import holds_whole_bitmaps
from src.data.network_input import Normalizer, image_info
from src.data.orientation import oriented
from src.data.record import Record
from src.data.sample import Sample, choose_targets

FILLER_ID = -1  # image_id of slots that hold no image


@dataclass(slots=True, eq=False)
class Batch(Mapping[str, Any]):
    """B images with their objects, each of up to N, as the network takes them.

    It is a mapping of its fields by their names as well, `masks` among them only where there are masks: what trains a
    detector also takes a plain dict with these names.

    Attributes:
        image: float32 [B, 3, H, W], all of one orientation.
        image_info: float32 [B, 6]; see `network_input.image_info`.
        image_id: int64 [B]; -1 in slots that fill up evaluation's last batch.
        boxes: float32 [B, N, 4], x1 y1 x2 y2 in network pixels.
        labels: int32 [B, N], 0..K-1.
        valid: bool [B, N], which of the N are objects.
        path: B strings: where the images came from.
        masks: uint8 [B, N, S, S], or [B, N, H, W] where S is at least H and W (see `mask_canvas.mask_canvases`); None:
            the detector does not learn masks.
    """

    image: np.ndarray
    image_info: np.ndarray
    image_id: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    valid: np.ndarray
    path: list[str]
    masks: np.ndarray | None = None

    def __getitem__(self, name: str) -> Any:
        if name not in self:
            raise KeyError(name)
        return getattr(self, name)

    def __contains__(self, name: object) -> bool:
        return name in _NAMES and (name != "masks" or self.masks is not None)

    def __iter__(self) -> Iterator[str]:
        return (name for name in _NAMES if name in self)

    def __len__(self) -> int:
        return len(_NAMES) - (self.masks is None)


_NAMES = tuple(one.name for one in fields(Batch))


@dataclass(frozen=True)
class MaskSize:
    """How large the masks of a batch are.

    Attributes:
        crop_size: S, side of an object's canvas in its own pixels.
        divider: network pixels per mask pixel; see `mask_canvas.mask_windows`.
    """

    crop_size: int
    divider: int = 1


@dataclass(frozen=True)
class BatchLayout:
    """The shapes of a batch, and what a slot of it gets.

    Attributes:
        batch_size: B, images of a batch on this rank.
        input_hw: height and width of the network's input.
        num_gts: N; of more objects the N largest are kept.
        normalizer: pixel values.
        masks: size of the masks, which samples then have; None: batches without masks.
        turning_hw: height and width of the frame that images are resized into, if it is turned for those that lie
            across it; None: all images get the same frame.
    """

    batch_size: int
    input_hw: tuple[int, int]
    num_gts: int
    normalizer: Normalizer
    masks: MaskSize | None = None
    turning_hw: tuple[int, int] | None = None

    def empty(self, turned: bool = False) -> Batch:
        """A batch whose slots are still to be written, of the frame as it is or `turned`."""
        size, gts = self.batch_size, self.num_gts
        input_hw = oriented(self.input_hw, turned)
        return Batch(
            image=np.empty((size, 3, *input_hw), np.float32),
            image_info=np.zeros((size, 6), np.float32),
            image_id=np.full(size, FILLER_ID, np.int64),
            boxes=np.zeros((size, gts, 4), np.float32),
            labels=np.zeros((size, gts), np.int32),
            valid=np.zeros((size, gts), bool),
            path=[""] * size,
            masks=None if self.masks is None else np.zeros((size, gts, *_mask_hw(self.masks, input_hw)), np.uint8),
        )

    def write_sample(self, batch: Batch, slot: int, record: Record, sample: Sample) -> None:
        """Put an image and its objects into a slot."""
        self.normalizer.write(sample.image, batch.image[slot])
        batch.image_info[slot] = image_info(sample)
        batch.image_id[slot] = record.image_id
        batch.path[slot] = record.name
        chosen = choose_targets(sample.boxes, sample.crowd, self.num_gts)
        batch.boxes[slot, : len(chosen)] = sample.boxes[chosen]
        batch.labels[slot, : len(chosen)] = sample.labels[chosen]
        batch.valid[slot, : len(chosen)] = True
        if batch.masks is not None:
            batch.masks[slot, : len(chosen)] = sample.canvases

    def write_filler(self, batch: Batch, slot: int) -> None:
        """Put a black image of the input's own size, scale 1, into a slot that no image is left for."""
        batch.image[slot] = 0
        input_hw = batch.image.shape[2:]
        batch.image_info[slot] = (*input_hw, *input_hw, 1, 1)


def _mask_hw(masks: MaskSize, input_hw: tuple[int, int]) -> tuple[int, int]:
    is_whole = holds_whole_bitmaps(masks.crop_size, input_hw)
    return input_hw if is_whole else (masks.crop_size, masks.crop_size)
