"""MindSpore Lite itself, on a CPU: what export.py converts gives ONNX Runtime's numbers and the same AP."""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from src.common.errors import UserError
from src.config import load_config, save_config
from src.data.image import load_image
from src.data.synthetic import main as write_synthetic
from src.deploy.export_card import ExportCard, load_card, sha256_of
from src.deploy.exported_model import ExportedDetector
from src.deploy.lite import LiteModel, convert_by_lite
from src.deploy.lite.programs import CONVERTER
from src.deploy.onnx_file import OnnxModel
from src.deploy.result_files import RESULTS, read_results
from src.predictor import Detector
from src.schema import Config
from src.weights.zoo import zoo_config
from tests.ascend310.lite_wheel import unpacked_lite
from tests.ascend310.program import NEEDED, ROOT, SOURCE
from tests.deploy.small_models import small_model
from tests.end_to_end.commands import run
from tests.scripts.shell import run_script

pytestmark = pytest.mark.slow
IMAGES = "data/validation/data"


def done(*words: object, **options) -> subprocess.CompletedProcess:
    finished = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=900, **options)
    assert finished.returncode == 0, f"{words}\n{finished.stdout[-2000:]}\n{finished.stderr[-2000:]}"
    return finished


@pytest.fixture(scope="module")
def lite(tmp_path_factory) -> Path:
    """A folder with the unpacked wheel (whl) and the program built against it (build); skips without them."""
    if shutil.which("cmake") is None or shutil.which("g++") is None:
        pytest.skip(f"no cmake or no g++ here; {NEEDED}")
    folder = tmp_path_factory.mktemp("lite")
    unpacked_lite(folder / "whl")
    build = folder / "build"
    done("cmake", "-S", SOURCE, "-B", build, f"-DLITE_HOME={folder / 'whl/mindspore_lite'}")
    done("cmake", "--build", build, "--parallel", "2")
    return folder


@pytest.fixture(scope="module")
def converted(tmp_path_factory, lite: Path) -> Path:
    """net.mindir, net.onnx and images with half of its finds: a small RetinaNet, whose head serves several levels."""
    folder = tmp_path_factory.mktemp("exported")
    write_synthetic(["--output_dir", str(folder / "data"), "--train", "1", "--val", "4", "--image_size", "128"])
    config = small_model("retinanet", folder)
    save_config(config, folder / "config.yaml")
    export_by_lite(lite, folder)
    path = folder / "data/validation/labels.json"
    labels = json.loads(path.read_text())
    detector = Detector(folder / "net.onnx", folder / "config.yaml")
    images = {image["id"]: folder / IMAGES / Path(image["file_name"]).name for image in labels["images"]}
    found = zip(images, detector.predict(list(images.values())), strict=True)
    objects = [one for image, detections in found for one in detections.to_coco(image)[::2]]
    for number, one in enumerate(objects, 1):
        one |= {"id": number, "area": one["bbox"][2] * one["bbox"][3], "iscrowd": 0}
    path.write_text(json.dumps(labels | {"annotations": objects}))
    return folder / "net.mindir"


def export_by_lite(lite: Path, folder: Path) -> str:
    """Export the folder's config.yaml as net.mindir; returns what was printed."""
    words = ["--config_path", "config.yaml", "--file_name", "net", "--file_format", "LITE"]
    return run("export.py", *words, cwd=folder, LITE_HOME=str(lite / "whl/mindspore_lite"))[0]


def run_program(lite: Path, network: Path, output: Path, threads: int) -> None:
    """Predict the images of the network's folder by the program."""
    words = ["--mindir_path", network, "--dataset_path", network.parent / IMAGES, "--output_path", output]
    libraries = {**os.environ, "LD_LIBRARY_PATH": str(lite / "whl/mindspore_lite/lib")}
    done(lite / "build/main", *words, "--device", "CPU", "--threads", threads, env=libraries)


def differences(folder: Path, results: Path, card: ExportCard) -> tuple[float, float]:
    """The largest differences of boxes (pixels) and scores in result files from what ONNX Runtime gives."""
    model, prepare = OnnxModel(folder / "net.onnx"), card.preprocessing.transform()
    worst = np.zeros(2)
    for path in sorted((folder / IMAGES).iterdir()):
        expected = model.run(prepare(load_image(path))[0][None])
        found = read_results(results, path, card.outputs)
        assert found is not None
        worst = np.maximum(worst, [np.abs(f - e[0]).max() for f, e in zip(found, expected, strict=True)])
    return float(worst[0]), float(worst[1])


@pytest.mark.parametrize("threads", [1, 2])
def test_the_program_gives_onnx_runtimes_numbers(lite: Path, converted: Path, tmp_path: Path, threads: int) -> None:
    folder = converted.parent
    run_program(lite, converted, tmp_path, threads)
    boxes, scores = differences(folder, tmp_path / RESULTS, load_card(folder / "net.onnx"))
    assert boxes < 1e-2 and scores < 1e-5


