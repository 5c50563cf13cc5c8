"""What a compiled graph depends on changes its key; what it does not depend on leaves it."""

from pathlib import Path

import pytest

from src.config import load_config
from src.model_utils import graph_key
from src.model_utils.graph_key import OUTSIDE_GRAPHS, source_checksum, surroundings
from src.schema import Config
from tests.conftest import ROOT

DEMO = ROOT / "configs/demo/mask_rcnn.yaml"


def key(**changes: object) -> str:
    overrides = {name.replace("__", "."): value for name, value in changes.items()}
    return surroundings(load_config(DEMO, overrides))


@pytest.mark.parametrize(
    "changes",
    [
        {"rpn__anchor_generator__scales": [5]},
        {"coco_classes": ["background", "disc", "square", "triangle", "star"]},
        {"num_classes": 3, "coco_classes": ["background", "one", "two"]},
        {"img_width": 256},
        {"opt_type": "adam"},
        {"weight_decay": 0.5},
        {"loss_scale": 3},
        {"seed": 77},
        {"deterministic": 1},
        {"ema_decay": 0.9},
        {"jit_level": "O1"},
        {"recompute": 1},
    ],
    ids=str,
)
def test_a_setting_of_the_graph_changes_the_key(changes: dict):
    assert key(**changes) != key()


def test_where_things_are_and_how_long_is_trained_leaves_the_key(tmp_path: Path):
    elsewhere = {"train_outputs": str(tmp_path), "brief": "b", "epoch_size": 99, "resume": "1", "pred_output": "p.json"}
    assert (
        key(**elsewhere, train_dataset="t", checkpoint_path="c.ckpt", log_every=3, compile_cache="0", profile=2)
        == key()
    )


def test_source_versions_processor_and_environment_change_the_key(monkeypatch: pytest.MonkeyPatch):
    keys = {key()}
    with monkeypatch.context() as patch:
        patch.setattr(graph_key, "version", lambda package: f"{package} 99")
        keys.add(key())
    with monkeypatch.context() as patch:
        patch.setattr(graph_key, "processor", lambda: "x86_64 sse2")
        keys.add(key())
    with monkeypatch.context() as patch:
        patch.setenv("CUSTOM_CONV", "no")
        keys.add(key())
    with monkeypatch.context() as patch:
        patch.setattr(graph_key, "source_checksum", lambda folder: "other source")
        keys.add(key())
    assert len(keys) == 5


@pytest.mark.parametrize("name", ["model.py", "ops/kernel.cc", "ops/kernel.cu", "ops/kernel.h"])
def test_a_changed_source_file_or_kernel_changes_the_checksum(tmp_path: Path, name: str):
    (tmp_path / "ops").mkdir()
    for file in ("model.py", "ops/kernel.cc", "ops/kernel.cu", "ops/kernel.h"):
        (tmp_path / file).write_text("one")
    before = source_checksum(tmp_path)
    (tmp_path / "ops/model.pyc").write_text("no source")
    assert source_checksum(tmp_path) == before
    (tmp_path / name).write_text("two")
    changed = source_checksum(tmp_path)
    assert changed != before
    (tmp_path / name).rename(tmp_path / "moved.py")
    assert source_checksum(tmp_path) not in (before, changed)


def test_the_source_is_that_of_this_package():
    assert (graph_key.PACKAGE / "ops/convolution/cpu/convolution.cc").is_file()


def test_only_keys_that_exist_are_left_out():
    assert OUTSIDE_GRAPHS - Config.model_fields.keys() == set()
