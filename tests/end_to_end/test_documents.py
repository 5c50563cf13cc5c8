"""Every command of the Markdown pages: run as it stands, or accounted for by the test that runs it."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel

from src.config import load_config
from src.models import build_detector
from src.models.mask_rcnn.config import CascadeMaskRCNNConfig
from src.weights.checkpoint import load_checkpoint_weights, save_weights
from tests.blocks.oracle import published_state
from tests.browser import pictures_of
from tests.end_to_end.commands import ROOT, environment
from tests.weights.published_mask_rcnn import published_names, torchvision_state

DOCS = ROOT / "docs"
DOCUMENTS = sorted([*ROOT.glob("*.md"), ROOT / "ascend310_infer/README.md", *ROOT.glob("configs/*/README.md"),
                    *DOCS.glob("*.md")])  # fmt: skip
# Pages without a shell block of their own.
WITHOUT_COMMANDS = {"BENCHMARKS.md", "CHANGELOG.md", "docs/index.md", "docs/published_readmes.md", "docs/python.md",
                    "docs/scripts.md", "docs/troubleshooting.md", "docs/write_a_model.md"}  # fmt: skip
# Pages whose commands follow one another: later ones need what earlier ones wrote.
CHAPTERS = (DOCS / "configuration.md", DOCS / "data.md", DOCS / "training.md")
INSTABOOST = ROOT / "configs/instaboost/README.md"
NAS_FPN = ROOT / "configs/nas_fpn/README.md"
REFINEDET = ROOT / "configs/refinedet/README.md"
TOOLS = ("analyse_predictions", "anchor_statistics", "check_dataset", "compare_runs", "count_parameters", "doctor",
         "lr_finder", "noise_checkpoint", "plot_log", "plot_lr", "publish_weights")  # fmt: skip

EXPORT = "python export.py --checkpoint_path outputs/first/checkpoints/best.ckpt --file_name outputs/first"
CONFIG = "--config_path outputs/first/config.yaml"
EVALUATE = f"{CONFIG} --val_dataset data/shapes/validation"
INFER = f"python infer.py --checkpoint_path outputs/first/detector.onnx {CONFIG} --pred_input"

# Commands that other tests run; ... stands for any further words.
RUN_ELSEWHERE = {
    "bash scripts/run_demo.sh ...": "test_scripts.py",
    "bash scripts/run_tests.sh ...": "the suite itself",
    "source .venv/bin/activate": "nothing to run",
    "bash scripts/setup_env.sh": "tests/scripts/test_setup_env.py",
    "bash scripts/setup_env.sh requirements-dev.txt": "tests/scripts/test_setup_env.py",
    "ruff check .": "tests/scripts/test_style.py",
    "ruff format --check .": "tests/scripts/test_style.py",
    "mypy": "tests/scripts/test_style.py",
    "lint-imports": "tests/layout/test_layers.py",
    "shellcheck scripts/*.sh scripts/*/*.sh": "tests/scripts/test_style.py",
    "bash scripts/build_custom.sh": "tests/ops/test_roi_kernels.py",
    "python -m tests.faults --number 10000": "tests/faults/test_campaign.py, with fewer faults",
    "python -m tests.faults.kills --number 10": "test_training.py kills one training once",
    **{f"python tools/{name}.py ...": "tests/tools/test_commands.py" for name in TOOLS},
    "bash scripts/run_standalone_train_gpu.sh ...": "test_scripts.py and test_masks.py",
    "bash scripts/run_distribute_train_gpu.sh ...": "test_scripts.py and test_masks.py",
    "bash scripts/run_distribute_train.sh ...": "tests/scripts/test_published_scripts.py",
    "export NODE_NUM=2 MASTER_ADDR=10.0.0.1 MASTER_PORT=8118": "nothing to run",
    "export VENV_DIR=$PWD/.venv-2.8 MINDSPORE_VERSION=2.8.0": "tests/scripts/test_setup_env.py",
    "NODE_RANK=0 bash scripts/run_distribute_train_gpu.sh ...": "test_several_machines.py and test_machines.py",
    "NODE_RANK=1 bash scripts/run_distribute_train_gpu.sh ...": "test_several_machines.py and test_machines.py",
    "bash scripts/run_eval_gpu.sh ...": "test_scripts.py and test_masks.py",
    "bash scripts/run_infer_gpu.sh ...": "test_scripts.py and test_masks.py",
    "bash scripts/nas_fpn/run_single_train.sh ...": "test_device_commands.py, tests/scripts/test_ascend_scripts.py",
    "bash scripts/nas_fpn/run_distribute_train.sh ...": "test_device_commands.py, tests/scripts/test_ascend_scripts.py",
    "bash scripts/nas_fpn/run_eval.sh ...": "test_device_commands.py, tests/scripts/test_ascend_scripts.py",
    "OUTPUT_DIR=second bash scripts/nas_fpn/run_single_train.sh ...": "test_device_commands.py",
    "DRY_RUN=1 bash scripts/nas_fpn/run_distribute_train.sh ...": "tests/scripts/test_ascend_scripts.py",
    "bash scripts/refinedet/run_distribute_train.sh ...": "tests/scripts/test_ascend_scripts.py",
    "bash scripts/refinedet/run_distribute_train_gpu.sh ...": "tests/scripts/test_ascend_scripts.py",
    "bash scripts/refinedet/run_eval.sh ...": "tests/scripts/test_ascend_scripts.py",
    "bash scripts/refinedet/run_eval_gpu.sh ...": "tests/scripts/test_ascend_scripts.py",
    "bash scripts/refinedet/run_infer_310.sh ...": "tests/scripts/test_ascend_scripts.py",
    "bash scripts/refinedet/run_standardalone_train.sh ...": "tests/scripts/test_ascend_scripts.py",
    "bash scripts/refinedet/run_standardalone_train_gpu.sh ...": "tests/scripts/test_ascend_scripts.py",
    "python train.py --device_id=0 ...": "test_device_commands.py",
    "python eval.py --dataset=coco --device_id=0 ...": "test_device_commands.py",
    "python train.py --run_online=True ...": "tests/model_utils/test_moxing_adapter.py",
    "python new_experiment.py ...": "tests/commands/test_new_experiment.py",
    "python convert_dataset.py ...": "tests/data/test_writers.py",
    "python split_dataset.py ...": "tests/data/test_splitting.py",
    "python create_data.py ...": "test_create_data.py",
    "python infer.py --checkpoint_path zoo:blood_cells ...": "test_the_first_commands_of_the_readme",
    "python draw_predictions.py --pred_json cells.json --output_dir cells": "test_the_first_commands_of_the_readme",
    f"{EXPORT}/detector --file_format ONNX": "test_export.py",
    f"{EXPORT}/detector --file_format MINDIR": "test_export.py",
    f"{EXPORT}/small --file_format ONNX --precision int8 --calibration_images data/shapes/train "
    "--val_dataset data/shapes/validation": "test_export.py",
    f"{EXPORT}/on_lite --file_format LITE": "test_export.py",
    f"{EXPORT}/on_chip --file_format OM --soc_version Ascend310P3 --precision float16": "test_export.py",
    "python export.py --checkpoint_path best.ckpt --file_name net --file_format LITE": "test_real_lite.py",
    "python export.py --ckpt_file [CKPT_PATH] ...": "tests/documents/test_published_lines.py",
    "python export.py --file_name [RUN_PLATFORM] ...": "tests/documents/test_published_lines.py",
    f"python eval.py --checkpoint_path outputs/first/detector.onnx {EVALUATE}": "test_export.py",
    f"python eval.py --checkpoint_path outputs/first/detector.onnx {EVALUATE} --runtime onnxruntime --providers CPU":
        "test_export.py",
    f"python eval.py --checkpoint_path outputs/first/detector.onnx {EVALUATE} --runtime openvino --precision bfloat16":
        "test_export.py",
    f"python eval.py --checkpoint_path outputs/first/on_lite.mindir {EVALUATE}": "test_export.py",
    f"{INFER} data/shapes/validation/data --pred_output outputs/first/found_onnx.json": "test_export.py",
    f"{INFER} clip.mp4 --pred_output clip.jsonl --save_video clip_found.mp4": "test_export.py",
    f"{INFER} 0 --pred_output camera.jsonl --save_video camera.mp4": "tests/commands/test_infer_camera.py",
    f"{INFER} large.jpg --pred_output large.json --tile 640 --overlap 0.2": "test_export.py",
    f"{INFER} large.jpg --pred_output large.json --tile 640 --tta flip": "test_export.py",
    "python app.py --checkpoint_path outputs/first/detector.onnx": "tests/commands/app",
    "curl --data-binary @street.jpg http://127.0.0.1:8000/detect": "tests/commands/app/test_interface.py",
    "curl --data-binary @clip.mp4 http://127.0.0.1:8000/detect_video": "tests/commands/app/test_interface.py",
    "pip install starlette uvicorn": "requirements-dev.txt has them",
    "converter_lite ...": "tests/ascend310/test_real_lite.py, through the converter's library",
    "python -m pip download --python-version 3.7 ...": "tests/ascend310/test_real_lite.py",
    "python -m zipfile -e mindspore_lite-2.0.0-cp37-cp37m-manylinux1_x86_64.whl lite": "test_export.py",
    "export LITE_HOME=$PWD/lite/mindspore_lite": "test_export.py",
    "export LITE_HOME=/opt/mindspore-lite-2.10.0-linux-aarch64": "nothing to run",
    "bash scripts/run_infer_310.sh net.mindir ...": "tests/ascend310/test_real_lite.py",
    "bash scripts/nas_fpn/run_infer_310.sh ...": "test_infer_310.py, with a stand-in for the chip",
    "DEVICE_TARGET=CPU bash scripts/nas_fpn/run_infer_310.sh ...": "test_infer_310.py",
    "python postprocess.py ...": "test_infer_310.py",
    "python -m src.commands.infer_files ...": "test_infer_310.py",
    "cmake -S ascend310_infer -B build/ascend310_infer": "tests/ascend310, into another folder",
    "cmake --build build/ascend310_infer --parallel": "tests/ascend310, into another folder",
    "build/ascend310_infer/main ...": "tests/ascend310/test_program.py, with a stand-in for the chip",
    "apt-get install g++ cmake ...": "scripts/run_tests.sh",
}  # fmt: skip


def commands_of(document: Path) -> list[str]:
    """The lines of a document's shell blocks, continuation lines joined, comments dropped."""
    blocks = re.findall(r"```shell\n(.*?)```", document.read_text(), re.S)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    lines = [re.sub(r"\s+#.*$", "", line).strip() for line in lines]
    return [line for line in lines if line and not line.startswith("#")]


