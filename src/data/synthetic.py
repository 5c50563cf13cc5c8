"""Write a synthetic detection data set in COCO format: shapes of 3 to 6 classes on textured backgrounds.

    python -m src.data.synthetic --output_dir data/shapes --train 2000 --val 200 --image_size 128 --classes 4 --seed 1

Makes OUTPUT/train and OUTPUT/validation, each with data/*.jpg and labels.json: boxes of the visible parts, polygons
(RLE where an object is partly hidden), crowds, and images without objects. The same options give the same files; the
first images do not depend on how many there are.
"""

import argparse
import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from src.common.errors import UserError
from src.common.program import run_command
from src.data.synthetic_scene import SceneObject, SceneOptions, random_scene
from src.data.synthetic_shapes import SHAPES

SPLITS = {"train": 1, "validation": 2}  # folder name: what its random numbers start from
JPEG_QUALITY = 95
FORMAT_VERSION = 1  # raise when the same options come to mean other images


def write_synthetic_dataset(
    output_dir: str | os.PathLike,
    train: int = 2000,
    val: int = 200,
    seed: int = 1,
    options: SceneOptions | None = None,
    overwrite: bool = False,
) -> list[str]:
    """Write both splits; one that is there already with the same options is kept.

    Args:
        output_dir: gets folders `train` and `validation`.
        train: number of training images; a split of 0 images is not written.
        val: number of validation images.
        seed: of everything random.
        options: what the images look like.
        overwrite: replace what is there, whatever it is.

    Returns:
        The class names, in label order.

    Raises:
        UserError: impossible options, or a folder in the way.
    """
    options = options or SceneOptions()
    _check(options, train, val)
    for split, count in (("train", train), ("validation", val)):
        if count:
            _write_split(Path(output_dir) / split, split, count, seed, options, overwrite)
    return options.class_names


def _write_split(folder: Path, split: str, count: int, seed: int, options: SceneOptions, overwrite: bool) -> None:
    """Write one split beside its place and move it there when it is complete."""
    info = {"description": "synthetic shapes", "version": FORMAT_VERSION, "seed": seed, "images": count}
    info |= asdict(options)
    if folder.exists():
        if not overwrite and _info_of(folder) == info:
            print(f"{folder}: already there, made with the same options")
            return
        if not overwrite:
            raise UserError(f"{folder} exists, not made with these options; give --overwrite 1 or another folder")
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    try:
        (partial / "data").mkdir(parents=True)
        content = _write_images(partial / "data", split, count, seed, options)
        (partial / "labels.json").write_text(json.dumps({"info": info, "licenses": [], **content}))
        if folder.exists():
            shutil.rmtree(folder)
        partial.replace(folder)
    except OSError as error:
        raise UserError(f"{error.filename or folder}: cannot be written ({error.strerror or error})") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_images(folder: Path, split: str, count: int, seed: int, options: SceneOptions) -> dict:
    """Write the images; return the annotation file's lists."""
    images: list[dict] = []
    annotations: list[dict] = []
    for index in tqdm(range(count), desc=f"synthetic {split} images", unit="image", disable=None):
        image, objects = random_scene(options, np.random.default_rng([seed, SPLITS[split], index]))
        name = f"{index + 1:06d}.jpg"
        quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)[1]
        (folder / name).write_bytes(encoded.tobytes())
        images.append({"id": index + 1, "file_name": name, "width": options.width, "height": options.height})
        annotations += [annotation(thing, len(annotations) + n + 1, index + 1) for n, thing in enumerate(objects)]
    categories = [
        {"id": label + 1, "name": name, "supercategory": "shape"} for label, name in enumerate(options.class_names)
    ]
    return {"images": images, "annotations": annotations, "categories": categories}


def annotation(thing: SceneObject, annotation_id: int, image_id: int) -> dict:
    """COCO annotation: a polygon for an object that is wholly visible, run lengths for all others."""
    polygon = [[round(float(value), 2) for value in thing.outline.ravel()]] if thing.whole else None
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": thing.label + 1,
        "bbox": list(thing.box),
        "area": int(thing.mask.sum()),
        "iscrowd": int(thing.crowd),
        "segmentation": polygon or run_lengths(thing.mask),
    }


