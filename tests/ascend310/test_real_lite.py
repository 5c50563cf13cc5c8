"""MindSpore Lite itself, on a CPU: an exported ONNX file, converted, gives ONNX Runtime's numbers and the same AP."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from src.common.private_folder import user_cache
from src.config import save_config
from src.data.image import load_image
from src.data.synthetic import main as write_synthetic
from src.deploy.export_card import ExportCard, load_card
from src.deploy.onnx_file import OnnxModel
from src.deploy.result_files import RESULTS, read_results
from src.predictor import Detector
from tests.ascend310.program import NEEDED, SOURCE
from tests.deploy.small_models import small_model
from tests.end_to_end.commands import ROOT, environment, run

pytestmark = pytest.mark.slow
NATIVE = Path(__file__).parent / "native"
PACKAGE = "mindspore-lite==2.0.0"  # the one that is a wheel; Python 3.7 is what its Python module wants, not its C++
IMAGES = "data/validation/data"
LIBRARIES = ("mindspore_converter", "mslite_converter_plugin", "mindspore_core")


def done(*words: object, **options) -> subprocess.CompletedProcess:
    finished = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=900, **options)
    assert finished.returncode == 0, f"{words}\n{finished.stdout[-2000:]}\n{finished.stderr[-2000:]}"
    return finished


@pytest.fixture(scope="module")
def lite(tmp_path_factory) -> Path:
    """A folder with the unpacked wheel (whl), the program and the converter built against it; skips without them."""
    if shutil.which("cmake") is None or shutil.which("g++") is None:
        pytest.skip(f"no cmake or no g++ here; {NEEDED}")
    wheel, folder = downloaded_wheel(), tmp_path_factory.mktemp("lite")
    with ZipFile(wheel) as archive:
        archive.extractall(folder / "whl")
    package, home = folder / "whl/mindspore_lite", folder / "home"
    (home / "runtime").mkdir(parents=True)
    (home / "runtime/include").symlink_to(package / "include")
    (home / "runtime/lib").symlink_to(package / "lib")
    (package / "lib/libmindspore-lite.so").symlink_to("libmindspore-extendrt_python.so")
    build = folder / "build"
    done("cmake", "-S", SOURCE, "-B", build, f"-DLITE_HOME={home}")
    done("cmake", "--build", build, "--parallel", "2")
    links = [f"-l{name}" for name in LIBRARIES]
    converter = ["g++", "-std=c++17", "-isystem", package, "-isystem", package / "include", NATIVE / "convert.cc"]
    done(*converter, "-o", folder / "convert", f"-L{package}/lib", *links, "-Wl,--allow-shlib-undefined")
    return folder


def downloaded_wheel() -> Path:
    """The wheel, kept in the user's cache; skips where it cannot be had."""
    folder = user_cache("mindspore_lite")
    if not list(folder.glob("mindspore_lite-*.whl")):
        options = ["--python-version", "3.7", "--only-binary=:all:", "--no-deps", "--dest", str(folder)]
        command = [sys.executable, "-m", "pip", "download", "-q", *options, PACKAGE]
        finished = subprocess.run(command, capture_output=True, text=True, timeout=900)
        if finished.returncode != 0:
            pytest.skip(f"{PACKAGE} cannot be downloaded: {finished.stderr.strip().splitlines()[-1:]}")
    (wheel,) = folder.glob("mindspore_lite-*.whl")
    return wheel


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """A folder with net.onnx, a small RetinaNet whose head serves several levels, and images with half of its finds."""
    folder = tmp_path_factory.mktemp("exported")
    write_synthetic(["--output_dir", str(folder / "data"), "--train", "1", "--val", "4", "--image_size", "128"])
    config = small_model("retinanet", folder)
    save_config(config, folder / "config.yaml")
    run("export.py", "--config_path", "config.yaml", "--file_name", "net", "--file_format", "ONNX", cwd=folder)
    path = folder / "data/validation/labels.json"
    labels = json.loads(path.read_text())
    detector = Detector(folder / "net.onnx", folder / "config.yaml")
    images = {image["id"]: folder / IMAGES / Path(image["file_name"]).name for image in labels["images"]}
    found = zip(images, detector.predict(list(images.values())), strict=True)
    objects = [one for image, detections in found for one in detections.to_coco(image)[::2]]
    for number, one in enumerate(objects, 1):
        one |= {"id": number, "area": one["bbox"][2] * one["bbox"][3], "iscrowd": 0}
    path.write_text(json.dumps(labels | {"annotations": objects}))
    return folder


@pytest.fixture(scope="module")
def converted(lite: Path, exported: Path) -> Path:
    """What Lite's converter makes of it: net.mindir, beside net.onnx and its card."""
    done(lite / "convert", "net.onnx", "net", cwd=exported, env=with_libraries(lite))
    return exported / "net.mindir"


def with_libraries(lite: Path) -> dict[str, str]:
    return {**os.environ, "LD_LIBRARY_PATH": str(lite / "whl/mindspore_lite/lib")}


def differences(folder: Path, results: Path, card: ExportCard) -> tuple[float, float]:
    """The largest differences of boxes (pixels) and scores in result files from what ONNX Runtime gives."""
    model, prepare = OnnxModel(folder / "net.onnx"), card.preprocessing.transform()
    worst = np.zeros(2)
    for path in sorted((folder / IMAGES).iterdir()):
        expected = model.run(prepare(load_image(path))[0][None])
        found = read_results(results, path, card.outputs[0].shape[1], len(card.class_names))
        assert found is not None
        worst = np.maximum(worst, [np.abs(f - e[0]).max() for f, e in zip(found, expected, strict=True)])
    return float(worst[0]), float(worst[1])


@pytest.mark.parametrize("threads", [1, 2])
def test_the_program_gives_onnx_runtimes_numbers(lite: Path, converted: Path, tmp_path: Path, threads: int) -> None:
    folder = converted.parent
    options = ["--dataset_path", folder / IMAGES, "--output_path", tmp_path, "--device", "CPU", "--threads", threads]
    done(lite / "build/main", "--mindir_path", converted, *options, env=with_libraries(lite))
    boxes, scores = differences(folder, tmp_path / RESULTS, load_card(folder / "net.onnx"))
    assert boxes < 1e-2 and scores < 1e-5


def test_on_to_the_same_ap(lite: Path, converted: Path, tmp_path: Path) -> None:
    """Lite, the program and postprocess.py against eval.py of the ONNX file."""
    folder, labels = converted.parent, converted.parent / "data/validation/labels.json"
    options = ["--dataset_path", folder / IMAGES, "--output_path", tmp_path, "--device", "CPU"]
    done(lite / "build/main", "--mindir_path", converted, *options, env=with_libraries(lite))
    python = [sys.executable, ROOT / "postprocess.py", "--mindir_path", converted, "--result_path", tmp_path / RESULTS]
    done(*python, "--anno_path", labels, "--prediction_path", tmp_path / "p.json", env=environment())
    words = ["--config_path", "config.yaml", "--checkpoint_path", "net.onnx", "--val_dataset", "data/validation"]
    run("eval.py", *words, cwd=folder)
    ours, expected = (json.loads(path.read_text())["stats"] for path in (tmp_path / "p_metrics.json",
                                                                           folder / "net_metrics.json"))  # fmt: skip
    assert 0.2 < expected["bbox_mAP"] < 0.95
    assert ours == pytest.approx(expected, abs=1e-3)
