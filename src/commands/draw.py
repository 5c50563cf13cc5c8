"""Draw the JSON of infer.py: the work of draw_predictions.py."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.common.errors import UserError
from src.data.coco_content import check_annotations
from src.data.image import ImageError, load_image
from src.data.masks import MaskError, MaskPatch, decode_mask
from src.data.reader_checks import box_numbers
from src.evaluation.coco_annotations import read_annotations
from src.evaluation.predictions import corners_of, load_predictions
from src.visual.pictures import draw_objects, page, save_picture, side_by_side, with_title

logger = logging.getLogger(__name__)

IMAGES_PER_PAGE = 12


@dataclass
class Drawn:
    """Objects of one image: boxes xyxy in pixels [N, 4], class names; scores, crowd flags, masks where they exist."""

    boxes: np.ndarray
    names: list[str]
    scores: list[float] | None = None
    crowd: list[bool] | None = None
    masks: list[MaskPatch] | None = None


def draw_predictions(
    pred_json: str | Path,
    output_dir: str | Path,
    score_thr: float = 0.3,
    annotations: str | Path | None = None,
    max_images: int = 0,
    with_pages: bool = False,
) -> list[Path]:
    """Draw each image's predictions to a PNG file named after the image.

    Args:
        pred_json: what infer.py wrote.
        output_dir: for the files; made if needed.
        score_thr: minimum score of a box to draw.
        annotations: COCO annotation file, or a data set folder: ground truth is drawn on the left.
        max_images: draw only the first so many; 0: all.
        with_pages: also write pages of IMAGES_PER_PAGE pictures: page_001.png, ...

    Returns:
        The files written, pages last. Images that cannot be read are reported and skipped.

    Raises:
        UserError: broken files, or no image that could be read.
    """
    predictions = load_predictions(pred_json)
    entries = list(predictions.items())[: max_images or None]
    truth = None if annotations is None else _GroundTruth(annotations)
    colors = _ColorOf(predictions, truth)
    output_dir, skipped = Path(output_dir), 0
    written: list[Path] = []
    pages = _Pages(output_dir)
    for name, entry in entries:
        if (image := _load(name, entry, Path(pred_json))) is None:
            skipped += 1
            continue
        found = _predicted(entry, score_thr, f"{pred_json}: {name}")
        title = f"{Path(name).name}: {len(found.names)} predicted, score >= {score_thr:g}"
        picture = _draw(image, found, colors, title)
        if truth is not None:
            picture = side_by_side(_draw_truth(image, name, truth, colors, found.masks is not None), picture)
        written.append(_free_name(output_dir, name, written))
        save_picture(written[-1], picture)
        if with_pages:
            pages.add(picture)
    pages.write()
    if not written:
        raise UserError(f"{pred_json}: none of its {len(entries)} images could be read; start this where infer.py ran")
    logger.info(f"{len(written)} pictures and {len(pages.paths)} pages are in {output_dir} ({skipped} images skipped)")
    return written + pages.paths


class _Pages:
    """Pages of IMAGES_PER_PAGE pictures, each written as soon as it is full: page_001.png, ..."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths: list[Path] = []
        self.pictures: list[np.ndarray] = []

    def add(self, picture: np.ndarray) -> None:
        """Put a picture on the current page."""
        self.pictures.append(picture)
        if len(self.pictures) == IMAGES_PER_PAGE:
            self.write()

    def write(self) -> None:
        """Write the current page, of about square shape, unless it is empty."""
        if not self.pictures:
            return
        self.paths.append(self.folder / f"page_{len(self.paths) + 1:03d}.png")
        ratio = np.mean([picture.shape[0] / picture.shape[1] for picture in self.pictures])
        columns = min(len(self.pictures), max(1, round(float(np.sqrt(len(self.pictures) * ratio)))))
        cell_width = int(np.clip(1600 // columns, 320, 1000))
        save_picture(self.paths[-1], page(self.pictures, columns, cell_width))
        self.pictures = []


class _GroundTruth:
    """Objects of COCO annotations by the name of the image file."""

    def __init__(self, source: str | Path) -> None:
        path = Path(source)
        if path.is_dir() or not path.exists():
            from src.data.formats.coco_files import find_annotation_file

            path = find_annotation_file(path, "val")
        content = read_annotations(path)
        self.names = {category["id"]: str(category["name"]) for category in content.get("categories") or []}
        self.image_id = {Path(str(image.get("file_name", ""))).name: image["id"] for image in content["images"]}
        self.annotations: dict[object, list[dict]] = {}
        for annotation in check_annotations(content, path) if content.get("annotations") else []:
            try:
                box_numbers(annotation.get("bbox"))
            except ValueError:  # a picture shows what there is
                continue
            self.annotations.setdefault(annotation["image_id"], []).append(annotation)

    def objects_of(self, image: str, size: tuple[int, int] | None) -> Drawn | None:
        """Objects of the image file, None if it is not in the annotations; with masks where a size (h, w) is given."""
        if Path(image).name not in self.image_id:
            return None
        own = self.annotations.get(self.image_id[Path(image).name], [])
        boxes = np.array([annotation["bbox"] for annotation in own], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        names = [self.names.get(annotation.get("category_id"), "?") for annotation in own]
        masks = (
            None if size is None else [_mask_or_nothing(annotation.get("segmentation"), *size) for annotation in own]
        )
        return Drawn(boxes, names, None, [bool(annotation.get("iscrowd", 0)) for annotation in own], masks)


class _ColorOf:
    """One number (thus one colour) per class name, the same for predictions and ground truth."""

    def __init__(self, predictions: dict[str, dict], truth: _GroundTruth | None) -> None:
        known = {
            p["class"]["name"]: int(p["class"]["label"]) for entry in predictions.values() for p in entry["predictions"]
        }
        names = [name for name, _ in sorted(known.items(), key=lambda item: item[1])]
        names += [name for name in (truth.names.values() if truth else []) if name not in known] + ["?"]
        self.names = names
        self.index = {name: i for i, name in enumerate(names)}


def _draw(image: np.ndarray, objects: Drawn, colors: _ColorOf, title: str) -> np.ndarray:
    labels = [colors.index[name] for name in objects.names]
    drawn = draw_objects(image, objects.boxes, labels, colors.names, objects.scores, objects.crowd, masks=objects.masks)
    return with_title(drawn, title)


def _draw_truth(image: np.ndarray, name: str, truth: _GroundTruth, colors: _ColorOf, with_masks: bool) -> np.ndarray:
    height, width = image.shape[:2]
    objects = truth.objects_of(name, (height, width) if with_masks else None)
    title = "not in the annotations" if objects is None else f"ground truth: {len(objects.names)}"
    return _draw(image, objects or Drawn(np.zeros((0, 4)), []), colors, title)


def _mask_or_nothing(segmentation: list | dict | None, height: int, width: int) -> MaskPatch:
    """The mask, empty when the annotation has none that can be decoded: a picture shows what there is."""
    try:
        return decode_mask(segmentation or [], height, width)
    except MaskError:
        return MaskPatch(np.zeros((0, 0), np.uint8), 0, 0)


def _predicted(entry: dict, score_thr: float, where: str) -> Drawn:
    kept = [p for p in entry["predictions"] if p["score"] >= score_thr]
    names, scores = [p["class"]["name"] for p in kept], [float(p["score"]) for p in kept]
    with_masks = any("mask" in p for p in entry["predictions"])
    size = entry["height"], entry["width"]
    try:
        masks = [decode_mask(p.get("mask") or [], *size) for p in kept] if with_masks else None
    except MaskError as error:
        raise UserError(f"{where}: a mask cannot be drawn: {error}") from error
    return Drawn(corners_of(kept), names, scores, masks=masks)


def _load(name: str, entry: dict, pred_json: Path) -> np.ndarray | None:
    """The image of a prediction, None (and a warning) where it cannot be read."""
    try:
        return load_image(_find_image(name, pred_json), (entry["height"], entry["width"]))
    except ImageError as error:
        logger.warning(f"{error}; skipped")
        return None


def _find_image(name: str, pred_json: Path) -> Path:
    """The image as named, or, where the JSON was moved together with its images, relative to it or beside it."""
    choices = [Path(name), pred_json.parent / name, pred_json.parent / Path(name).name]
    return next((path for path in choices if path.is_file()), choices[0])


def _free_name(folder: Path, image: str, used: list[Path]) -> Path:
    """folder/<image's name>.png; with the old suffix too when a.jpg and a.png are both drawn."""
    path = folder / f"{Path(image).stem}.png"
    return path if path not in used else folder / f"{Path(image).name}.png"
