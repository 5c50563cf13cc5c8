"""Commands, keys and files of the published READMEs, one by one (published/*.yaml)."""

import ast
import importlib
import re
import shlex
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml

from src.common.errors import UserError
from src.config import config_from_command_line, load_config
from src.config.load import leaves as known_keys
from src.config.published_keys import published_keys
from src.schema import Config, lookup
from src.weights.checkpoint import save_weights
from tests.conftest import ROOT
from tests.documents.published import KINDS, NONE, Document, Entry, documents, leaves, name_of, pairs
from tests.scripts.published_lines import BUILD, INFERENCE_310, LINES

KEYS = pairs("key")
PROGRAM_LINES = [(document, entry) for document, entry in pairs("shell") if entry.text.startswith("python ")]
VALUES = {
    "[RUN_PLATFORM]": "retinanet_nasfpn", "[EXPORT_FORMAT]": "MINDIR", "[CHECKPOINT PATH]": "x.ckpt",
    "[CKPT_PATH]": "x.ckpt", "[FILE_NAME]": "net", "[FILE_FORMAT]": "MINDIR",
}  # fmt: skip


@pytest.mark.parametrize(("document", "entry"), pairs(*KINDS), ids=name_of)
def test_entries_name_tests_and_departures_that_exist(document: Document, entry: Entry) -> None:
    assert entry.items and entry.place
    for pointer in entry.run:
        file, _, function = pointer.partition("::")
        tree = ast.parse((ROOT / file).read_text())
        assert not function or function in {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}, pointer
    for departure in entry.departures:
        assert departure.text in entry.items or departure.text in entry.text, departure.text
        assert departure.why


# Commands


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_every_script_is_run_dry(document: Document) -> None:
    """From the root and from inside scripts/, with what it would start compared: tests/scripts/."""
    ours = [line for line in (*LINES, BUILD, *INFERENCE_310) if document.title in line.documents.split(", ")]
    published = [entry.text for entry in document.of_kind("shell") if entry.text.startswith("bash ")]
    assert sorted(published) == sorted(line.text for line in ours)


@pytest.mark.parametrize(("document", "entry"), pairs("shell"), ids=name_of)
def test_no_other_command_is_left_out(document: Document, entry: Entry) -> None:
    for line in entry.text.splitlines():
        if line.startswith("python "):
            assert entry.keys
        elif line.startswith("pip "):
            package = entry.departure(line)
            assert package and (package.here is NONE or package.here in requirements())
        else:
            assert line.startswith("bash ")


