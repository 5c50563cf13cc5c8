"""The files between the Ascend 310 program and postprocess.py: `result_Files/<stem>_0.bin` and `_1.bin` of each image.

`_0.bin` holds its boxes, float32 [N, 4], `_1.bin` its scores, float32 [N, C], without a header. Beside them,
`time_Result/test_perform_static.txt` says how long predictions took.
"""

from pathlib import Path

import numpy as np

from src.common.atomic import atomic_path
from src.common.errors import UserError

RESULTS, TIMES = "result_Files", "time_Result/test_perform_static.txt"
_FLOAT_BYTES = 4


def result_paths(folder: str | Path, image: str | Path) -> tuple[Path, Path]:
    """Files of an image's boxes and scores in the folder of results."""
    stem = Path(image).stem
    return Path(folder) / f"{stem}_0.bin", Path(folder) / f"{stem}_1.bin"


def write_results(folder: str | Path, image: str | Path, boxes: np.ndarray, scores: np.ndarray) -> None:
    """Write boxes [N, 4] and scores [N, C] of an image, each file complete or not at all.

    Raises:
        UserError: a file cannot be written.
    """
    for path, values in zip(result_paths(folder, image), (boxes, scores), strict=True):
        with atomic_path(path) as temporary:
            np.ascontiguousarray(values, np.float32).tofile(temporary)


def read_results(
    folder: str | Path, image: str | Path, anchors: int, classes: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Boxes float32 [anchors, 4] and scores float32 [anchors, classes] of an image; None where it has no files.

    They are mapped into memory, and read from the disk as they are used.

    Raises:
        UserError: one of the files is missing, or too short or too long.
    """
    paths = result_paths(folder, image)
    sizes = [path.stat().st_size if path.is_file() else None for path in paths]
    if sizes == [None, None]:
        return None
    arrays = []
    for path, size, columns in zip(paths, sizes, (4, classes), strict=True):
        expected = anchors * columns * _FLOAT_BYTES
        if size is None:
            raise UserError(
                f"{path} is missing, the other file of {Path(image).name} is there; predict that image again"
            )
        if size != expected:
            kind = "truncated" if size < expected else "of another network"
            raise UserError(
                f"{path}: {kind}: it has {size} bytes, float32 [{anchors}, {columns}] takes {expected}; predict again"
            )
        arrays.append(np.memmap(path, np.float32, "r", shape=(anchors, columns)))
    return arrays[0], arrays[1]


def write_times(folder: str | Path, milliseconds: list[float]) -> str:
    """Write the mean time of a prediction to `folder`; returns the line."""
    mean = float(np.mean(milliseconds))
    line = f"NN inference cost average time: {mean:g} ms of infer_count {len(milliseconds)}\n"
    with atomic_path(Path(folder) / TIMES) as temporary:
        temporary.write_text(line, encoding="utf-8")
    return line


def remove_earlier_results(folder: str | Path) -> None:
    """Remove the result files in a folder, and nothing else, so that no image keeps those of an earlier run."""
    for path in [*Path(folder).glob("*_0.bin"), *Path(folder).glob("*_1.bin")]:
        path.unlink()
