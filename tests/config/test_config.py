"""Configurations: inheritance, overrides, checks and their messages."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from src.common.errors import UserError
from src.config import config_and_options, config_from_command_line, load_config, save_config
from src.schema import require

ROOT = Path(__file__).parents[2]
DEFAULT = ROOT / "configs/spinenet_retinanet/default_config.yaml"


def experiment(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "experiment.yaml"
    path.write_text(f"base: {DEFAULT}\n{text}")
    return path


EXPERIMENTS = [path for path in sorted(ROOT.glob("configs/*/*.yaml")) if path.parent.name != "_base_"]


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_configuration_is_valid(path: Path) -> None:
    config = load_config(path)
    assert config.num_classes == len(config.class_names) + 1
    assert path.read_text().startswith("# ")  # opens with what it should reach


def test_inheritance_and_overrides(tmp_path: Path) -> None:
    path = experiment(tmp_path, "lr: 0.5\nbackbone: {arch: 96}\n")
    config = load_config(path, {"bbox_head.loss_cls.gamma": "1.5", "lr_steps": "[1, 2]", "keep_ratio": 0})
    assert config.lr == 0.5
    assert config.backbone.arch == "96"
    assert config.backbone.norm_cfg.eps == 0.001  # sections merge key by key
    assert config.bbox_head.loss_cls.gamma == 1.5
    assert config.lr_steps == [1, 2]
    assert config.keep_ratio is False


DEFAULTS = sorted(ROOT.glob("configs/*/default_config.yaml"))
EDITED = (  # what the published READMEs say to change in a copy
    "train_outputs", "img_width", "img_height", "train_dataset", "val_dataset", "train_data_type", "val_data_type",
    "num_classes", "coco_classes", "backbone", "lr", "weight_decay", "epoch_size", "batch_size", "flip_ratio",
    "pre_trained", "finetune",
)  # fmt: skip


@pytest.mark.parametrize("path", DEFAULTS, ids=lambda path: path.parent.name)
def test_a_copy_outside_of_the_project_is_the_same_configuration(tmp_path: Path, path: Path) -> None:
    copy = tmp_path / "my.yaml"
    copy.write_text(path.read_text())
    assert load_config(copy).model_dump() == load_config(path).model_dump()
    held = yaml.safe_load(copy.read_text())
    assert [name for name in EDITED if name not in held] == []
    assert "pretrained" in held["backbone"]
    assert (
        held["coco_classes"]
        == yaml.safe_load((ROOT / "configs/_base_/coco_detection.yaml").read_text())["coco_classes"]
    )
    copy.write_text(yaml.safe_dump({**held, "coco_classes": ["background", "cat"], "num_classes": 2}))
    assert load_config(copy).category_ids == []  # COCO's belong to COCO's classes


def test_a_copy_whose_base_may_be_one_of_several(tmp_path: Path) -> None:
    copy = tmp_path / "my.yaml"
    copy.write_text("base: default_config.yaml\n")
    with pytest.raises(UserError, match=r"base default_config.yaml does not exist .*: name one of them") as caught:
        load_config(copy)
    assert all(str(path) in str(caught.value) for path in DEFAULTS)
    (tmp_path / "default_config.yaml").write_text(f"base: {DEFAULT}\nlr: 0.5\n")
    assert load_config(copy).lr == 0.5  # what lies beside it comes first


@pytest.mark.parametrize("none", ["None", "null", "''"])
def test_no_checkpoint_and_no_path(tmp_path: Path, none: str) -> None:
    config = load_config(experiment(tmp_path, f"pre_trained: {none}\nbackbone: {{pretrained: {none}}}\n"))
    assert (config.pre_trained, config.backbone.pretrained) == ("", "")
    assert load_config(DEFAULT, {"pre_trained": none, "val_dataset": none}).val_dataset == ""


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("bach_size: 3", ["experiment.yaml", "'bach_size'", "did you mean 'batch_size'"]),
        ("backbone: {achr: '49'}", ["experiment.yaml", "'backbone.achr'", "'backbone.arch'"]),
        ("iou_threshold: 0.3", ["'test_cfg.nms.iou_threshold'"]),
        ("batch_size: many", ["experiment.yaml", "batch_size", "'many'", "integer"]),
        ("flip_ratio: 1.5", ["flip_ratio", "1.5", "less than or equal to 1"]),
        ("coco_classes: ['background', 'a', 'b', 'c']\ncategory_ids: []", ["num_classes", "81", "num_classes: 4"]),
        ("coco_classes: ['a', 'b']\nnum_classes: 2", ["coco_classes", "'a'", "'background'"]),
        ("coco_classes: ['background', 'a', 'a']\nnum_classes: 3\ncategory_ids: []", ["coco_classes", "than once"]),
        ("bbox_head: {anchor_generator: {strides: [8, 16, 32, 64]}}", ["strides", "4 levels", "5 feature maps"]),
        ("bbox_head: {in_channels: 128}", ["bbox_head.in_channels", "256"]),
        ("backbone: {arch: '50'}", ["backbone.arch", "'50'", "49S"]),
        ("img_width: 700", ["experiment.yaml", "img_width", "704", "768"]),
        ("min_lr: 1", ["min_lr", "above lr"]),
        ("rank_id: 2", ["rank_id", "1 devices"]),
        ("datasink: 1\naccumulate_step: 2", ["datasink", "accumulate_step: 1", "datasink: 0"]),
        ("datasink: 1\nloss_scale: dynamic", ["datasink", "loss_scale", "datasink: 0"]),
        ("datasink: 1\nmode: pynative", ["datasink", "mode: graph", "datasink: 0"]),
        ("datasink: 1\njit_level: O2", ["datasink", "jit_level: O1", "datasink: 0"]),
        ("jit_level: O1\nmode: pynative", ["jit_level", "mode: graph"]),
        ("jit_level: O3", ["jit_level", "'O3'", "'O2'"]),
        ("recompute: 1\nmode: pynative", ["recompute", "mode: graph", "recompute: 0"]),
        ("base: [a]", ["base"]),
        ("lr: [", ["experiment.yaml", "line", "YAML"]),
    ],
)
def test_mistakes_name_key_file_and_remedy(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        load_config(experiment(tmp_path, text))
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_a_mistake_in_a_base_names_the_base(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(f"base: {DEFAULT}\nbatch_size: 0\n")
    (tmp_path / "child.yaml").write_text("base: base.yaml\nlr: 0.1\n")
    with pytest.raises(UserError, match=r"base\.yaml: batch_size: 0"):
        load_config(tmp_path / "child.yaml")


def test_missing_files_and_cycles(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "a.yaml").write_text("base: b.yaml\n")
    (tmp_path / "b.yaml").write_text("base: a.yaml\n")
    with pytest.raises(UserError, match="inherits from itself"):
        load_config(tmp_path / "a.yaml")


def test_saved_configuration_reads_back(tmp_path: Path) -> None:
    config = load_config(DEFAULT, {"brief": "again", "resume": 1})
    save_config(config, tmp_path / "saved.yaml")
    assert load_config(tmp_path / "saved.yaml").model_dump() == config.model_dump()


@pytest.mark.parametrize(("given", "expected"), [(1, "1"), ("true", "1"), (0, ""), ("", ""), ("x/y.ckpt", "x/y.ckpt")])
def test_resume_is_a_switch_or_a_path(given, expected: str) -> None:
    assert load_config(DEFAULT, {"resume": given}).resume == expected


@pytest.mark.parametrize("given", ["on", "off", "auto"])
def test_words_that_yaml_takes_for_truth_values(given: str) -> None:
    assert load_config(DEFAULT, {"progress_bar": given}).progress_bar == given


def test_command_line(capsys: pytest.CaptureFixture) -> None:
    argv = ["--config_path", str(DEFAULT), "--lr=0.2", "--test_cfg.score_thr", "0.3", "--resume", "--output_dir", "o"]
    config, extra = config_and_options("Doc.", {"output_dir": ("", "where to")}, argv)
    assert (config.lr, config.test_cfg.score_thr, config.resume, extra.output_dir) == (0.2, 0.3, "1", "o")
    with pytest.raises(UserError, match="--config_path is missing"):
        config_from_command_line("Doc.", [])
    with pytest.raises(UserError, match="'stray' is no option"):
        config_from_command_line("Doc.", ["stray"])
    with pytest.raises(UserError, match="command line: unknown key 'bach_size'; did you mean 'batch_size'"):
        config_from_command_line("Doc.", ["--config_path", str(DEFAULT), "--bach_size", "3"])
    with pytest.raises(UserError, match="--checkpoint_path is missing"):
        require(config, "checkpoint_path")


def test_help_lists_every_key_with_comment_and_default() -> None:
    command = [sys.executable, "train.py", "--help", "--config_path", str(DEFAULT)]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "--bbox_head.loss_cls.gamma: focusing exponent of the focal loss (default: 2.0)" in shown
    for key in ("accumulate_step", "keep_best_checkpoints_max", "test_cfg.nms.iou_threshold", "prediction_path"):
        assert f"--{key}: " in shown


def test_mistakes_end_the_command_before_mindspore_is_imported() -> None:
    command = [sys.executable, "-X", "importtime", "train.py", "--config_path", str(DEFAULT), "--lr", "-1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert errors == ["error: command line: lr: -1 is not allowed: input should be greater than 0"]
    assert " mindspore\n" not in done.stderr


def test_a_section_keeps_the_defaults_of_its_place(tmp_path: Path) -> None:
    path = tmp_path / "mask.yaml"
    base = ROOT / "configs/instaboost/default_config.yaml"
    path.write_text(f"base: {base}\nbackbone: {{norm_cfg: {{type: SyncBN}}}}\n")
    config = load_config(path)
    assert config.rpn.loss_bbox.type == config.bbox_head.loss_bbox.type == "l1"  # not the class's smooth_l1
    assert (config.backbone.norm_cfg.type, config.backbone.norm_cfg.eps) == ("SyncBN", 1e-5)
