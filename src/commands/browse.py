"""Pages of pictures of a data set as the network sees it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from src.blocks.image_info import original_hw
from src.common.errors import UserError
from src.data.batch import FILLER_ID, Batch
from src.data.builders import build_eval_loader, build_train_loader
from src.data.loader import BatchLoader
from src.data.mask_canvas import paste_canvas
from src.data.masks import MaskPatch, tight_patch
from src.schema import Config
from src.visual.pictures import draw_objects, page, save_picture, side_by_side, with_title

COLUMNS = 4
IMAGES_PER_PAGE = 16


def browse(
    config: Config,
    output_dir: str | Path,
    split: str = "train",
    num_images: int = 32,
    before_after: bool = False,
) -> list[Path]:
    """Draw the first images of the first epochs, `IMAGES_PER_PAGE` per page, and print where the pages are.

    Args:
        config: data set, image size and augmentation.
        output_dir: made if needed; gets `<split>_01.png`, ...
        split: "train" or "val".
        num_images: how many; more than an epoch has are drawn from the next epochs, augmented anew.
        before_after: draw each training image twice, beside each other: only resized, and augmented.

    Returns:
        Paths of the pages.

    Raises:
        UserError: wrong arguments, or a data set that cannot be read.
    """
    if split not in ("train", "val"):
        raise UserError(f"--split {split}: must be train or val")
    if before_after and split != "train":
        raise UserError("--before_after: evaluation images are not augmented; give --split train")
    if not isinstance(num_images, int) or num_images < 1:
        raise UserError(f"--num_images {num_images}: must be a number of images")
    config = config.model_copy(update={"batch_size": 1, "test_batch_size": 1})
    loaders = [(build_train_loader if split == "train" else build_eval_loader)(config)]
    if before_after:
        loaders.insert(0, build_train_loader(config, augment=False))
    for problem in loaders[-1].dataset.problems:
        print(problem)
    output_dir = Path(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    pages: list[Path] = []
    pictures: list[np.ndarray] = []
    try:
        for batches in zip(*(_batches(loader, split, num_images) for loader in loaders), strict=True):
            drawn = [picture(batch, config) for batch in batches]
            pictures.append(side_by_side(drawn[0], drawn[1]) if before_after else drawn[0])
            if len(pictures) == IMAGES_PER_PAGE:
                pages.append(_save(output_dir, split, pages, pictures, before_after))
                pictures = []
    finally:
        for loader in loaders:
            loader.close()
    if pictures:
        pages.append(_save(output_dir, split, pages, pictures, before_after))
    print("\n".join(str(path) for path in pages))
    return pages


def picture(batch: Batch, config: Config) -> np.ndarray:
    """The first image of a batch, denormalised, with its boxes and masks: uint8 [h, w, 3] RGB."""
    image = denormalise(batch.image[0], config.img_mean, config.img_std, config.to_rgb)
    valid = batch.valid[0]
    boxes, labels = batch.boxes[0][valid], batch.labels[0][valid]
    masks = None
    if batch.masks is not None and config.mask_options is not None:
        masks = _patches(batch.masks[0][valid], boxes, config.mask_options.divider, (image.shape[0], image.shape[1]))
    drawn = draw_objects(image, boxes, labels, config.class_names, least_side=480, masks=masks)
    height, width = original_hw(batch.image_info[0]).astype(int)
    return with_title(drawn, f"{Path(batch.path[0]).name}  {width}x{height}, {np.count_nonzero(valid)} objects")


def denormalise(image: np.ndarray, mean: list[float], std: list[float], to_rgb: bool) -> np.ndarray:
    """Network input float32 [3, H, W] -> uint8 [H, W, 3] RGB; padding has the colour of the mean."""
    pixels = image.transpose(1, 2, 0) * np.array(std, np.float32) + np.array(mean, np.float32)
    pixels = np.clip(np.round(pixels), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(pixels if to_rgb else pixels[..., ::-1])


def _patches(canvases: np.ndarray, boxes: np.ndarray, divider: int, input_hw: tuple[int, int]) -> list[MaskPatch]:
    """Masks of a batch's objects, in pixels of the network's input."""
    pasted = (paste_canvas(canvas, box, divider, input_hw) for canvas, box in zip(canvases, boxes, strict=True))
    return [tight_patch((coverage >= 128).astype(np.uint8)) for coverage in pasted]


def _batches(loader: BatchLoader, split: str, count: int) -> Iterator[Batch]:
    """The first `count` batches that hold an image; training goes on through the epochs, evaluation has only one."""
    epoch = 0
    while count > 0 and (split == "train" or epoch == 0):
        for batch in loader.epoch(epoch):
            if batch.image_id[0] != FILLER_ID:
                yield batch
                count -= 1
            if count == 0:
                return
        epoch += 1


def _save(output_dir: Path, split: str, pages: list[Path], pictures: list[np.ndarray], before_after: bool) -> Path:
    path = output_dir / f"{split}_{len(pages) + 1:02d}.png"
    columns = COLUMNS // 2 if before_after else COLUMNS
    save_picture(path, page(pictures, min(columns, len(pictures)), 966 if before_after else 480))
    return path
