"""Every key of the configuration is read outside the schema and its checks, or marked as published only."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from src.config import load_config
from src.models.table import DETECTORS, build_detector, spec_of
from src.schema import Config
from src.schema.sections import Section, is_published_only
from tests.conftest import ROOT

SCHEMA = ("src/schema/", "src/config/checks.py")
PROGRAMS = [*ROOT.glob("*.py"), *ROOT.glob("tools/*.py"), *(ROOT / "src").rglob("*.py")]
EXPERIMENTS = {
    "retinanet": ["spinenet_retinanet/default_config", "nas_fpn/default_config"],
    "mask_rcnn": ["instaboost/default_config"],
    "cascade_mask_rcnn": ["instaboost/cascade_mask_rcnn_r50_fpn"],
    "refinedet": ["refinedet/refinedet_vgg16_320", "refinedet/refinedet_resnet101_320"],
}
# Networks of one width and depth; which keys are read does not depend on them.
SMALL = {"backbone.depth": 18, "backbone.base_channels": 8}


def is_schema(path: Path) -> bool:
    place = str(path.relative_to(ROOT))
    return place.startswith(SCHEMA) or (place.startswith("src/models/") and path.name in ("config.py", "checks.py"))


def attributes(tree: ast.AST) -> set[str]:
    """Names of attributes that code reads."""
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def read_by_programs() -> set[str]:
    """Attributes that are read outside the schema, and those that the schema's properties read for them."""
    read: set[str] = set()
    properties: dict[str, set[str]] = {}
    for path in PROGRAMS:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if not is_schema(path):
            read |= attributes(tree)
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and any(
                isinstance(one, ast.Name) and one.id == "property" for one in node.decorator_list
            ):
                properties.setdefault(node.name, set()).update(attributes(node))
    while more := {name for own, names in properties.items() if own in read for name in names} - read:
        read |= more
    return read


def own_keys(model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    """Keys at the top of a configuration that are no sections."""
    for name, field in model.model_fields.items():
        if not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            yield name, field


@pytest.mark.parametrize("detector", list(DETECTORS))
def test_every_key_of_the_experiment_is_read(detector: str) -> None:
    read = read_by_programs()
    unread = [
        name
        for name, field in own_keys(DETECTORS[detector].config_class({}))
        if name not in read and not is_published_only(field)
    ]
    assert unread == []


class Recorder:
    """Notes which keys of which sections are read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read: set[tuple[str, str]] = set()
        plain, dump = Section.__getattribute__, Section.model_dump

        def noted(section: Section, name: str) -> Any:
            if not name.startswith("_"):
                self.read.add((type(section).__name__, name))
            return plain(section, name)

        def noted_dump(section: Section, *, include: Any = None, exclude: Any = None, **options: Any) -> dict:
            names = set(include or type(section).model_fields) - set(exclude or ())
            self.read |= {(type(section).__name__, name) for name in names}
            return dump(section, include=include, exclude=exclude, **options)

        monkeypatch.setattr(Section, "__getattribute__", noted)
        monkeypatch.setattr(Section, "model_dump", noted_dump)


def sections_of(section: BaseModel, prefix: str = "") -> Iterator[tuple[str, BaseModel]]:
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield f"{prefix}{name}", value
            yield from sections_of(value, f"{prefix}{name}.")


def unread_keys(config: Config, read: set[tuple[str, str]]) -> set[str]:
    return {
        f"{place}.{name}"
        for place, section in sections_of(config)
        for name, field in type(section).model_fields.items()
        if (type(section).__name__, name) not in read and not is_published_only(field)
    }


@pytest.mark.parametrize("detector", list(EXPERIMENTS))
def test_every_key_of_a_section_is_read(detector: str, monkeypatch: pytest.MonkeyPatch) -> None:
    unread: list[set[str]] = []
    for name in EXPERIMENTS[detector]:
        config = load_config(ROOT / f"configs/{name}.yaml")
        with monkeypatch.context() as patch:
            recorder = Recorder(patch)
            build_detector(config)
            export = spec_of(config).export
            export.selection(config, [1])
            export.score_threshold(config), export.rois_are_aligned(config)
            _ = config.mask_threshold, config.backbone.frozen, config.backbone.pretrained
        unread.append(unread_keys(config, recorder.read))
    # A key of one backbone is of no use to another: each must act in one of the experiments.
    assert set.intersection(*unread) == set()


def test_a_key_that_nothing_reads_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(ROOT / "configs/nas_fpn/default_config.yaml")
    assert "bbox_head.act" in unread_keys(config, set())


def test_published_keys_are_marked_in_help(capsys: pytest.CaptureFixture) -> None:
    from src.config import config_from_command_line

    with pytest.raises(SystemExit):
        config_from_command_line(
            "A program.", ["--config_path", f"{ROOT}/configs/instaboost/default_config.yaml", "-h"]
        )
    marked = [line.split(":")[0].strip() for line in capsys.readouterr().out.splitlines() if "[published key" in line]
    assert "--datasink" not in marked and "--roi.sample_num" in marked and "--mask_roi.sample_num" not in marked
