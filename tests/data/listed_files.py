"""Write small Pascal VOC folders and TXT lists for tests."""

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import cv2

from src.data.formats.coco import CocoDataset
from tests.data.coco_files import NAMES, noise_image

Box = tuple[float, float, float, float]


def write_image(path: Path, height: int = 40, width: int = 60) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imencode(".png", noise_image(height, width))[1].tofile(path)


def voc_object(name: str, box: Box, difficult: int = 0) -> str:
    """An object of a 0-based, half-open box."""
    x1, y1, x2, y2 = (f"{value:.10g}" for value in (box[0] + 1, box[1] + 1, box[2], box[3]))
    corners = f"<xmin>{x1}</xmin>\n<ymin>{y1}</ymin>\n<xmax>{x2}</xmax>\n<ymax>{y2}</ymax>"
    return (
        f"<object>\n<name>{escape(name)}</name>\n<difficult>{difficult}</difficult>\n<bndbox>\n{corners}\n</bndbox>\n"
        "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>\n</object>\n"
    )


def voc_xml(objects: str = "", size_hw: tuple[int, int] | None = (40, 60), filename: str = "") -> str:
    size = ""
    if size_hw is not None:
        size = f"<size><width>{size_hw[1]}</width><height>{size_hw[0]}</height><depth>3</depth></size>\n"
    return f"<annotation>\n<filename>{filename}</filename>\n{size}{objects}</annotation>\n"


def write_year(
    year: Path, lists: dict[str, Sequence[str]], annotated: Sequence[str] | None = None, images: str = "JPEGImages"
) -> Path:
    """A year's folder with lists of stems; image n of all stems has n % 3 objects, and XML if `annotated`."""
    stems = sorted({stem for names in lists.values() for stem in names})
    (year / "Annotations").mkdir(parents=True)
    for n, stem in enumerate(stems):
        write_image(year / images / f"{stem}.png")
        objects = "".join(voc_object(NAMES[k], (5 + 4 * k, 6 + n, 25 + 4 * k, 18 + n)) for k in range(n % 3))
        if annotated is None or stem in annotated:
            (year / "Annotations" / f"{stem}.xml").write_text(voc_xml(objects))
    for name, names in lists.items():
        path = year / "ImageSets" / "Main" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{stem}\n" for stem in names))
    return year


def voc_copy(dataset: CocoDataset, year: Path, list_name: str) -> Path:
    """A VOC folder with the records of a COCO data set."""
    (year / "Annotations").mkdir(parents=True)
    (year / "JPEGImages").symlink_to(dataset.images_dir)
    main = year / "ImageSets" / "Main"
    main.mkdir(parents=True)
    stems = [Path(record.image).stem for record in dataset.records]
    for stem, record in zip(stems, dataset.records, strict=True):
        pairs = zip(record.labels, record.boxes.tolist(), strict=True)
        objects = "".join(voc_object(dataset.class_names[label], box) for label, box in pairs)
        (year / "Annotations" / f"{stem}.xml").write_text(voc_xml(objects, (record.height, record.width)))
    (main / f"{list_name}.txt").write_text("\n".join(stems))
    return year


def txt_copy(dataset: CocoDataset, path: Path) -> Path:
    """A TXT list with the records of a COCO data set."""
    lines = []
    for record in dataset.records:
        pairs = zip(record.boxes.tolist(), record.labels, strict=True)
        objects = [f"{','.join(f'{value:.10g}' for value in box)},{label + 1}" for box, label in pairs]
        lines.append(" ".join([Path(record.image).name, *objects]))
    path.write_text("\n".join(lines) + "\n")
    return path
