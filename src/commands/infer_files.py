"""What the Ascend 310 program does, on this machine: predicts a folder's images with a MINDIR, writes result files.

    python -m src.commands.infer_files --mindir_path retinanet.mindir --dataset_path val2017

It takes the program's arguments (ascend310_infer/README.md) and writes the same files.
"""

import argparse
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from src.common.errors import UserError
from src.common.program import run_command
from src.common.progress import with_progress
from src.data.image import ImageError, load_image
from src.data.image_files import find_images
from src.deploy.export_card import ExportCard
from src.deploy.result_files import RESULTS, remove_earlier_results, write_results, write_times
from src.evaluation.coco_annotations import read_annotations
from src.model_utils.device_adapter import setup_device
from src.schema import Config

logger = logging.getLogger("src.commands.infer_files")  # also where the module is run as a program

Predict = Callable[..., Sequence[np.ndarray]]


def infer_files(predict: Predict, card: ExportCard, images: list[Path], output: Path, sizes: dict | None = None) -> int:
    """Predict images one by one and write their results. One that cannot be read is reported and skipped.

    Args:
        predict: the card's inputs, image float32 [1, 3, H, W] and image_info [1, 6], if it is there -> its outputs.
        card: of the network.
        images: paths, whose stems name the result files.
        output: folder that gets result_Files/ and time_Result/.
        sizes: (height, width) by file name that images should have, with or without EXIF's rotation.

    Returns:
        How many images were predicted.

    Raises:
        UserError: no image could be read; a file cannot be written.
    """
    prepare = card.preprocessing.transform()
    remove_earlier_results(output / RESULTS)
    milliseconds = []
    for path in with_progress(images, len(images), "images"):
        try:
            prepared = prepare(load_image(path, (sizes or {}).get(path.name)))
        except ImageError as error:
            logger.warning(f"{error}; skipped")
            continue
        start = time.perf_counter()
        outputs = predict(*(value[None] for value in prepared[: len(card.inputs)]))
        milliseconds.append(1000 * (time.perf_counter() - start))
        write_results(output / RESULTS, path, [value[0] for value in outputs])
    if not milliseconds:
        raise UserError(f"{images[0].parent}: none of its images could be read")
    logger.info(f"{len(milliseconds)} of {len(images)} images predicted")
    logger.info(write_times(output, milliseconds).rstrip())
    return len(milliseconds)


def images_below(folder: str | Path) -> list[Path]:
    """The images in a folder and below it, nothing hidden, sorted by path.

    Raises:
        UserError: there is none, or two would have the same result files.
    """
    paths = find_images(folder, recursive=True)
    first: dict[str, Path] = {}
    for path in paths:
        if first.setdefault(path.stem, path) is not path:
            raise UserError(
                f"{path} and {first[path.stem]} would have the same result files; give one of them another name"
            )
    return paths


def annotated_sizes(anno_path: str | Path) -> dict[str, tuple[int, int]]:
    """(height, width) of the images of a COCO annotation file by their names, without folders."""
    try:
        images = read_annotations(anno_path)["images"]
        return {Path(image["file_name"]).name: (image["height"], image["width"]) for image in images}
    except (KeyError, TypeError) as error:
        raise UserError(f"{anno_path}: each of 'images' needs file_name, height and width ({error!r})") from None


def main() -> None:
    """Read the arguments, then predict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mindir_path", required=True, help="network, with its .json beside it")
    parser.add_argument("--dataset_path", required=True, help="folder of images")
    parser.add_argument("--anno_path", default="", help="COCO annotations: images must have the size they say")
    parser.add_argument("--output_path", default=".", help="where result_Files/ and time_Result/ are written")
    parser.add_argument("--device_id", type=int, default=0, help="read by the program for the chip only")
    args = parser.parse_args()
    if not Path(args.dataset_path).is_dir():
        raise UserError(f"--dataset_path: no such folder: {args.dataset_path}")
    images = images_below(args.dataset_path)
    sizes = annotated_sizes(args.anno_path) if args.anno_path else None

    from src.deploy.exported_model import open_exported

    setup_device(Config.model_construct(device_target="CPU"))
    exported = open_exported(args.mindir_path)
    infer_files(exported.run, exported.card, images, Path(args.output_path), sizes)


if __name__ == "__main__":
    run_command(main)
