"""Another version of MindSpore is named in one line, whatever it raises."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from src.common.mindspore_version import unsupported_mindspore
from tests.conftest import ROOT


def test_the_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    for version, refused in {
        "2.7.2": True, "2.8.0": False, "2.9.0rc1": False, "2.10.0": False, "2.10.1.post1": False, "2.11.0": True,
        "1.10.1": True, "3.0": True, "unknown": False,
    }.items():  # fmt: skip
        monkeypatch.setattr(metadata, "version", lambda name, version=version: version)
        assert bool(unsupported_mindspore()) == refused, version
    monkeypatch.setattr(metadata, "version", lambda name: "2.7.0")
    assert unsupported_mindspore().startswith("MindSpore 2.7.0 is none of the versions 2.8 to 2.10 that this runs on")


@pytest.mark.parametrize("version", ["2.5.0", "2.11.0"])
def test_a_program_on_another_version_ends_with_one_line(tmp_path: Path, version: str) -> None:
    """A made-up MindSpore that lacks everything: train.py names it instead of what it did not find."""
    (tmp_path / "mindspore").mkdir()
    (tmp_path / "mindspore/__init__.py").write_text("")
    info = tmp_path / f"mindspore-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: mindspore\nVersion: {version}\n")
    words = ("--config_path", ROOT / "configs/demo/refinedet.yaml", "--train_dataset", "x", "--train_outputs", "o")
    done = subprocess.run(
        [sys.executable, ROOT / "train.py", *words], cwd=tmp_path, env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert f"MindSpore {version} is none of the versions" in done.stderr
    assert "Error: " in done.stderr
