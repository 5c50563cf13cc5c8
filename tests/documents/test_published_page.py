"""The page about the published READMEs says what the data says, and the data has all that the READMEs show."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.documents.published import Document, Entry, documents, name_of
from tests.documents.published_page import PAGE, page
from tests.documents.test_published_output import pattern

FOLDERS = [parent / "shared/seeds" for parent in ROOT.parents]  # the READMEs themselves, where they are at hand
COMMAND = re.compile(r"(?:# example: )?((?:bash|python|pip) .+)")


def test_the_page_is_made_from_the_data() -> None:
    assert PAGE.read_text() == page(), "run: python -m tests.documents.published_page"


class Readme:
    """A published README.

    Attributes:
        fenced: {number: line} in its blocks of code, blank ones left out.
        other: its text outside of them.
    """

    def __init__(self, path: Path) -> None:
        self.fenced: dict[int, str] = {}
        other, inside = [], False
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if line.lstrip().startswith("```"):
                inside = not inside
            elif not inside:
                other.append(line)
            elif line.strip():
                self.fenced[number] = line
        self.other = "\n".join(other)


def readme(document: Document) -> Readme:
    path = next((folder / document.document for folder in FOLDERS if (folder / document.document).is_file()), None)
    if path is None:
        pytest.skip(f"{document.document} is not beside the project")
    return Readme(path)


def lines_with_entries(document: Document) -> Iterator[tuple[str, list[Entry]]]:
    """(line of a block of code, the entries that it belongs to)."""
    for number, line in readme(document).fenced.items():
        yield line, [entry for entry in document.entries if any(number in lines for lines in entry.lines)]


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_no_line_is_left_out(document: Document) -> None:
    for line, entries in lines_with_entries(document):
        assert entries, line
        if command := COMMAND.fullmatch(line.strip()):
            kept = [text.strip() for entry in entries if entry.kind == "shell" for text in entry.text.splitlines()]
            assert command[1] in kept, line


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_no_key_is_left_out(document: Document) -> None:
    listed: dict[str, list[str]] = {}
    for line, entries in lines_with_entries(document):
        for entry in (entry for entry in entries if entry.kind == "key"):
            listed.setdefault(entry.place, []).extend(keys_in(line, entry.form))
    kept = {entry.place: [line.strip() for line in entry.text.splitlines()] for entry in document.of_kind("key")}
    for place, lines in listed.items():
        repeated = [line for line in lines if "=" in line]  # the settings of ModelArts, some of them told twice
        assert kept[place] == (list(dict.fromkeys(lines)) if repeated else lines)


def keys_in(line: str, form: str) -> list[str]:
    """What a line of a listing has, without its comment."""
    if form == "assignments":
        return re.findall(r'"(\w+=[^"]*)"', line)
    text = re.sub(r"(?<!\S)#.*$", "", line).strip()
    return [text] if re.match(r'"?[a-z]\w*"?\s*:', text, re.IGNORECASE) or text.endswith(("',", "']")) else []


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_no_line_of_output_or_file_is_left_out(document: Document) -> None:
    for line, entries in lines_with_entries(document):
        for entry in entries:
            if entry.kind == "log":
                assert any(pattern(kept).fullmatch(line) for kept in entry.text.splitlines()), line
            name = re.search(r"[─└├] *([\w.]+\.(?:py|sh|yaml|md|txt|cu))\b", line)
            if entry.files and name and name[1] != "__init__.py":
                assert name[1] in {Path(there).name for there in entry.files}, line


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_no_line_is_made_up(document: Document) -> None:
    there = {COMMAND.sub(r"\1", re.sub(r"\s+#.*$", "", line).strip()) for line in readme(document).fenced.values()}
    for entry in document.entries:
        if entry.kind in ("shell", "log", "json") or entry.form in ("yaml", "quoted"):
            made_up = {line.strip() for line in entry.text.splitlines()} - there
            assert {line.removesuffix(",") for line in made_up} <= {line.removesuffix(",") for line in there}


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_no_name_in_the_text_is_left_out(document: Document) -> None:
    known = "\n".join(
        "\n".join((entry.text, entry.here, entry.about, *entry.files, *(one.text for one in entry.departures)))
        for entry in document.entries
    )
    for name in re.findall(r"`([^`\n]+)`", re.sub(r"```.*", "", readme(document).other)):
        assert name in known, name
