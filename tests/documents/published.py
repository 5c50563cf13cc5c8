"""The published READMEs as data: published/*.yaml has each of their lines, and how it works here."""

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent / "published"
KINDS = {
    "shell": "shell commands",
    "key": "keys",
    "log": "lines of output",
    "file": "files and folders",
    "json": "JSON",
    "figure": "figures",
}
NONE = object()


@dataclass(frozen=True)
class Departure:
    """What is not as published.

    Attributes:
        text: the line, part of a line, or key.
        why: the reason.
        here: what stands in its place; NONE: nothing does, or `why` says it.
    """

    text: str
    why: str
    here: Any = NONE


@dataclass(frozen=True)
class Entry:
    """Lines of a document that belong together.

    Attributes:
        lines: their numbers in the document.
        kind: a name in KINDS.
        text: what stands there, without comments.
        about: name of a text of several lines.
        here: what there is to say about it.
        run: tests that run it, beside those of this folder: FILE or FILE::FUNCTION.
        departures: what is not as published.
        form: of keys: yaml (a configuration file), quoted ("key": value), assignments (key=value of `program`), names.
        compared: whether published values of keys are those of the document's configuration.
        program: that takes the assignments.
        keys: {key: value} of the configuration that a command of a Python program leads to, or that figures are of.
        options: {name: value} of that program's own arguments.
        made_by: what prints lines of output: training, evaluation or postprocess.
        files: {path in the document: path here}.
    """

    lines: tuple[range, ...]
    kind: str
    text: str
    about: str = ""
    here: str = ""
    run: tuple[str, ...] = ()
    departures: tuple[Departure, ...] = ()
    form: str = ""
    compared: bool = True
    program: str = ""
    keys: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    made_by: str = ""
    files: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """The numbers of the lines, such as 107-128, 130."""
        return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in self.lines)

    @property
    def items(self) -> list[str]:
        """What is counted: lines of the text; keys; files."""
        if self.kind == "key" and self.form in ("yaml", "quoted"):
            return [name for name, _ in leaves(self.values())]
        if self.kind in ("json", "figure"):
            return [self.about or self.text]
        return list(self.files) or self.text.splitlines()

    def departure(self, text: str) -> Departure | None:
        """The departure of a line or key."""
        return next((one for one in self.departures if one.text == text), None)

    def values(self) -> dict[str, Any]:
        """The keys of a listing."""
        if self.form == "yaml":
            return yaml.safe_load(self.text)
        found = re.findall(r'^"(\w+)"\s*:\s*(.*?),?$', self.text, re.M)
        return {name: yaml.safe_load(value) for name, value in found}

    def published(self, name: str) -> Any:
        """The value of a key of a listing."""
        return dict(leaves(self.values()))[name]


@dataclass(frozen=True)
class Document:
    """A published README.

    Attributes:
        title: the system.
        document: its file name.
        configuration: the file here that has its values.
        entries: all that it shows, in its order.
    """

    title: str
    document: str
    configuration: str
    entries: tuple[Entry, ...] = field(compare=False)

    def of_kind(self, kind: str) -> list[Entry]:
        """The entries of a kind."""
        return [entry for entry in self.entries if entry.kind == kind]


@cache
def documents() -> tuple[Document, ...]:
    """The four documents, in the order of the README."""
    names = ("spinenet_retinanet", "instaboost", "nas_fpn", "refinedet")
    return tuple(_document(FOLDER / f"{name}.yaml") for name in names)


def pairs(*kinds: str) -> list[tuple[Document, Entry]]:
    """(document, entry) of these kinds."""
    return [(document, entry) for document in documents() for entry in document.entries if entry.kind in kinds]


def name_of(value: object) -> str:
    """The name of a test's parameter."""
    if isinstance(value, Document):
        return value.title
    return value.place if isinstance(value, Entry) else str(value)


def leaves(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """[(dotted key, value)] of nested values."""
    found = []
    for name, value in values.items():
        found += leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else [(prefix + name, value)]
    return found


def _document(path: Path) -> Document:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return Document(**{**content, "entries": tuple(_entry(entry) for entry in content["entries"])})


def _entry(values: dict[str, Any]) -> Entry:
    at = values.pop("at")
    values["departures"] = tuple(Departure(**one) for one in values.get("departures", ()))
    values["run"] = tuple(values.get("run", ()))
    return Entry(lines=tuple(_range(str(one)) for one in (at if isinstance(at, list) else [at])), **values)


def _range(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)
