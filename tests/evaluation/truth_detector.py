"""A stand-in for a mask model: it finds the objects of a data set, with masks as coarse as a network's."""

import cv2
import numpy as np

from src.blocks.detections import Detections
from src.data.masks import decode_mask

SIDE = 28


class TruthDetector:
    """Finds every object of a `CocoDataset` read with masks, images told apart by their number in `images[:, 0, 0, 0]`.

    Args:
        dataset: its records are what is found.
        missed: every so many-th object is not found (0: none is missed).
    """

    def __init__(self, dataset, missed: int = 0) -> None:
        self.records, self.missed, self.training = dataset.records, missed, False

    def set_train(self, mode: bool) -> None:
        self.training = mode

    def predict(self, images: np.ndarray, image_info: np.ndarray) -> Detections:
        records = [self.records[int(number)] for number in images[:, 0, 0, 0]]
        rows = max(len(record.boxes) for record in records) + 2  # some are never valid
        found = Detections(
            np.zeros((len(records), rows, 4), np.float32),
            np.zeros((len(records), rows), np.float32),
            np.zeros((len(records), rows), np.int32),
            np.zeros((len(records), rows), bool),
            np.zeros((len(records), rows, SIDE, SIDE), np.float32),
        )
        for b, record in enumerate(records):
            for k, (box, label) in enumerate(zip(record.boxes, record.labels, strict=True)):
                found.boxes[b, k], found.labels[b, k], found.scores[b, k] = box, label, 0.9 - 0.01 * k
                found.valid[b, k] = not self.missed or (k + 1) % self.missed != 0
                bitmap = decode_mask(record.masks[k], record.height, record.width).bitmap(record.height, record.width)
                found.masks[b, k] = share_of_cells(bitmap, box)
        return found


def share_of_cells(bitmap: np.ndarray, box: np.ndarray) -> np.ndarray:
    """float32 [28, 28]: the share of each of the box's cells that the mask covers."""
    fine = 8 * SIDE
    scale_x, scale_y = (box[2] - box[0]) / fine, (box[3] - box[1]) / fine
    matrix = np.array([[scale_x, 0, box[0] + scale_x / 2 - 0.5], [0, scale_y, box[1] + scale_y / 2 - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    enlarged = cv2.warpAffine(bitmap.astype(np.float32), matrix.astype(np.float64), (fine, fine), flags=flags)
    return cv2.resize(enlarged, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def numbered_batches(dataset, size: int):
    """Batches of a loader, as far as the evaluation looks at them; the last one is filled up."""
    for start in range(0, len(dataset.records), size):
        records = dataset.records[start : start + size]
        numbers = np.zeros(size, np.float32)
        numbers[: len(records)] = np.arange(start, start + len(records))
        info = np.ones((size, 6), np.float32)
        info[: len(records), :2] = [(record.height, record.width) for record in records]
        ids = np.full(size, -1, np.int64)
        ids[: len(records)] = [record.image_id for record in records]
        images = np.broadcast_to(numbers[:, None, None, None], (size, 3, 2, 2))
        yield {"image": images, "image_info": info, "image_id": ids}
