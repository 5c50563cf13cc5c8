"""Builds the Ascend 310 program with its stand-in for the chip, and calls it."""

import atexit
import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "ascend310_infer"
NEEDED = "apt-get install g++ cmake libopencv-core-dev libopencv-imgproc-dev libopencv-imgcodecs-dev nlohmann-json3-dev"


@cache
def built_program() -> Path:
    """Folder of the build, made once a run of the tests, under sanitizers. Skips where libraries are missing."""
    if shutil.which("cmake") is None or shutil.which("g++") is None:
        pytest.skip(f"no cmake or no g++ here; {NEEDED}")
    folder = Path(mkdtemp(prefix="ascend310_infer_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    options = ("-DPREDICTOR=stand_in", "-DSANITIZE=ON", "-DUNIT_TESTS=ON", "-DCMAKE_BUILD_TYPE=Debug")
    done = configure(folder, *options)
    if done.returncode != 0 and "is missing" in done.stderr:
        pytest.skip(f"OpenCV or nlohmann's JSON library is not here; {NEEDED}")
    assert done.returncode == 0, done.stderr
    done = subprocess.run(["cmake", "--build", folder, "--parallel", "2"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


def configure(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["cmake", "-S", str(SOURCE), "-B", str(folder), *options]
    return subprocess.run(command, capture_output=True, text=True, env=environment or None)


def run_program(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(built_program() / "main"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)


def write_network(
    path: Path, size_hw=(64, 96), input_hw=(64, 96), anchors: int = 4000, classes: int = 3, **preprocessing
) -> Path:
    """A file that stands for a network, with its card."""
    card = {
        "format": "MINDIR",
        "form": "raw",
        "detector": "retinanet",
        "inputs": [{"name": "image", "shape": [1, 3, *input_hw], "dtype": "float32"}],
        "outputs": [
            {"name": "boxes", "shape": [1, anchors, 4], "dtype": "float32"},
            {"name": "scores", "shape": [1, anchors, classes], "dtype": "float32"},
        ],
        "preprocessing": {
            "img_height": size_hw[0],
            "img_width": size_hw[1],
            "input_height": input_hw[0],
            "input_width": input_hw[1],
            "keep_ratio": True,
            "to_rgb": True,
            "img_mean": [123.675, 116.28, 103.53],
            "img_std": [58.395, 57.12, 57.375],
            **preprocessing,
        },
        "class_names": [f"class {k}" for k in range(classes)],
    }
    path.write_bytes(b"a network")
    path.with_suffix(".json").write_text(json.dumps(card))
    return path


def as_detections(network: Path, rows: int, masks: bool = True) -> dict:
    """Let a network's card name detections, of an image and image_info; returns the card."""
    path = network.with_suffix(".json")
    card = json.loads(path.read_text())
    sides = {"boxes": [4], "scores": [], "labels": [], "valid": [], **({"masks": [28, 28]} if masks else {})}
    dtypes = {"labels": "int32", "valid": "bool"}
    card["form"] = "detections"
    card["inputs"].append({"name": "image_info", "shape": [1, 6], "dtype": "float32"})
    card["outputs"] = [
        {"name": name, "shape": [1, rows, *more], "dtype": dtypes.get(name, "float32")} for name, more in sides.items()
    ]
    path.write_text(json.dumps(card))
    return card


def seen_input(folder: Path, stem: str, input_hw: tuple[int, int]) -> np.ndarray:
    """The network's input float32 [3, H, W], which the stand-in repeats in its boxes and scores."""
    boxes, scores = (np.fromfile(folder / f"result_Files/{stem}_{k}.bin", np.float32) for k in (0, 1))
    values = np.concatenate([boxes, scores])
    count = 3 * input_hw[0] * input_hw[1]
    assert len(values) >= count
    return values[:count].reshape(3, *input_hw)