def test_the_card_names_the_file_that_was_converted(converted: Path) -> None:
    card, source = load_card(converted), load_card(converted.with_suffix(".onnx"))
    assert (card.format, card.source, card.source_sha256) == ("LITE", "net.onnx", source.sha256)
    assert card.source_sha256 == sha256_of(converted.with_suffix(".onnx"))
    assert card.outputs == source.outputs


def test_on_to_the_same_ap(lite: Path, converted: Path, tmp_path: Path) -> None:
    """Lite, the program and postprocess.py, by the published script, against eval.py of the ONNX file."""
    stats = stats_by_the_script(lite, converted, tmp_path)
    assert stats_of(converted.parent, "net.onnx", "net_metrics.json") == pytest.approx(stats, abs=1e-3)


def stats_by_the_script(lite: Path, network: Path, output: Path) -> dict[str, float]:
    """What run_infer_310.sh measures of a network on its folder's images."""
    folder, labels = network.parent, network.parent / "data/validation/labels.json"
    places = {"LITE_HOME": str(lite / "whl/mindspore_lite"), "BUILD_DIR": str(lite / "build"), "DEVICE_TARGET": None}
    words = [network, folder / IMAGES, labels, "0", "--device", "CPU"]
    finished = run_script("run_infer_310.sh", *words, cwd=output, timeout=600, **places)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return json.loads((output / "predictions_metrics.json").read_text())["stats"]


def stats_of(folder: Path, network: str, metrics: str, **environment: str) -> dict[str, float]:
    """What eval.py measures of a network on the folder's images."""
    words = ["--config_path", "config.yaml", "--checkpoint_path", network, "--val_dataset", "data/validation"]
    run("eval.py", *words, cwd=folder, **environment)
    stats = json.loads((folder / metrics).read_text())["stats"]
    assert 0.2 < stats["bbox_mAP"] < 0.95
    return stats


def of_zoo(name: str) -> Config:
    return load_config(zoo_config(name), {"checkpoint_path": name, "device_target": "CPU"})


def exported_by_lite(lite: Path, config: Config, folder: Path) -> Path:
    """net.mindir and net.onnx of a network, and images of drawn shapes."""
    write_synthetic(["--output_dir", str(folder / "data"), "--train", "1", "--val", "6", "--image_size", "128"])
    save_config(config, folder / "config.yaml")
    assert "largest difference of MindSpore Lite from ONNX Runtime" in export_by_lite(lite, folder)
    return folder / "net.mindir"


@pytest.fixture(scope="module")
def mask_model(tmp_path_factory, lite: Path) -> Path:
    """net.mindir and net.onnx of the trained Mask R-CNN of the drawn shapes, and images with masks."""
    return exported_by_lite(lite, of_zoo("zoo:shapes_mask_rcnn"), tmp_path_factory.mktemp("masks"))


