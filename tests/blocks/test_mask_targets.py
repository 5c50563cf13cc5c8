import mindspore as ms
import numpy as np
import pytest

from src.blocks.mask_heads import MaskTargets
from src.data.mask_canvas import mask_canvases
from src.data.masks import MaskPatch
from tests.blocks import oracle

EXPECTED = oracle.arrays("mask_targets")
SHAPE = tuple(EXPECTED["bitmaps_shape"].tolist())
BITMAPS = np.unpackbits(EXPECTED["bitmaps"])[: np.prod(SHAPE)].reshape(SHAPE)
INPUT_HW = SHAPE[1:]
CORNERS = EXPECTED["rle_bbox"][:, :2]
BOXES = np.concatenate([CORNERS, CORNERS + EXPECTED["rle_bbox"][:, 2:]], 1).astype(np.float32)


def agreement(masks: np.ndarray, divider: int = 1) -> np.ndarray:
    """Share of pixels of each region that are mmdetection's; two images, of which the second holds the objects."""
    masks = np.stack([np.zeros_like(masks), masks])
    boxes = np.stack([np.zeros_like(BOXES), BOXES])
    rois = np.concatenate([np.ones((len(EXPECTED["rois"]), 1)), EXPECTED["rois"]], 1).astype(np.float32)
    matched = EXPECTED["gt_inds"].astype(np.int32) + len(BOXES)
    targets = MaskTargets(INPUT_HW, 28, divider)(*map(ms.Tensor, (masks, boxes, rois, matched))).asnumpy()
    assert targets.dtype == np.float32 and set(np.unique(targets)) <= {0.0, 1.0}
    return (targets == EXPECTED["target_bitmap28"]).mean((1, 2))


@pytest.mark.parametrize("whole", [1, 255])
def test_whole_bitmaps_give_mmdetections_targets(whole, mode):
    assert (agreement(BITMAPS * np.uint8(whole)) == 1).all()


@pytest.mark.parametrize(
    "size, divider, all_pixels, worst_region", [(128, 1, 0.9999, 0.999), (64, 1, 0.995, 0.99), (64, 2, 0.97, 0.8)]
)
def test_canvases_give_them_but_for_a_few_pixels(size, divider, all_pixels, worst_region, pynative):
    patches = [MaskPatch(bitmap, 0, 0) for bitmap in BITMAPS]
    canvases = mask_canvases(patches, BOXES, (1.0, 0.0, 1.0, 0.0), INPUT_HW, size, divider)
    assert canvases.shape == (len(BOXES), size, size)
    shares = agreement(canvases, divider)
    assert shares.mean() > all_pixels and shares.min() > worst_region


def test_a_region_without_area_or_object_is_empty(pynative):
    masks = ms.Tensor(np.zeros((1, 2, 8, 8), np.uint8))
    boxes, rois = ms.Tensor(np.zeros((1, 2, 4), np.float32)), ms.Tensor(np.zeros((3, 5), np.float32))
    targets = MaskTargets((64, 64))(masks, boxes, rois, ms.Tensor([0, 1, 0], ms.int32))
    assert targets.shape == (3, 28, 28) and targets.asnumpy().sum() == 0
