"""Detectors are named in their own folders, in the table and in configurations, and nowhere else."""

import ast
import re
from pathlib import Path

import pytest

from src.models.table import DETECTORS

ROOT = Path(__file__).parents[2]
SOURCES = [*ROOT.glob("*.py"), *ROOT.glob("tools/*.py"), *(ROOT / "src").rglob("*.py")]
OWN = ROOT / "src/models"


def _outside(path: Path) -> bool:
    return OWN not in path.parents or (path.parent == OWN and path.name not in ("table.py",))


def _code(path: Path) -> ast.Module:
    """A file without its docstrings, which may name what they like."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False):
            node.body[0] = ast.Pass()
    return tree


@pytest.mark.parametrize("name", list(DETECTORS))
def test_no_code_depends_on_a_detectors_name(name: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}, line {node.lineno}"
        for path in filter(_outside, SOURCES)
        for node in ast.walk(_code(path))
        if isinstance(node, ast.Constant) and node.value == name
    ]
    assert found == []


def test_nothing_outside_the_models_imports_a_detectors_folder() -> None:
    folders = "|".join(path.name for path in OWN.iterdir() if (path / "spec.py").is_file() and path.name != "backbones")
    pattern = re.compile(rf"src\.models\.({folders})\b")
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in filter(_outside, SOURCES)
        for match in pattern.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_nothing_asks_a_network_or_a_data_set_what_it_has() -> None:
    asked = re.compile(
        r"\b(?:hasattr|getattr)\((?:self\.)?(?:net|dataset|detector|loader\.dataset)\b|config\.with_masks"
    )
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in SOURCES
        for match in asked.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []
