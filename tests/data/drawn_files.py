"""Write small data sets as annotation tools do: YOLO, labelme, LVIS, CVAT."""

import base64
import json
from pathlib import Path

import cv2
import numpy as np

from tests.data.coco_files import NAMES, annotation, content
from tests.data.listed_files import write_image

TRIANGLE = [[10.5, 5.0], [30.0, 6.0], [20.0, 25.5]]


def write_yolo(root: Path, labels: dict[str, str], split: str = "train", header: str = "") -> Path:
    """Images of 40 x 60 pixels and their label files; data.yaml names them as the training and validation images."""
    for stem, text in labels.items():
        write_image(root / "images" / split / f"{stem}.png")
        path = root / "labels" / split / f"{stem}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    names = "".join(f"  {number}: {name}\n" for number, name in enumerate(NAMES))
    (root / "data.yaml").write_text(f"{header}train: images/train\nval: images/{split}\nnames:\n{names}")
    return root


def labelme_shape(label: str, points: list, shape_type: str | None = "polygon", **more) -> dict:
    return {"label": label, "points": points, "group_id": None, "shape_type": shape_type, "flags": {}, **more}


def labelme_file(shapes: list[dict], image: str, **more) -> dict:
    sides = {"imageHeight": 40, "imageWidth": 60}
    return {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": image, "imageData": None, **sides, **more}


def write_labelme(root: Path, files: dict[str, list[dict]]) -> Path:
    for stem, shapes in files.items():
        write_image(root / f"{stem}.png")
        (root / f"{stem}.json").write_text(json.dumps(labelme_file(shapes, f"{stem}.png")))
    return root


def png_text(pixels: np.ndarray) -> str:
    return base64.b64encode(cv2.imencode(".png", pixels * np.uint8(255))[1].tobytes()).decode()


def cvat_xml(shapes: dict[str, str], labels: tuple[str, ...] = tuple(NAMES)) -> str:
    named = "".join(f"<label><name>{name}</name><type>any</type></label>" for name in labels)
    images = "".join(
        f'<image id="{number}" name="{name}" width="60" height="40">\n{text}\n</image>\n'
        for number, (name, text) in enumerate(shapes.items())
    )
    meta = f"<meta><task><labels>{named}</labels></task></meta>\n" if labels else ""
    return (
        f"<?xml version='1.0' encoding='utf-8'?>\n<annotations>\n<version>1.1</version>\n{meta}{images}</annotations>\n"
    )


def write_cvat(root: Path, shapes: dict[str, str], labels: tuple[str, ...] = tuple(NAMES)) -> Path:
    for name in shapes:
        write_image(root / name)
    (root / "annotations.xml").write_text(cvat_xml(shapes, labels))
    return root


def lvis_content(count: int = 3) -> dict:
    """As LVIS 1 has it: no file names, no crowds, federated fields."""
    images = [
        {"id": 10 + 3 * n, "height": 40, "width": 60, "coco_url": f"http://images.cocodataset.org/train2017/{n}.png",
         "neg_category_ids": [90], "not_exhaustive_category_ids": [7]}
        for n in range(count)
    ]  # fmt: skip
    annotations = [annotation(n, 10 + 3 * n, [5 + n, 6, 20, 12]) for n in range(count)]
    for one in annotations:
        del one["iscrowd"]
    result = content(images, annotations)
    for category in result["categories"]:
        category |= {"frequency": "r", "synset": f"{category['name']}.n.01", "image_count": 1}
    return result


def write_lvis(root: Path, count: int = 3) -> Path:
    for n in range(count):
        write_image(root / "train2017" / f"{n}.png")
    path = root / "annotations" / "lvis_v1_train.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(lvis_content(count)))
    return root


def fiftyone_object(label: str | int, box: list, **more) -> dict:
    return {"label": label, "bounding_box": box, **more}


def write_fiftyone(root: Path, labels: dict[str, list[dict] | None], classes: list[str] | None = NAMES) -> Path:
    """Images of 40 x 60 pixels in data/, and labels.json."""
    for name in labels:
        write_image(root / "data" / f"{name}.png")
    content = {} if classes is None else {"classes": classes}
    (root / "labels.json").write_text(json.dumps({**content, "labels": labels}))
    return root
