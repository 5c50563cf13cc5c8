"""Write Pascal VOC's layout: Annotations/, JPEGImages/ and ImageSets/Main/train.txt."""

from pathlib import Path
from xml.sax.saxutils import escape

from src.data.writers.api import ImagePlacer, WrittenImage, WrittenObject, WrittenSplit, write_text


def write(split: WrittenSplit, folder: Path, placer: ImagePlacer) -> Path:
    """Write a split; see `SplitWriter`.

    Boxes have fractions where the objects' boxes have. Masks are left out, and crowds become difficult: neither is
    learnt, nor counts in evaluation.
    """
    stems = []
    for image in split.images:
        placed = placer.place(image.path, folder / "JPEGImages")
        stems.append(placed.stem)
        objects = "".join(_object(one, split.class_names) for one in image.objects)
        write_text(folder / "Annotations" / f"{placed.stem}.xml", _annotation(placed.name, image, objects))
    if masks := sum(one.mask is not None for image in split.images for one in image.objects):
        split.problems.append(f"{folder}: {masks} masks are left out: Pascal VOC's XML has boxes alone")
    write_text(folder / "ImageSets" / "Main" / f"{split.name}.txt", "".join(f"{stem}\n" for stem in stems))
    return folder


def _annotation(name: str, image: WrittenImage, objects: str) -> str:
    size = f"<width>{image.width}</width><height>{image.height}</height><depth>3</depth>"
    return (
        f"<annotation>\n  <folder>JPEGImages</folder>\n  <filename>{escape(name)}</filename>\n"
        f"  <size>{size}</size>\n{objects}</annotation>\n"
    )


def _object(one: WrittenObject, class_names: list[str]) -> str:
    """VOC counts pixels from 1 and includes the last one."""
    corners = (one.box[0] + 1, one.box[1] + 1, one.box[2], one.box[3])
    names = ("xmin", "ymin", "xmax", "ymax")
    box = "".join(f"<{name}>{value:.9g}</{name}>" for name, value in zip(names, corners, strict=True))
    return (
        f"  <object>\n    <name>{escape(class_names[one.label])}</name>\n"
        f"    <difficult>{int(one.difficult or one.crowd)}</difficult>\n    <bndbox>{box}</bndbox>\n  </object>\n"
    )
