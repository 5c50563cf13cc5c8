"""Commands that name no configuration."""

import sys
from pathlib import Path

import pytest

from src.commands.default_config import default_config, default_of
from src.common.errors import UserError
from src.config import config_from_command_line

CONFIGS = Path(__file__).parents[2] / "configs"
NAS_FPN = CONFIGS / "nas_fpn/retinanet_r50_nasfpn_640.yaml"
REFINEDET = CONFIGS / "refinedet/refinedet_vgg16_320.yaml"
REFINEDET_VOC = CONFIGS / "refinedet/refinedet_vgg16_320_voc.yaml"


@pytest.mark.parametrize(
    ("program", "arguments", "expected"),
    [
        ("train.py", {"device_id": "0", "epoch_size": "500", "dataset": "coco"}, REFINEDET),
        ("train.py", {"dataset": "voc"}, REFINEDET_VOC),
        ("train.py", {"dataset": "other"}, REFINEDET),
        ("eval.py", {"dataset": "coco", "checkpoint_path": "x.ckpt"}, REFINEDET),
        ("export.py", {"ckpt_file": "x.ckpt", "file_format": "MINDIR"}, REFINEDET),
        ("export.py", {"checkpoint_path": "x.ckpt", "file_name": "retinanet_nasfpn"}, NAS_FPN),
        ("create_data.py", {"create_dataset": "coco", "is_training": "True"}, NAS_FPN),
        ("infer.py", {"checkpoint_path": "x.ckpt"}, None),
    ],
)
def test_defaults(program: str, arguments: dict, expected: Path | None) -> None:
    assert default_config(program, arguments) == expected
    assert expected is None or expected.is_file()


def test_the_default_is_said_and_loaded(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["/some/where/train.py", "--dataset=coco", "--epoch_size=7"])
    config = config_from_command_line("", fallbacks=[default_of("train.py")])
    assert (config.detector, config.epoch_size, config.config_path) == ("refinedet", 7, str(REFINEDET))
    said = f"configuration: {REFINEDET} (the default of this command; --config_path names another)\n"
    assert capsys.readouterr().out == said


def test_programs_without_a_default_ask_for_one(monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["infer.py", "--pred_input", "x"])
    with pytest.raises(UserError, match="--config_path is missing"):
        config_from_command_line("", fallbacks=[default_of("infer.py")])