def is_run_elsewhere(command: str) -> bool:
    return any(is_meant(command, entry) for entry in RUN_ELSEWHERE)


def is_meant(command: str, entry: str) -> bool:
    """Whether an entry of RUN_ELSEWHERE stands for a command."""
    words, wanted = command.split(), entry.split()
    if wanted[-1] == "...":
        return words[: len(wanted) - 1] == wanted[:-1]
    return words == wanted


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like the project's root, where commands may write, with published weights to convert."""
    folder = tmp_path_factory.mktemp("checkout")
    for path in ROOT.iterdir():
        if path.name not in (".git", "data", "outputs", "demo_output", ".venv"):
            (folder / path.name).symlink_to(path)
    return folder


def run(command: str, folder: Path) -> str:
    words = shlex.split(command)
    if words[0] == "python":
        words[0] = sys.executable
    done = subprocess.run(words, cwd=folder, env=environment(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.mark.slow
def test_the_documents_commands_work_one_after_the_other(checkout: Path) -> None:
    commands = [
        command
        for chapter in CHAPTERS
        for command in commands_of(chapter)
        if not is_run_elsewhere(command) and "convert_weights" not in command
    ]
    assert [c.split()[1] for c in commands] == [
        "train.py",  # --help
        "-m",  # src.data.synthetic
        "train.py",
        "eval.py",
        "infer.py",
        "draw_predictions.py",
        "train.py",  # --resume
    ]
    outputs = [run(command, checkout) for command in commands]
    assert "--bbox_head.loss_cls.gamma" in outputs[0]
    assert "resumed from" in outputs[-1] and "epoch: 4 step: " in outputs[-1]
    found = json.loads((checkout / "outputs/first/found.json").read_text())
    assert len(found) == 20
    assert len(list((checkout / "outputs/first/pictures").glob("*.png"))) == 20
    assert pictures_of(checkout / "outputs/first/report/index.html")


def test_the_first_commands_of_the_readme(checkout: Path) -> None:
    detect, draw = [command for command in commands_of(ROOT / "README.md") if command.startswith("python ")][:2]
    assert detect.startswith("python infer.py --checkpoint_path zoo:")
    run(detect, checkout)
    (found,) = json.loads((checkout / "cells.json").read_text()).values()
    assert len([one for one in found["predictions"] if one["score"] > 0.5]) > 5
    run(draw, checkout)
    assert (checkout / "cells/BloodImage_00055.png").read_bytes().startswith(b"\x89PNG")


def test_the_conversion_command_works(checkout: Path) -> None:
    (command,) = [c for c in commands_of(DOCS / "training.md") if "convert_weights" in c]
    config = load_config(ROOT / "configs/spinenet_retinanet/retinanet_spinenet_49_640.yaml")
    np.savez(checkout / "spinenet49.npz", **published_names(arrays_of(build_detector(config))))
    run(command.replace(".pth", ".npz"), checkout)
    assert (checkout / "spinenet49.ckpt").is_file()


def test_the_conversion_commands_of_mask_rcnn_work(checkout: Path) -> None:
    commands = [c for c in commands_of(INSTABOOST) if "convert_weights" in c]
    sources = ["mask_rcnn_r50", "maskrcnn_resnet50_fpn"]
    assert [re.search(r"--source_file (\w+)\.pth", c)[1] for c in commands] == sources
    net = build_detector(load_config(ROOT / "configs/instaboost/mask_rcnn_r50_fpn.yaml"))
    published = published_names(arrays_of(net))
    for command, source, state in zip(commands, sources, (published, torchvision_state(published)), strict=True):
        np.savez(checkout / f"{source}.npz", **state)
        run(command.replace(".pth", ".npz"), checkout)
        found = load_checkpoint_weights(checkout / f"{source}.ckpt")
        for name, expected in arrays_of(net).items():
            np.testing.assert_array_equal(found[name], expected, err_msg=name)
        for suffix in (".npz", ".ckpt"):
            (checkout / f"{source}{suffix}").unlink()  # 350 MB


def test_the_conversion_command_of_nas_fpn_works(checkout: Path) -> None:
    (command,) = [c for c in commands_of(NAS_FPN) if "convert_weights" in c]
    net = build_detector(load_config(ROOT / "configs/nas_fpn/retinanet_r50_nasfpn_640_50e.yaml"))
    np.savez(checkout / "retinanet_r50_nasfpn_crop640_50e.npz", **published_names(arrays_of(net)))
    run(command.replace(".pth", ".npz"), checkout)
    found = load_checkpoint_weights(checkout / "retinanet_r50_nasfpn_640_50e.ckpt")
    for name, expected in arrays_of(net).items():
        np.testing.assert_array_equal(found[name], expected, err_msg=name)
    for file in checkout.glob("retinanet_r50_nasfpn*.*"):
        file.unlink()  # 480 MB


def test_the_conversion_command_of_refinedet_works(checkout: Path) -> None:
    (command,) = [c for c in commands_of(REFINEDET) if "convert_weights" in c]
    net = build_detector(load_config(ROOT / "configs/refinedet/refinedet_vgg16_320_voc.yaml"))
    state = published_state("refinedet_vgg16_320_voc", 20254)
    np.savez(checkout / "RefineDet320_VOC_final.npz", **state)
    run(command.replace(".pth", ".npz"), checkout)
    found = load_checkpoint_weights(checkout / "refinedet320_voc.ckpt")
    assert found.keys() == arrays_of(net).keys()
    np.testing.assert_array_equal(found["neck.blocks.1.conv3.conv.weight"], state["tcb2.4.weight"])
    for file in ("RefineDet320_VOC_final.npz", "refinedet320_voc.ckpt"):
        (checkout / file).unlink()  # 280 MB


def arrays_of(net) -> dict[str, np.ndarray]:
    return {name: parameter.asnumpy() for name, parameter in net.parameters_dict().items()}


def test_every_key_is_explained() -> None:
    text = INSTABOOST.read_text()
    keys = set(leaf_keys(CascadeMaskRCNNConfig))
    assert len(keys) > 150
    assert {key for key in keys if f"`{key}`" not in text} == set()


def leaf_keys(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from leaf_keys(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_command_is_left_out(document: Path) -> None:
    commands = commands_of(document)
    assert bool(commands) == (str(document.relative_to(ROOT)) not in WITHOUT_COMMANDS)
    for command in commands:
        converts = document in (INSTABOOST, NAS_FPN, REFINEDET) and "convert_weights" in command
        ours = document in CHAPTERS or converts
        assert is_run_elsewhere(command) or ours, command


@pytest.mark.parametrize("entry", RUN_ELSEWHERE)
def test_commands_that_are_run_elsewhere_are_in_a_page(entry: str) -> None:
    assert any(is_meant(command, entry) for document in DOCUMENTS for command in commands_of(document))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_files_that_documents_name_exist(document: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "", document.read_text())  # code, such as `[PRE_TRAINED](optional)`, has no links
    for target in re.findall(r"\]\(([^)#]+)\)?(?:#[^)]*)?\)?", text):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", [ROOT / "README.md", DOCS / "python.md"], ids=["README", "python"])
def test_python_from_the_pages_works(checkout: Path, document: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", document.read_text(), re.S)
    # That of Detector: tests/predictor/test_detector.py.
    code, *training = [block for block in blocks if "src.predictor" not in block]
    config = load_config(ROOT / "configs/demo/nas_fpn.yaml")
    net = build_detector(config)
    save_weights(checkout / "outputs/first/checkpoints/best.ckpt", arrays_of(net))
    code += "import numpy as np\n"
    code += "print(net.predict(np.zeros((1, 3, 128, 128), 'f4'), np.ones((1, 6), 'f4')).boxes.shape)\n"
    code += "".join(training)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=checkout, env=environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "(1, 100, 4)" in done.stdout
    if training:
        assert re.search(r"\{'loss_cls': [\d.]+, 'loss_bbox': [\d.]+\}", done.stdout)
