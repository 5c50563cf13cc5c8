"""The files between the Ascend 310 program and postprocess.py: `result_Files/<stem>_0.bin` and so on of each image.

`_k.bin` holds output k of the network for the image, in the type and shape that the card has for it, little-endian and
without a header. The raw form has boxes (0) and scores (1), detections have boxes, scores, labels, valid and, where
there are masks, masks (4). Beside them, `time_Result/test_perform_static.txt` says how long predictions took.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src.common.atomic import atomic_path
from src.common.errors import UserError
from src.deploy.export_card import Port

RESULTS, TIMES = "result_Files", "time_Result/test_perform_static.txt"
RAW_FILES = 2  # of an image, in the raw form
MOST_FILES = 5


def result_paths(folder: str | Path, image: str | Path, count: int = RAW_FILES) -> tuple[Path, ...]:
    """Files of an image's outputs in the folder of results."""
    stem = Path(image).stem
    return tuple(Path(folder) / f"{stem}_{k}.bin" for k in range(count))


def write_results(folder: str | Path, image: str | Path, outputs: Sequence[np.ndarray]) -> None:
    """Write the outputs of an image, float32 (float64 becomes it), int32 or bool, each file complete or not at all.

    Raises:
        UserError: a file cannot be written.
    """
    for path, values in zip(result_paths(folder, image, len(outputs)), outputs, strict=True):
        array = np.asarray(values)
        with atomic_path(path) as temporary:
            np.ascontiguousarray(array, np.float32 if array.dtype.kind == "f" else array.dtype).tofile(temporary)


def read_results(folder: str | Path, image: str | Path, outputs: Sequence[Port]) -> list[np.ndarray] | None:
    """The outputs of an image; None where it has no files.

    They are mapped into memory, and read from the disk as they are used.

    Args:
        folder: of the results.
        image: its path or name.
        outputs: of the card; arrays have their types, and their shapes without the batch.

    Raises:
        UserError: one of the files is missing, or too short or too long.
    """
    paths = result_paths(folder, image, len(outputs))
    sizes = [path.stat().st_size if path.is_file() else None for path in paths]
    if not any(size is not None for size in sizes):
        return None
    arrays: list[np.ndarray] = []
    for path, size, port in zip(paths, sizes, outputs, strict=True):
        shape, dtype = tuple(port.shape[1:]), np.dtype(port.dtype)
        expected = int(np.prod(shape)) * dtype.itemsize
        if size is None:
            raise UserError(f"{path} is missing, other files of {Path(image).name} are there; predict that image again")
        if size != expected:
            kind = "truncated" if size < expected else "of another network"
            raise UserError(
                f"{path}: {kind}: it has {size} bytes, {dtype} {list(shape)} takes {expected}; predict again"
            )
        arrays.append(np.memmap(path, dtype, "r", shape=shape))
    return arrays


def write_times(folder: str | Path, milliseconds: list[float]) -> str:
    """Write the mean time of a prediction to `folder`; returns the line."""
    mean = float(np.mean(milliseconds))
    line = f"NN inference cost average time: {mean:g} ms of infer_count {len(milliseconds)}\n"
    with atomic_path(Path(folder) / TIMES) as temporary:
        temporary.write_text(line, encoding="utf-8")
    return line


def remove_earlier_results(folder: str | Path) -> None:
    """Remove the result files in a folder, and nothing else, so that no image keeps those of an earlier run."""
    for path in Path(folder).glob(f"*_[0-{MOST_FILES - 1}].bin"):
        path.unlink()
