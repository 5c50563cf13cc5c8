"""The commands of scripts/nas_fpn and scripts/refinedet on the CPU: packed data, two processes, evaluation.

Without compilation (`--mode pynative`), since a step or two is all they take.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from src.weights.checkpoint import save_weights
from tests.end_to_end.commands import ROOT, logged, run
from tests.scripts.ascend_machine import AscendMachine
from tests.scripts.shell import run_script

TINY_NAS_FPN = f"""
base: {ROOT}/configs/nas_fpn/default_config.yaml
coco_root: ''
coco_classes: ['background', 'circle', 'square', 'triangle', 'star']
category_ids: []
num_classes: 5
num_gts: 16
backbone: {{depth: 18, base_channels: 8, stage_blocks: [1, 1, 1, 1]}}
neck: {{nas_fpn: {{in_channels: [16, 32, 64], out_channels: 16, stack_times: 1}}}}
bbox_head: {{in_channels: 16, feat_channels: 16, stacked_convs: 1}}
test_cfg: {{score_thr: 0.001, nms_pre: 100}}
img_width: 128
img_height: 128
lr: 0.002
lr_type: 'linear'
min_lr: 0
warmup_step: 0
batch_size: 2
base_batch_size: 4
test_batch_size: 6
epoch_size: 1
log_every: 1
run_eval: 0
mode: pynative
"""

TINY_REFINEDET = f"""
base: {ROOT}/configs/demo/refinedet.yaml
backbone: {{base_channels: 8, stage_blocks: [1, 1, 1, 1]}}
neck: {{out_channels: 16}}
train_dataset_num: 4
batch_size: 4
base_batch_size: 4
test_batch_size: 6
mindrecord_dir: packed
eval_prefix: ''
log_every: 1
run_eval: 0
mode: pynative
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Path:
    """Where two processes were trained for one step, on four images in MindRecord files."""
    folder = tmp_path_factory.mktemp("nas_fpn")
    machine = AscendMachine(folder)
    (folder / "tiny.yaml").write_text(TINY_NAS_FPN)
    annotations = json.loads((shapes / "train/labels.json").read_text())
    annotations["images"] = annotations["images"][:4]
    kept = {image["id"] for image in annotations["images"]}
    annotations["annotations"] = [entry for entry in annotations["annotations"] if entry["image_id"] in kept]
    (folder / "four").mkdir()
    (folder / "four/data").symlink_to(shapes / "train/data")
    (folder / "four/labels.json").write_text(json.dumps(annotations))
    run(
        "create_data.py", "--config_path", "tiny.yaml", "--create_dataset", "coco", "--prefix", "retinanet.mindrecord",
        "--is_training", "True", "--train_dataset", "four", "--mindrecord_dir", "mindrecord", cwd=folder,
    )  # fmt: skip
    machine.write_table([0, 1])
    done = nas_fpn(folder, "run_distribute_train.sh", "2", "table.json", "mindrecord")
    assert "INFO: retinanet on CPU x 2: " in done
    return folder


def nas_fpn(folder: Path, script: str, *arguments: str | Path, **environment: str) -> str:
    """What a script of NAS-FPN printed."""
    return printed(folder, f"nas_fpn/{script}", *arguments, **environment)


