"""From any folder, with the project's on PYTHONPATH: programs and Python code work; relative paths are the caller's."""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.data.coco_files import IDS, NAMES, annotation, write_dataset

PROGRAMS = [*sorted(ROOT.glob("*.py")), *sorted((ROOT / "tools").glob("*.py"))]

ALL_HELP = """
import runpy, sys
for program in sys.argv[1:]:
    sys.argv = [program, "--help"]
    try:
        runpy.run_path(program, run_name="__main__")
    except SystemExit as end:
        assert not end.code, program
"""

EVALUATION = """
from src.commands.evaluate import evaluate
from src.config import load_config
from src.data.formats.coco import CocoDataset

config = load_config("my.yaml", {"prediction_path": "found/predictions.json"})
assert len(CocoDataset("pictures", ["cat", "dog", "owl"]).records) == 3
print("AP", round(evaluate(config).stats["bbox_mAP"], 6))
"""


def python(*arguments: object, cwd) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture
def folder(tmp_path):
    """A caller's folder: a configuration, pictures, predictions that are right."""
    write_dataset(tmp_path / "pictures", 3, 80, 120, [annotation(1, 10, [4, 4, 20, 20], IDS[0])])
    (tmp_path / "found").mkdir()
    right = {"image_id": 10, "category_id": IDS[0], "bbox": [4, 4, 20, 20], "score": 0.9}
    (tmp_path / "found/predictions.json").write_text(json.dumps([right]))
    (tmp_path / "my.yaml").write_text(
        f"base: ../demo/refinedet.yaml\ncoco_classes: [background, {', '.join(NAMES)}]\nnum_classes: 4\n"
        "category_ids: []\nval_dataset: pictures\n"
    )
    return tmp_path


def test_every_program_says_how_it_is_used(tmp_path):
    out = python("-c", ALL_HELP, *PROGRAMS, cwd=tmp_path)
    assert out.count("usage: ") + out.count("--config_path") >= len(PROGRAMS)
    assert not list(tmp_path.iterdir())


def test_python_code(folder):
    assert python("-c", EVALUATION, cwd=folder).rstrip().endswith("AP 1.0")
    assert (folder / "found/predictions_metrics.json").is_file()


def test_a_program(folder):
    program = ROOT / "eval.py"
    words = ("--config_path", "my.yaml", "--prediction_path", "found/predictions.json")
    assert "predictions_metrics.json" in python(program, *words, cwd=folder)
    stats = json.loads((folder / "found/predictions_metrics.json").read_text())["stats"]
    assert stats["bbox_mAP"] == pytest.approx(1)
    python("-m", "src.commands.infer_files", "--help", cwd=folder)
