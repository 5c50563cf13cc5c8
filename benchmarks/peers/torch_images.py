"""Images for PyTorch detectors, and their detections as COCO results: Pillow and torch alone."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F


def load(path: Path, size_hw: list[int], frame_hw: list[int], keep_ratio: bool, mean: list, std: list):
    """A network's input [3,H,W] of the frame's size, the resized height and width, and the original ones.

    The image is resized onto `size_hw` (or into it, where the ratio is kept), normalized, and padded with zeros at the
    right and below. Bilinear between pixel centres, without a filter before it, as the network was trained.
    """
    with Image.open(path) as image:
        pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).float()
    original_hw = pixels.shape[1:]
    height, width = size_hw
    if keep_ratio:
        factor = min(height / original_hw[0], width / original_hw[1])
        height, width = (round(side * factor) for side in original_hw)
    pixels = F.interpolate(pixels[None], (height, width), mode="bilinear", align_corners=False, antialias=False)[0]
    pixels = (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    return F.pad(pixels, (0, frame_hw[1] - width, 0, frame_hw[0] - height)), (height, width), tuple(original_hw)


def to_original(boxes: torch.Tensor, resized_hw: tuple[int, int], original_hw: tuple[int, int]) -> torch.Tensor:
    """Boxes [N,4] in the network's pixels -> in those of the original image, within it."""
    y, x = (old / new for old, new in zip(original_hw, resized_hw, strict=True))
    height, width = original_hw
    return (boxes * torch.tensor([x, y, x, y])).clamp(min=0).minimum(torch.tensor([width, height] * 2))


def results(image_id: int, boxes: torch.Tensor, scores: torch.Tensor, category_ids: list[int]) -> list[dict]:
    """COCO results of one image; boxes x1 y1 x2 y2 in its pixels, one category id per box."""
    return [
        {"image_id": image_id, "category_id": category, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}
        for (x1, y1, x2, y2), score, category in zip(boxes.tolist(), scores.tolist(), category_ids, strict=True)
    ]