def printed(folder: Path, script: str, *arguments: str | Path, **environment: str) -> str:
    settings = {"DEVICE_TARGET": "CPU", "CONFIG_PATH": "tiny.yaml", **environment}
    done = run_script(script, *arguments, cwd=folder, timeout=400, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_checkpoints_and_logs_are_where_the_readme_says(folder: Path) -> None:
    assert (folder / "ckpt/last.ckpt").is_file()
    published = r"^epoch: 1 step: 1, loss is [\d.]+\nlr:\[0\.002000\]\nepoch time: [\d.]+ ms, per step time: [\d.]+ ms$"
    assert re.search(published, (folder / "log.txt").read_text(), re.MULTILINE)
    assert (folder / "ckpt/processes/worker_1.log").is_file()
    assert logged(folder / "ckpt", "lr") == {1: pytest.approx(0.002)}


def test_the_schedule_goes_on_after_pre_trained_epoch_size(folder: Path) -> None:
    """Epoch 2 of 3 follows; its learning rate is that of a training that was never interrupted."""
    arguments = ("0", "mindrecord", "ckpt/last.ckpt", "1", "--epoch_size", "3", "--batch_size", "4")
    out = nas_fpn(folder, "run_single_train.sh", *arguments, OUTPUT_DIR="second")
    assert f"loaded {folder}/ckpt/last.ckpt" in out
    rates = logged(folder / "second/ckpt", "lr")
    assert rates == {2: pytest.approx(0.002 * 2 / 3), 3: pytest.approx(0.002 * 1 / 3)}
    assert "\nepoch: 2 step: 1, loss is " in (folder / "second/log.txt").read_text()


def test_evaluation(folder: Path, shapes: Path) -> None:
    """On images, with the annotations' path as a pattern."""
    arguments = ("0", "coco", "", "ckpt/last.ckpt", shapes / "{}/labels.json", "--val_data_type", "validation")
    out = nas_fpn(folder, "run_eval.sh", *arguments)
    table = "Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ]"
    assert table in out
    log = (folder / "eval.log").read_text()
    assert table in log and re.search(r" = [-\d.]+\n\n={40}\n\nmAP: [-\d.e]+\n", log)


def test_evaluation_on_mindrecord_files_needs_their_annotations(folder: Path, shapes: Path) -> None:
    data = ("--val_dataset", shapes / "validation", "--prefix", "eval.mindrecord", "--mindrecord_dir", "held_out")
    run("create_data.py", "--config_path", "tiny.yaml", *data, "--is_training", "False", cwd=folder)
    before = ("0", "coco", "held_out", "ckpt/last.ckpt")
    after = ("--val_data_type", "validation", "--eval_prefix", "eval.mindrecord")
    out = nas_fpn(folder, "run_eval.sh", *before, shapes / "{}/labels.json", *after)
    assert "Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ]" in out
    settings = {"DEVICE_TARGET": "CPU", "CONFIG_PATH": "tiny.yaml"}
    for annotations, error in (
        ("none_{}.json", "error: instance_set: .*none_validation.json does not exist"),
        (shapes / "train/labels.json", "error: .*labels.json: 24 images instead of 6, and .* unlike .*held_out/eval"),
    ):
        done = run_script("nas_fpn/run_eval.sh", *before, annotations, *after, cwd=folder, timeout=400, **settings)
        assert done.returncode == 2
        assert re.search(error, done.stderr)


def test_refinedet_packs_its_data_learns_and_is_evaluated(tmp_path: Path, shapes: Path) -> None:
    data = f"train_dataset: {shapes}/train\nval_dataset: {shapes}/validation\n"
    (tmp_path / "tiny.yaml").write_text(TINY_REFINEDET + data)
    out = printed(tmp_path, "refinedet/run_standardalone_train.sh", "0", "1", "0.002", "coco")
    assert "making train.mindrecord from the images and annotations" in out
    assert (tmp_path / "packed/train.mindrecord.json").is_file()
    assert list(logged(tmp_path / "LOG0/ckpt")) == [1]
    out = printed(tmp_path, "refinedet/run_eval.sh", "coco", "LOG0/ckpt/last.ckpt", "0")
    assert "Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ]" in out
    assert (tmp_path / "eval0/log.txt").is_file()


@pytest.mark.parametrize(
    ("command", "config", "error"),
    [
        (["train.py", "--device_id=0", "--epoch_size=500"], "refinedet_vgg16_320", "error: coco_root nowhere does"),
        (["train.py", "--dataset=voc", "--epoch_size=500"], "refinedet_vgg16_320_voc", "error: "),
        (["eval.py", "--device_id=0", "--checkpoint_path=./x.ckpt"], "refinedet_vgg16_320", "error: "),
    ],
)
def test_refinedets_commands_name_no_configuration(command: list[str], config: str, error: str, tmp_path: Path) -> None:
    """They get as far as the data or the checkpoint, which is not there or of nothing."""
    save_weights(tmp_path / "x.ckpt", {"weight": np.zeros(1, np.float32)})
    out, err = run(*command, "--coco_root=nowhere", "--voc_root=nowhere", cwd=tmp_path, expect=2)
    assert f"configuration: {ROOT}/configs/refinedet/{config}.yaml (the default of this command; " in out
    assert err.splitlines()[-1].startswith(error)
