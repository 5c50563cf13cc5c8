"""The layers of src: no file imports from above its own layer, at the top of the file or inside a function."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
tomllib = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")


def _layers() -> list[str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    return layers


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of each import of this project in a file, wherever it stands, and of each importlib call."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("src."):
            names = [node.value]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.split(".")[0] == "src" and "." in name)


def upward_imports(root: Path, layers: list[str]) -> list[str]:
    """`file, line: module` of each import from a layer above the file's own."""
    place = {name: index for index, name in enumerate(layers)}
    found = []
    for path in sorted((root / "src").rglob("*.py")):
        own = place.get(path.relative_to(root / "src").parts[0])
        for line, module in imports_of(path):
            other = place.get(module.split(".")[1])
            if own is not None and other is not None and other < own:
                found.append(f"{path.relative_to(root)}, line {line}: {module}")
    return found


def test_import_linter_keeps_the_layers_and_finds_no_circle() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([str(linter), "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:]


def test_no_function_imports_from_above() -> None:
    assert upward_imports(ROOT, _layers()) == []


def test_every_folder_is_a_layer() -> None:
    folders = {path.name for path in (ROOT / "src").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(_layers())


@pytest.mark.parametrize(
    "text",
    [
        "from src.engine.trainer import train\n",
        "def late():\n    from src.engine.trainer import train\n    return train\n",
        "import importlib\n\n\ndef late():\n    return importlib.import_module('src.engine.trainer')\n",
    ],
    ids=["top", "function", "importlib"],
)
def test_an_upward_import_is_found(tmp_path: Path, text: str) -> None:
    file = tmp_path / "src/blocks/curious.py"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert len(upward_imports(tmp_path, _layers())) == 1