def compare_detections(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> None:
    """Boxes to 0.001 pixel, scores and masks to 0.0001, the same labels in the same rows."""
    assert expected[3].any()
    np.testing.assert_allclose(found[0], expected[0], atol=1e-3, rtol=0)
    np.testing.assert_array_equal(np.stack(found[2:4]), np.stack(expected[2:4]))
    for place in (1, 4):
        np.testing.assert_allclose(found[place], expected[place], atol=1e-4, rtol=0)


def finds_the_same(lite: Path, network: Path, output: Path, threads: int) -> None:
    """Whether Lite finds what ONNX Runtime finds, from Python and by the program."""
    folder = network.parent
    run_program(lite, network, output, threads)
    card, reference, model = load_card(network), OnnxModel(folder / "net.onnx"), LiteModel(network, threads)
    prepare = card.preprocessing.transform()
    for path in sorted((folder / IMAGES).iterdir()):
        inputs = [value[None] for value in prepare(load_image(path))]
        expected = reference.run(*inputs)
        compare_detections(model.run(*inputs), expected)
        written = read_results(output / RESULTS, path, card.outputs)
        assert written is not None
        compare_detections([values[None] for values in written], expected)


@pytest.fixture
def lite_home(lite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process finds Lite, too."""
    monkeypatch.setenv("LITE_HOME", str(lite / "whl/mindspore_lite"))


@pytest.mark.usefixtures("lite_home")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_mask_model(lite: Path, mask_model: Path, tmp_path: Path, threads: int) -> None:
    finds_the_same(lite, mask_model, tmp_path, threads)


@pytest.mark.usefixtures("lite_home")
def test_a_cascade(lite: Path, tmp_path: Path) -> None:
    network = exported_by_lite(lite, small_model("cascade_mask_rcnn", tmp_path), tmp_path)
    finds_the_same(lite, network, tmp_path, threads=1)


@pytest.mark.usefixtures("lite_home")
def test_a_refinedet(lite: Path, tmp_path: Path) -> None:
    network = exported_by_lite(lite, of_zoo("zoo:shapes_refinedet"), tmp_path)
    run_program(lite, network, tmp_path, threads=1)
    boxes, scores = differences(tmp_path, tmp_path / RESULTS, load_card(network))
    assert boxes < 1e-2 and scores < 1e-5
    images = sorted((tmp_path / IMAGES).iterdir())
    found, expected = (Detector(network.with_suffix(suffix)).predict(images) for suffix in (".mindir", ".onnx"))
    assert sum(map(len, found)) == sum(map(len, expected)) > 5


@pytest.mark.usefixtures("lite_home")
def test_a_mask_model_as_ms_file(mask_model: Path, tmp_path: Path) -> None:
    source, target = mask_model.with_suffix(".onnx"), tmp_path / "net.ms"
    convert_by_lite(source, target)
    images = sorted((mask_model.parent / IMAGES).iterdir())[:2]
    model, reference, prepare = LiteModel(target, 1), OnnxModel(source), load_card(source).preprocessing.transform()
    for image in images:
        inputs = [value[None] for value in prepare(load_image(image))]
        compare_detections(model.run(*inputs), reference.run(*inputs))


def test_a_mask_model_on_to_the_same_ap(lite: Path, mask_model: Path, tmp_path: Path) -> None:
    stats = stats_by_the_script(lite, mask_model, tmp_path)
    assert stats["segm_mAP"] > 0.2
    assert stats_of(mask_model.parent, "net.onnx", "net_metrics.json") == pytest.approx(stats, abs=1e-3)


def test_eval_runs_a_converted_file(lite: Path, converted: Path) -> None:
    folder, home = converted.parent, str(lite / "whl/mindspore_lite")
    expected = stats_of(folder, "net.onnx", "net_metrics.json")
    assert stats_of(folder, "net.mindir", "net_metrics.json", LITE_HOME=home) == pytest.approx(expected, abs=1e-3)


def with_channels_last(lite: Path, source: Path, target: Path) -> None:
    """Convert as converter_lite does by default: this project's program asks for channels first."""
    package, code = lite / "whl/mindspore_lite", (ROOT / "src/deploy/lite/convert.cc").read_text()
    assert "SetInputFormat(mindspore::NCHW);" in code
    program = target.with_name("convert")
    program.with_suffix(".cc").write_text(code.replace("converter.SetInputFormat(mindspore::NCHW);", ""))
    libraries = [f"-l{name}" for name in CONVERTER]
    words = ["g++", "-std=c++17", "-isystem", package, "-isystem", package / "include", f"{program}.cc", "-o", program]
    done(*words, f"-L{package / 'lib'}", *libraries, "-Wl,--allow-shlib-undefined")
    done(program, source, target, env={**os.environ, "LD_LIBRARY_PATH": str(package / "lib")})


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.usefixtures("lite_home")
def test_ms_files(lite: Path, converted: Path, tmp_path: Path, last: bool) -> None:
    """Lite's form for small devices, as this project and Lite's own program write it, with the card of its source."""
    folder = converted.parent
    for path in (folder / "net.onnx", folder / "net.onnx.json"):
        shutil.copy(path, tmp_path)
    source, target = tmp_path / "net.onnx", tmp_path / "net.ms"
    with_channels_last(lite, source, target) if last else convert_by_lite(source, target)
    images = sorted((folder / IMAGES).iterdir())
    for ours, expected in zip(Detector(target).predict(images), Detector(source).predict(images), strict=True):
        np.testing.assert_allclose(ours.boxes, expected.boxes, atol=1e-2)
        np.testing.assert_allclose(ours.scores, expected.scores, atol=1e-5)
        assert len(expected) and ours.labels.tolist() == expected.labels.tolist()
    inputs = ExportedDetector(target).exported, np.random.default_rng(0).random((2, 3, 128, 128), np.float32)
    assert [len(values) for values in inputs[0].run(inputs[1])] == [2, 2]


@pytest.mark.usefixtures("lite_home")
def test_the_program_runs_ms_files(lite: Path, converted: Path, tmp_path: Path) -> None:
    target = converted.with_suffix(".ms")
    convert_by_lite(converted.with_suffix(".onnx"), target)
    run_program(lite, target, tmp_path, threads=1)
    boxes, scores = differences(target.parent, tmp_path / RESULTS, load_card(target.with_suffix(".onnx")))
    assert boxes < 1e-2 and scores < 1e-5
    expected = stats_of(target.parent, "net.onnx", "net_metrics.json")
    home = str(lite / "whl/mindspore_lite")
    assert stats_of(target.parent, "net.ms", "net_metrics.json", LITE_HOME=home) == pytest.approx(expected, abs=1e-3)


@pytest.mark.usefixtures("lite_home")
def test_what_lite_refuses_ends_in_one_line(tmp_path: Path) -> None:
    for name in ("net.mindir", "net.ms", "net.onnx"):
        (tmp_path / name).write_bytes(b"no network")
    for name in ("net.mindir", "net.ms"):
        with pytest.raises(UserError, match=rf"{name}: MindSpore Lite cannot load this file \(the network cannot be"):
            LiteModel(tmp_path / name)
    with pytest.raises(UserError, match="net.onnx: MindSpore Lite's converter refuses this file"):
        convert_by_lite(tmp_path / "net.onnx", tmp_path / "other.mindir")
