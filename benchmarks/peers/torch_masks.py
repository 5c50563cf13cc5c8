"""Peer of mask_evaluation.py: pastes mask by mask with PyTorch, encodes with pycocotools; one request a line."""

import sys
import time

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch.nn.functional import grid_sample
from torchvision.models.detection.roi_heads import paste_masks_in_image


def grid_sample_masks(probabilities: torch.Tensor, boxes: torch.Tensor, height: int, width: int, threshold: float):
    """Bool [height, width] of each mask, bilinear, computed near its box only, as mmdetection does on CPU."""
    for mask, box in zip(probabilities, boxes, strict=True):
        x1, y1, x2, y2 = box.tolist()
        left, top = max(int(x1) - 1, 0), max(int(y1) - 1, 0)
        right, bottom = min(int(np.ceil(x2)) + 1, width), min(int(np.ceil(y2)) + 1, height)
        x = (torch.arange(left, right, dtype=torch.float32) + 0.5 - x1) / (x2 - x1) * 2 - 1
        y = (torch.arange(top, bottom, dtype=torch.float32) + 0.5 - y1) / (y2 - y1) * 2 - 1
        grid = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], dim=2)
        bitmap = torch.zeros(height, width, dtype=torch.bool)
        bitmap[top:bottom, left:right] = (
            grid_sample(mask[None, None], grid[None], align_corners=False)[0, 0] >= threshold
        )
        yield bitmap


def torchvision_masks(probabilities: torch.Tensor, boxes: torch.Tensor, height: int, width: int, threshold: float):
    """uint8 [height, width] of each mask."""
    return (paste_masks_in_image(probabilities[:, None], boxes, (height, width))[:, 0] >= threshold).to(torch.uint8)


PASTE = {"grid_sample": grid_sample_masks, "torchvision": torchvision_masks}


def main() -> None:
    torch.set_num_threads(1)
    height, width, threshold = int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    with np.load(sys.argv[1]) as data:
        probabilities, boxes = torch.from_numpy(data["probabilities"]), torch.from_numpy(data["boxes"])
    for line in sys.stdin:
        name, *output = line.split()
        start = time.perf_counter()
        codes = [
            [
                coco_mask.encode(np.asfortranarray(bitmap.numpy().astype(np.uint8)))["counts"].decode()
                for bitmap in PASTE[name](probabilities[image], boxes[image], height, width, threshold)
            ]
            for image in range(len(boxes))
        ]
        seconds = time.perf_counter() - start
        if output:
            np.savez(output[0], counts=np.array(codes[0]))
        print(seconds, flush=True)


if __name__ == "__main__":
    with torch.inference_mode():
        main()
