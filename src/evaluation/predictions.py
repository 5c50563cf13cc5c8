"""Prediction files: COCO's results format for evaluation, and the JSON that infer.py writes."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from src.common.atomic import atomic_path
from src.common.errors import UserError
from src.common.json_files import read_json_file
from src.common.text import shortened, shown
from src.data.detection_dataset import DetectionDataset


class _Strict(BaseModel):
    """Values of JSON as they are: a text is no number, and no number is infinite."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _Box(_Strict):
    x_min: float
    y_min: float
    width: float
    height: float


class _Class(_Strict):
    label: Annotated[int, Field(ge=0, lt=2**31)]
    category_id: int | Literal["unknown"]
    name: str


class _Prediction(_Strict):
    bbox: _Box
    class_: _Class = Field(alias="class")
    mask: dict | None = None
    score: float


class _ImageEntry(_Strict):
    height: Annotated[int, Field(gt=0, lt=2**31)]
    width: Annotated[int, Field(gt=0, lt=2**31)]
    predictions: list[_Prediction]


_ENTRIES = TypeAdapter(list[_ImageEntry])
_BOX_KEYS = ("x_min", "y_min", "width", "height")


def save_results(path: str | Path, results: list[dict]) -> None:
    """Write results in COCO's format (see `CocoEvaluator.results`), atomically."""
    text = json.dumps(results)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def load_results(path: str | Path, dataset: DetectionDataset | None = None) -> list[dict]:
    """Read results in COCO's format, or, for the images of `dataset`, the inference JSON.

    Raises:
        UserError: the file is missing, not JSON, or holds something else.
    """
    results = read_json(path, "predictions")
    if isinstance(results, dict) and results and all(_is_image_entry(entry) for entry in results.values()):
        if dataset is not None:
            _check_entries(path, results)
            return _results_of_entries(path, results, dataset)
        raise UserError(
            f"{path}: these are predictions of infer.py, which have no image ids; eval.py --prediction_path writes and "
            "reads COCO results (a list of image_id, category_id, bbox, score)"
        )
    if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
        raise UserError(f"{path}: not COCO results: a list of objects with image_id, category_id, bbox, score")
    return results


def image_entry(
    height: int,
    width: int,
    boxes: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray,
    class_names: list[str],
    category_ids: list[int],
    masks: list[dict] | None = None,
) -> dict:
    """What the inference JSON says of one image.

    Args:
        height: of the original image in pixels; no box reaches beyond it.
        width: likewise.
        boxes: [M, 4] xyxy in original-image pixels.
        scores: [M].
        labels: int [M], 0..K-1.
        class_names: K names.
        category_ids: K ids of the data set, or [] where they are not known.
        masks: M run-length codes {"size": [height, width], "counts": str}; None: the model has no masks.

    Returns:
        {"height", "width", "predictions": [{"bbox", "class", "mask" (if any), "score"}, ...]}, best score first.
    """
    corners = np.asarray(boxes, np.float64).reshape(-1, 4).clip(0, [width, height, width, height])
    predictions = []
    for row in np.argsort(-np.asarray(scores), kind="stable"):
        x1, y1, x2, y2 = corners[row].tolist()
        label = int(labels[row])
        predictions.append(
            {
                "bbox": {"x_min": x1, "y_min": y1, "width": x2 - x1, "height": y2 - y1},
                "class": {
                    "label": label,
                    "category_id": int(category_ids[label]) if category_ids else "unknown",
                    "name": class_names[label],
                },
                **({} if masks is None else {"mask": masks[row]}),
                "score": float(scores[row]),
            }
        )
    return {"height": int(height), "width": int(width), "predictions": predictions}


def coco_result(found: dict, image_id: int, category_id: int) -> dict:
    """One of the `predictions` of an `image_entry` as a COCO result."""
    box = [float(found["bbox"][key]) for key in _BOX_KEYS]
    result = {"image_id": image_id, "category_id": category_id, "bbox": box, "score": found["score"]}
    return result | ({"segmentation": found["mask"]} if "mask" in found else {})


def corners_of(predictions: list[dict]) -> np.ndarray:
    """Boxes float64 [N, 4], xyxy, of the `predictions` of an `image_entry`."""
    boxes = np.array([[p["bbox"][key] for key in _BOX_KEYS] for p in predictions], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def save_predictions(path: str | Path, predictions: dict[str, dict]) -> None:
    """Write the inference JSON, {image path: `image_entry`}, atomically."""
    text = json.dumps(predictions, indent=1, ensure_ascii=False)
    # Bytes of a file name that are not UTF-8, which Python holds as lone surrogates, stay in JSON's own spelling.
    text = re.sub("[\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def load_predictions(path: str | Path) -> dict[str, dict]:
    """Read the inference JSON.

    Raises:
        UserError: the file is missing, not JSON, or holds something else.
    """
    predictions = read_json(path, "predictions")
    if isinstance(predictions, list):
        raise UserError(f"{path}: these are COCO results (of eval.py); give the JSON that infer.py writes")
    for name, entry in predictions.items() if isinstance(predictions, dict) else [("the file", None)]:
        if not _is_image_entry(entry):
            where = f"{path}: {shortened(str(name), is_path=True)}"
            raise UserError(f"{where}: not a prediction of infer.py (height, width, predictions)")
    _check_entries(path, predictions)
    return predictions


def _check_entries(path: str | Path, predictions: dict) -> None:
    """Raise a UserError that names the first image whose entry is not as `image_entry` makes it."""
    for name in predictions:
        if not name or "\0" in name:
            raise UserError(f"{path}: {shown(name)} is not the name of an image")
    try:
        _ENTRIES.validate_python(list(predictions.values()))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        number, *place = first["loc"]
        name = list(predictions)[int(number)]
        what = f"{'.'.join(map(str, place))} is {shown(first['input'])}: {first['msg'].lower()}"
        raise UserError(f"{path}: {shortened(name, is_path=True)}: not as infer.py writes it: {what}") from None


def read_json(path: str | Path, what: str) -> dict | list:
    """Parsed JSON file; `what` names its kind in messages.

    Raises:
        UserError: the file is missing or not JSON.
    """
    return read_json_file(
        path, f"cannot read the {what} ({{}})", f"broken {what}, not JSON", f"broken {what}, not a text file in UTF-8"
    )


def _is_image_entry(entry: object) -> bool:
    return isinstance(entry, dict) and {"height", "width", "predictions"} <= entry.keys()


def _results_of_entries(path: str | Path, entries: dict[str, dict], dataset: DetectionDataset) -> list[dict]:
    """The inference JSON as COCO results: images by their path, or by their name where only one has it."""
    ids = {record.name: record.image_id for record in dataset.records}
    names = Counter(Path(name).name for name in ids)
    ids |= {Path(name).name: image for name, image in ids.items() if names[Path(name).name] == 1}
    category_of = dict(zip(dataset.class_names, dataset.category_ids, strict=True))
    results = []
    for name, entry in entries.items():
        image_id = ids.get(name, ids.get(Path(name).name))
        if image_id is None:
            raise UserError(f"{path}: {name} is not an image of {dataset.annotation_file}")
        for found in entry["predictions"]:
            category = category_of.get(found["class"]["name"])
            if category is None:
                named = shown(found["class"]["name"])
                raise UserError(f"{path}: {name}: {named} is not a class of {dataset.annotation_file}")
            results.append(coco_result(found, image_id, category))
    return results