@pytest.mark.parametrize(("document", "entry"), PROGRAM_LINES, ids=name_of)
def test_programs_understand_their_arguments(
    document: Document, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the program's own reader of arguments and configurations; the work that would follow is replaced."""
    text = entry.text
    for departure in entry.departures:
        with pytest.raises(UserError, match="unknown key 'file_formatMINDIR'; did you mean 'file_format'"):
            configured(text, tmp_path, monkeypatch)
        text = text.replace(departure.text, departure.here)
    config, options = configured(text, tmp_path, monkeypatch)
    for name, value in entry.keys.items():
        found = lookup(config, name)
        assert str(found).removeprefix(str(tmp_path)) == str(value), name
    assert options == list(entry.options.values())


def configured(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Config, list[Any]]:
    """The configuration that the work of a program is given, and the program's own options."""
    for placeholder, value in VALUES.items():
        text = text.replace(placeholder, value)
    for path in ("x.ckpt", "ckpt/refinedet.ckpt", "cache/checkpoint/retinanet_nasfpn-300-916.ckpt"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        save_weights(folder / path, {"weight": np.zeros(1, np.float32)})
    _, program, *arguments = shlex.split(text.replace(" /cache/", f" {folder}/cache/"))
    module: ModuleType = importlib.import_module(program.removesuffix(".py"))
    given: list[Any] = []
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", [program, *arguments])
    monkeypatch.setattr(module, "on_modelarts", lambda config: nullcontext(), raising=False)
    work = {
        "train.py": "src.commands.train.train", "eval.py": "src.commands.evaluate.evaluate",
        "export.py": "src.commands.export.export", "create_data.py": "src.data.mindrecord.create.create_mindrecord",
    }  # fmt: skip
    monkeypatch.setattr(work[program], lambda *values: given.extend(values))
    module.main()
    return given[0], given[1:4]


# Keys


@pytest.mark.parametrize(("document", "entry"), [p for p in KEYS if p[1].form in ("yaml", "quoted")], ids=name_of)
def test_listed_keys_are_understood_with_their_values(document: Document, entry: Entry, tmp_path: Path) -> None:
    """In a file that holds them, or, where that names no detector, beside the system's own keys."""
    values = entry.values()
    if "detector" not in values:
        values["base"] = str(ROOT / document.configuration)
    path = tmp_path / "published.yaml"
    path.write_text(yaml.safe_dump(values))
    config = load_config(path)
    values.pop("base", None)
    for name, value in leaves(values):
        assert found(config, name, value) == standard(value), name


@pytest.mark.parametrize(("document", "entry"), [p for p in KEYS if p[1].form in ("yaml", "quoted")], ids=name_of)
def test_listed_values_are_the_defaults(document: Document, entry: Entry) -> None:
    """Or a departure, which has to be one."""
    config = load_config(ROOT / document.configuration)
    for name, value in leaves(entry.values()) if entry.compared else ():
        departure = entry.departure(name)
        expected = value if departure is None or departure.here is NONE else departure.here
        assert found(config, name, value) == standard(expected), name
        assert expected is value or standard(expected) != standard(value), f"{name} is no departure any more"


@pytest.mark.parametrize(("document", "entry"), [p for p in KEYS if p[1].form == "names"], ids=name_of)
def test_named_keys_are_known(document: Document, entry: Entry) -> None:
    config = load_config(ROOT / document.configuration)
    known = {name for name, _ in known_keys(type(config))} | set(published_keys(config.detector))
    assert set(entry.text.split()) <= known


@pytest.mark.parametrize(("document", "entry"), [p for p in KEYS if p[1].form == "assignments"], ids=name_of)
def test_assigned_keys_are_understood_on_the_command_line(document: Document, entry: Entry) -> None:
    assert (ROOT / entry.program).is_file()
    given = dict(line.split("=", 1) for line in entry.text.splitlines())
    given["_config_path"] = str(ROOT / document.configuration)
    config = config_from_command_line("", [f"--{name}={value}" for name, value in given.items()])
    assert config.config_path == given.pop("_config_path")
    for name, value in given.items():
        assert found(config, name, value) == standard(yaml.safe_load(value)), name


def found(config: Config, name: str, published: object) -> object:
    """The value of a key in its published spelling, which may stand for several keys."""
    values = [standard(lookup(config, key)) for key in published_keys(config.detector).get(name, (name,))]
    if len(values) > 1 and isinstance(published, list):
        return values
    assert all(value == values[0] for value in values)
    return values[0]


def standard(value: object) -> object:
    """Values that mean the same are equal: 1e-6 is text in YAML, None is no path."""
    if isinstance(value, list):
        return [standard(one) for one in value]
    if value in (None, "None"):
        return ""
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


# Files and figures


@pytest.mark.parametrize(("document", "entry"), pairs("figure"), ids=name_of)
def test_figures_are_of_a_configuration_that_is_here(document: Document, entry: Entry) -> None:
    (path,) = entry.files.values()
    config = load_config(ROOT / path)
    assert {name: lookup(config, name) for name in entry.keys} == entry.keys


@pytest.mark.parametrize(("document", "entry"), pairs("file"), ids=name_of)
def test_files_are_there(document: Document, entry: Entry) -> None:
    """Here, or where the tests that `run` names find them."""
    assert entry.files or entry.run
    for published, here in entry.files.items():
        assert (ROOT / here).exists(), published


@pytest.mark.parametrize(
    ("document", "entry"), [p for p in pairs("file") if p[1].about == "requirements.txt"], ids=name_of
)
def test_packages(document: Document, entry: Entry) -> None:
    assert [one.text for one in entry.departures] == entry.text.splitlines()
    for departure in entry.departures:
        name = re.split(r"[=~>]", departure.text)[0]
        assert departure.here in requirements() if departure.here is not NONE else name not in requirements()


def requirements() -> list[str]:
    """The packages of requirements.txt."""
    return re.findall(r"^([\w-]+)==", (ROOT / "requirements.txt").read_text(), re.M)
