"""Records as COCO annotations, for the evaluation of data sets that have no annotation file in COCO's format."""

from collections.abc import Iterable

from pycocotools import mask as coco_mask

from src.data.masks import MaskError, Segmentation, run_length_code
from src.data.record import Record


def coco_ground_truth(records: Iterable[Record], class_names: list[str], category_ids: list[int]) -> dict:
    """Content of a COCO annotation file, all in memory.

    Args:
        records: images with their objects.
        class_names: foreground classes, label 0 first.
        category_ids: id of each class.

    Returns:
        images (id, file_name, height, width), categories, and annotations (id, image_id, category_id, bbox as x, y,
        width, height, area of the mask or else the box, iscrowd, difficult 0 or 1, and segmentation where it has one).
    """
    images: list[dict] = []
    annotations: list[dict] = []
    for record in records:
        images.append({"id": record.image_id, "file_name": record.name, "height": record.height, "width": record.width})
        for index in range(len(record.boxes)):
            annotations.append({"id": len(annotations) + 1, **_annotation(record, index, category_ids)})
    categories = [{"id": i, "name": name} for i, name in zip(category_ids, class_names, strict=True)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _annotation(record: Record, index: int, category_ids: list[int]) -> dict:
    x1, y1, x2, y2 = record.boxes[index].tolist()
    mask = record.masks[index] if record.masks is not None else None
    return {
        "image_id": record.image_id,
        "category_id": category_ids[record.labels[index]],
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": mask_area(mask, record.height, record.width) or (x2 - x1) * (y2 - y1),
        "iscrowd": int(record.crowd[index]),
        "difficult": 0 if record.difficult is None else int(record.difficult[index]),
        **({} if mask is None else {"segmentation": mask}),
    }


def mask_area(mask: Segmentation | None, height: int, width: int) -> float:
    """Pixels of a mask; 0 where there is none, or none that can be used."""
    try:
        return 0.0 if mask is None else float(coco_mask.area(run_length_code(mask, height, width)))
    except MaskError:
        return 0.0
