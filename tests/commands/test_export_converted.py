"""Formats that are made of an ONNX file, without MindSpore Lite and CANN: what is asked of them, and what is said."""

import subprocess
from pathlib import Path

import pytest

from src.commands.export import exported_path
from src.commands.export_converted import atc_command, refuse_conversion, write_om
from src.common.errors import UserError
from src.config import load_config
from src.deploy.export_card import ExportCard, Port, card_path, load_card
from src.schema import Config
from tests.deploy.cards import write_card
from tests.end_to_end.commands import ROOT

DEMO = ROOT / "configs/demo/mask_rcnn.yaml"
# What ATC is called with, as CANN's documentation has it; it writes OUTPUT.om.
ATC = """#!/bin/sh
echo "$@" > called
for word in "$@"; do case "$word" in --output=*) echo chip > "${word#--output=}.om";; esac; done
"""


def config_for(**overrides) -> Config:
    return load_config(DEMO, {"checkpoint_path": "a.ckpt", **overrides})


@pytest.fixture
def card(tmp_path: Path) -> ExportCard:
    """Of tmp_path/net.onnx, a mask model."""
    inputs = [Port(name="image", shape=[1, 3, 64, 96]), Port(name="image_info", shape=[1, 6])]
    changes = {"format": "ONNX", "form": "detections", "inputs": inputs}
    return write_card(tmp_path / "net.onnx", ["disc"], [8], **changes)


def test_names_of_files() -> None:
    assert exported_path(config_for(file_format="LITE")) == Path("a.mindir")
    assert exported_path(config_for(file_format="LITE", file_name="net.ms")) == Path("net.ms")
    assert exported_path(config_for(file_format="om", file_name="net.om")) == Path("net.om")
    with pytest.raises(UserError, match=r"net.ms has another suffix than --file_format MINDIR"):
        exported_path(config_for(file_name="net.ms"))
    with pytest.raises(UserError, match=r"net.onnx has another suffix than --file_format LITE"):
        exported_path(config_for(file_format="LITE", file_name="net.onnx"))


@pytest.mark.parametrize(
    ("home", "said"), [("", "LITE_HOME is not set"), ("/tmp", "LITE_HOME is /tmp, which holds none")]
)
def test_without_lite(monkeypatch: pytest.MonkeyPatch, home: str, said: str) -> None:
    monkeypatch.setenv("LITE_HOME", home)
    monkeypatch.delenv("MS_LITE_HOME", raising=False)
    with pytest.raises(UserError) as error:
        refuse_conversion(config_for(file_format="LITE"))
    assert str(error.value).startswith(f"MindSpore Lite is not installed ({said}): unpack mindspore-lite-<version>")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"precision": "int8"}, "--precision int8: --file_format OM takes float32 or float16"),
        ({"opset": 19}, "--opset 19: ATC of CANN reads versions up to 18 of the operators"),
        ({"export_dynamic_batch": 1}, "an OM file has a fixed batch; give --export_batch_size N"),
    ],
)
def test_what_an_om_file_cannot_have(overrides: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        refuse_conversion(config_for(file_format="OM", **overrides))


def test_the_command_of_atc(card: ExportCard) -> None:
    config = config_for(file_format="OM", precision="float16", soc_version="Ascend310P3")
    words = atc_command(Path("x/net.onnx"), Path("x/net.om"), card, config)
    assert words[:4] == ["atc", "--model=net.onnx", "--framework=5", "--output=net"]
    assert words[5:] == [
        "--input_shape=image:1,3,64,96;image_info:1,6",
        "--soc_version=Ascend310P3",
        "--precision_mode=force_fp16",
    ]


def om(folder: Path, card: ExportCard) -> Path:
    config = config_for(file_format="OM")
    return write_om(folder / "net.onnx", folder / "net.om", card, config, [], lambda found: None)


def test_without_atc_the_command_is_left(tmp_path: Path, card: ExportCard, monkeypatch, capsys) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    script = om(tmp_path, card)
    assert script == tmp_path / "net.atc.sh" and not (tmp_path / "net.om").exists()
    assert "net.om is not made: ATC of CANN is not installed here; run" in "".join(capsys.readouterr())
    assert subprocess.run(["sh", "-n", str(script)], check=False).returncode == 0
    assert "--soc_version=Ascend310 " in script.read_text()


def test_with_atc_it_is_run(tmp_path: Path, card: ExportCard, monkeypatch) -> None:
    atc = tmp_path / "bin/atc"
    atc.parent.mkdir()
    atc.write_text(ATC)
    atc.chmod(0o700)
    monkeypatch.setenv("PATH", f"{atc.parent}:/usr/bin:/bin")
    path = om(tmp_path, card)
    found = load_card(path)
    assert card_path(path).name == "net.om.json" and "--framework=5" in (tmp_path / "called").read_text()
    assert (found.format, found.source, found.source_sha256) == ("OM", "net.onnx", card.sha256)
    atc.write_text("#!/bin/sh\necho 'E10001: Value is invalid'\nexit 1\n")
    with pytest.raises(UserError, match=r"net.atc.sh: ATC ended with exit code 1 \(E10001: Value is invalid\)"):
        om(tmp_path, card)
