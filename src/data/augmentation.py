"""The transforms of training in their order."""

from collections.abc import Sequence

from src.data.iou_crop import MinIoURandomCrop
from src.data.photometric import PhotometricDistortion
from src.data.transforms import RandomCrop, RandomExpand, RandomFlip, Resize, Transform


def train_transforms(
    target_hw: tuple[int, int],
    keep_ratio: bool,
    flip_ratio: float = 0.0,
    expand_ratio: float = 0.0,
    ratio_range: Sequence[float] = (1.0, 1.0),
    fill: Sequence[float] = (0.0, 0.0, 0.0),
    photo_ratio: float = 0.0,
    channel_order_ratio: float = 0.0,
    iou_crop_ratio: float = 0.0,
) -> list[Transform]:
    """Colours, expansion, crop around objects, resize with jitter, crop to size, flip; the classes say what each is.

    With photo_ratio 1, expand_ratio 0.5, iou_crop_ratio 1, flip_ratio 0.5 and keep_ratio false this is SSD's.
    """
    transforms: list[Transform] = []
    if photo_ratio > 0 or channel_order_ratio > 0:
        transforms.append(PhotometricDistortion(photo_ratio, channel_order_ratio))
    if expand_ratio > 0:
        transforms.append(RandomExpand(expand_ratio, fill))
    if iou_crop_ratio > 0:
        transforms.append(MinIoURandomCrop(iou_crop_ratio))
    transforms.append(Resize(target_hw, keep_ratio, ratio_range))
    if max(ratio_range) > 1:
        transforms.append(RandomCrop(target_hw))
    if flip_ratio > 0:
        transforms.append(RandomFlip(flip_ratio))
    return transforms