def run_lengths(mask: np.ndarray) -> dict:
    """COCO's uncompressed RLE of a bool [H, W] mask: column by column, lengths of 0s and 1s in turn, 0s first."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat[0] else counts}


def _info_of(folder: Path) -> dict | None:
    """The options that a split was made with; None when it is not one of ours."""
    try:
        return json.loads((folder / "labels.json").read_bytes())["info"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _check(options: SceneOptions, train: int, val: int) -> None:
    smallest_side = min(options.width, options.height)
    wrong = [
        (train < 0 or val < 0 or train + val == 0, "train and val must be numbers of images, not both 0"),
        (not 3 <= options.classes <= len(SHAPES), f"classes must be 3 to {len(SHAPES)}, not {options.classes}"),
        (not 4 <= options.min_object <= options.max_object, "min_object must be at least 4 and at most max_object"),
        (options.max_object > smallest_side, f"max_object must be at most the image's smaller side, {smallest_side}"),
        (not 0 <= options.min_objects <= options.max_objects, "min_objects must be 0 to max_objects"),
        (not 0 < options.min_visible <= 1, "min_visible must be over 0 and at most 1"),
        (not 0 <= options.empty_share <= 1, "empty_share must be 0 to 1"),
        (not 0 <= options.crowd_share <= 1, "crowd_share must be 0 to 1"),
    ]
    for is_wrong, message in wrong:
        if is_wrong:
            raise UserError(message)


def _image_size(text: str) -> tuple[int, int]:
    """'128' or '640x480' -> (width, height)."""
    width, _, height = text.lower().partition("x")
    try:
        size = int(width), int(height or width)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a size; write 128, or 640x480 (width x height)") from None
    if min(size) < 16:
        raise argparse.ArgumentTypeError(f"'{text}' is too small; at least 16 pixels per side")
    return size


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    defaults = SceneOptions()
    parser = argparse.ArgumentParser(
        prog="python -m src.data.synthetic", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output_dir", required=True, help="gets train/ and validation/")
    parser.add_argument("--train", "--train_images", type=int, default=2000, help="training images (2000)")
    parser.add_argument("--val", "--val_images", type=int, default=200, help="validation images (200)")
    parser.add_argument("--image_size", type=_image_size, default=(128, 128), help="128, or 640x480 (128)")
    parser.add_argument("--classes", type=int, default=defaults.classes, help=f"of {', '.join(SHAPES)} (4)")
    parser.add_argument("--seed", type=int, default=1, help="of everything random (1)")
    parser.add_argument("--min_object", type=int, default=defaults.min_object, help="least longer side, pixels (16)")
    parser.add_argument("--max_object", type=int, help="greatest longer side, pixels (0.78 of the image's)")
    parser.add_argument("--min_objects", type=int, default=defaults.min_objects, help="least objects per image (1)")
    parser.add_argument("--max_objects", type=int, default=defaults.max_objects, help="most objects per image (5)")
    parser.add_argument("--min_visible", type=float, default=defaults.min_visible, help="least visible share (0.6)")
    parser.add_argument("--empty_share", type=float, default=defaults.empty_share, help="images without objects (0.04)")
    parser.add_argument("--crowd_share", type=float, default=defaults.crowd_share, help="images with a crowd (0.04)")
    parser.add_argument("--overwrite", type=int, default=0, help="1: replace what is there (0)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Read the arguments, then write both splits."""
    arguments = _arguments(argv)
    width, height = arguments.image_size
    options = SceneOptions(
        width=width,
        height=height,
        classes=arguments.classes,
        min_object=arguments.min_object,
        max_object=arguments.max_object or int(0.78 * min(width, height)),
        min_objects=arguments.min_objects,
        max_objects=arguments.max_objects,
        min_visible=arguments.min_visible,
        empty_share=arguments.empty_share,
        crowd_share=arguments.crowd_share,
    )
    names = write_synthetic_dataset(
        arguments.output_dir, arguments.train, arguments.val, arguments.seed, options, bool(arguments.overwrite)
    )
    counts = f"{arguments.train} train and {arguments.val} validation images"
    print(f"{arguments.output_dir}: {counts} of {', '.join(names)}")


if __name__ == "__main__":
    run_command(main)
