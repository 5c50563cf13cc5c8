"""Programs without --config_path: the configuration comes with the checkpoint."""

from pathlib import Path

import numpy as np
import pytest

from src.commands import saved_config
from src.commands.saved_config import saved_config_of
from src.common.errors import UserError
from src.config import config_from_command_line, load_config, save_config
from src.predictor.saved_config import config_of_checkpoint
from src.schema import Config
from src.weights.checkpoint import save_weights

CONFIG = Path(__file__).parents[2] / "configs/demo/spinenet_retinanet.yaml"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "run/checkpoints/best.ckpt"
    save_weights(path, {"a": np.zeros(3, np.float32)}, load_config(CONFIG, {"brief": "inside"}))
    return path


def test_the_experiments_file_comes_first(checkpoint: Path, capsys) -> None:
    save_config(load_config(CONFIG, {"brief": "beside"}), checkpoint.parents[1] / "config.yaml")
    config = config_of_checkpoint({"ckpt_file": str(checkpoint), "seed": "7"})
    assert (config.brief, config.seed, config.checkpoint_path) == ("beside", 7, str(checkpoint))
    assert f"{checkpoint.parents[1] / 'config.yaml'}, saved with the checkpoint" in capsys.readouterr().out


def test_else_the_one_inside(checkpoint: Path, capsys) -> None:
    argv = ["--checkpoint_path", str(checkpoint), "--file_name", "net", "--file_format", "onnx"]
    config = config_from_command_line("A program.", argv, fallbacks=[config_of_checkpoint])
    assert (config.brief, config.file_name, config.file_format) == ("inside", "net", "ONNX")
    assert f"the one inside {checkpoint}" in capsys.readouterr().out


def test_a_wrong_key_is_answered_as_ever(checkpoint: Path) -> None:
    with pytest.raises(UserError, match="command line: unknown key 'file_nam'; did you mean 'file_name'"):
        config_of_checkpoint({"checkpoint_path": str(checkpoint), "file_nam": "net"})


def test_without_any(tmp_path: Path, capsys) -> None:
    with pytest.raises(UserError, match="--config_path is missing; give"):
        config_from_command_line("A program.", ["--file_name", "net"], fallbacks=[config_of_checkpoint])
    with pytest.raises(UserError, match="none.ckpt does not exist"):
        config_of_checkpoint({"checkpoint_path": "none.ckpt"})
    save_weights(tmp_path / "bare.ckpt", {"a": np.zeros(3, np.float32)})
    assert config_of_checkpoint({"checkpoint_path": str(tmp_path / "bare.ckpt")}) is None
    assert "bare.ckpt holds no configuration" in capsys.readouterr().out
    assert config_of_checkpoint({"checkpoint_path": "net.onnx"}) is None


REFINEDET = CONFIG.parents[1] / "refinedet/refinedet_vgg16_320.yaml"


@pytest.fixture
def moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A checkpoint that was trained on `there`, and the YAML of its program, which names `here`."""
    checkpoint, yaml = tmp_path / "trained.ckpt", tmp_path / "refinedet.yaml"
    trained = load_config(REFINEDET, {"coco_root": str(tmp_path / "there"), "brief": "trained"})
    save_weights(checkpoint, {"a": np.zeros(3, np.float32)}, trained)
    yaml.write_text(f"base: {REFINEDET}\ncoco_root: {tmp_path}/here\nval_dataset: {tmp_path}/val\n")
    monkeypatch.setattr(saved_config, "default_config", lambda program, arguments: yaml)
    return checkpoint, yaml


def evaluated(checkpoint: Path, **given: str) -> Config:
    return saved_config_of("eval.py")({"checkpoint_path": str(checkpoint), **given})


def test_data_paths_of_the_yaml_come_before_those_of_the_checkpoint(moved, tmp_path, capsys) -> None:
    config = evaluated(moved[0])
    assert (config.brief, config.coco_root) == ("trained", f"{tmp_path}/here")
    assert config.val_dataset == ""  # the checkpoint names none: coco_root stays what is evaluated
    assert f"coco_root: {tmp_path}/here of {moved[1]}, not {tmp_path}/there, which was saved" in capsys.readouterr().out
    assert evaluated(moved[0], coco_root="given").coco_root == "given"
    (tmp_path / "there").mkdir()
    assert evaluated(moved[0]).coco_root == f"{tmp_path}/there"  # only it exists
    (tmp_path / "here").mkdir()
    assert evaluated(moved[0]).coco_root == f"{tmp_path}/here"


def test_data_paths_of_other_classes_or_of_none_stay(moved, tmp_path) -> None:
    own = {"coco_classes": "[background, cat]", "num_classes": "2"}
    assert evaluated(moved[0], **own).coco_root == f"{tmp_path}/there"
    moved[1].write_text(f"base: {REFINEDET}\ncoco_root: ''\n")
    assert evaluated(moved[0]).coco_root == f"{tmp_path}/there"
