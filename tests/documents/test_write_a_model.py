"""The files that docs/write_a_model.md shows work as it says, from nothing but the page and a line in each table."""

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

import src.models
import src.models.backbones
from src.common.errors import UserError
from src.config import load_config
from src.models.backbones.table import BACKBONES
from src.models.table import DETECTORS
from tests.conftest import ROOT

PAGE = (ROOT / "docs/write_a_model.md").read_text()


@pytest.fixture
def page_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of the page, in folders that the project's packages are extended by."""
    for name, code in re.findall(r"```python\n# (src/\S+)\n(.*?)```", PAGE, re.DOTALL):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
    (tmp_path / "src/models/grid/__init__.py").write_text('"""The grid detector."""\n')
    for package in (src.models, src.models.backbones):
        extend(package, tmp_path, monkeypatch)
    return tmp_path


def extend(package: ModuleType, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a package find modules under `root` too."""
    folder = root / package.__name__.replace(".", "/")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])


def written(folder: Path, text: str) -> Path:
    path = folder / "experiment.yaml"
    path.write_text(f"base: {ROOT}/configs/_base_/coco_detection.yaml\n{text}")
    return path


def test_the_pages_layers_are_those_of_the_linter() -> None:
    (drawn,) = re.findall(r"```text\n(commands .*?)```", PAGE, re.DOTALL)
    settings = (ROOT / "pyproject.toml").read_text()
    (listed,) = re.findall(r"^layers = \[\n(.*?)^\]", settings, re.DOTALL | re.MULTILINE)
    assert re.findall(r"^(\w+)", drawn, re.MULTILINE) == re.findall(r'"(\w+)"', listed)


def test_the_files_that_the_page_names_exist() -> None:
    for path in re.findall(r"`((?:src|tests|configs)/[\w/.-]+)`", PAGE):
        assert (ROOT / path).exists(), path


def test_the_detector_is_a_folder_and_a_line(page_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.import_module("src.models.grid.spec")
    monkeypatch.setitem(DETECTORS, "grid", spec.GRID)
    text = "detector: grid\nimg_width: 128\nimg_height: 64\ndivider: 1\n"
    config = load_config(written(page_files, text), {"test_cfg.max_per_img": 7})
    assert type(config).__name__ == "GridConfig" and config.test_cfg.max_per_img == 7
    assert config.backbone.type == "resnet"
    assert spec.GRID.export.selection(config, [8])["max_per_img"] == 7
    with pytest.raises(UserError, match="img_width gives an input of 100 pixels; .* multiple of 32"):
        load_config(written(page_files, text), {"img_width": 100})
    with pytest.raises(UserError, match=r"backbone\.type"):
        load_config(written(page_files, text), {"backbone.type": "spinenet"})


def test_the_backbone_is_a_file_and_a_line(page_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = importlib.import_module("src.models.backbones.plain")
    monkeypatch.setitem(BACKBONES, "plain", plain.PLAIN)
    monkeypatch.setitem(DETECTORS, "grid", importlib.import_module("src.models.grid.spec").GRID)
    text = "detector: grid\nimg_width: 128\nimg_height: 64\nbackbone: {type: plain, base_channels: 16}\n"
    config = load_config(written(page_files, text))
    assert plain.PLAIN.channels(config.backbone) == [16, 32, 64, 128]
    assert plain.PLAIN.strides(config.backbone) == [4, 8, 16, 32]


def test_the_format_is_a_file_and_a_line(page_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = importlib.import_module("src.data.formats.table")
    extend(importlib.import_module("src.data.formats"), page_files, monkeypatch)
    csv_boxes = importlib.import_module("src.data.formats.csv_boxes")
    monkeypatch.setitem(table.FORMATS, "csv", csv_boxes.FORMAT)
    boxes = page_files / "boxes.csv"
    boxes.write_text("one.jpg,1,2,30,40,cat\ntwo.jpg,0,0,9,9,dog\none.jpg,5,5,20,20,dog\n")
    text = "dataset: csv\ncoco_classes: [background, cat, dog]\nnum_classes: 3\ncategory_ids: []\n"
    config = load_config(written(page_files, text), {"val_dataset": str(boxes)})
    dataset = table.format_of(config).open_split(config, training=False, with_masks=False)
    assert dataset.missing_images == [str(page_files / "one.jpg"), str(page_files / "two.jpg")]
    truth = dataset.coco_annotations()
    assert [(one["image_id"], one["category_id"]) for one in truth["annotations"]] == [(1, 1), (1, 2), (2, 2)]
    again = csv_boxes.FORMAT.open_path(str(boxes), ["cat", "dog"], [7, 8], "")
    assert again.category_ids == [7, 8]
    boxes.write_text("one.jpg,1,2,30,40,bird\n")
    with pytest.raises(UserError, match=r"boxes\.csv, line 1: .*bird.* is not image"):
        csv_boxes.FORMAT.open_path(str(boxes), ["cat", "dog"], [], "")
