"""Writes docs/published_readmes.md from the data in published/: python -m tests.documents.published_page"""

from collections import Counter
from pathlib import Path

from tests.documents.published import KINDS, NONE, Departure, Document, Entry, documents

PAGE = Path(__file__).parents[2] / "docs/published_readmes.md"

INTRODUCTION = """# Published READMEs, line by line

This project follows four published READMEs, of which each system's page here tells
([SpineNet-RetinaNet](../configs/spinenet_retinanet/README.md), [InstaBoost](../configs/instaboost/README.md),
[NAS-FPN](../configs/nas_fpn/README.md), [RefineDet](../configs/refinedet/README.md)). What they show, you can paste:
every command, key, line of output and file is below, with the number of its line there, and where something departs
from it, the last column says how and why.

{counts}

How the tests of `tests/documents/` go through them:

- **Shell commands**: each script is called as it stands, from the root and from `scripts/`, and what it would start is
  compared (`DRY_RUN=1`, so that no chip is needed); each Python program reads the arguments, and the configuration that
  they lead to is compared. The tests in the column *run by* run them on the CPU with small data, or with stand-ins for
  the devices of an Ascend.
- **Keys**: the listings are loaded as configurations, and each published value is compared with that of the
  configuration here.
- **Lines of output** are compared, numbers aside, with what a training and an evaluation with the system's
  `log_format` print; JSON, character by character.
- **Files** exist, or tests of the column *run by* find them where they were written.

The rows are made from the data in `tests/documents/published/` (`python -m tests.documents.published_page`).
"""


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION.format(counts=counts())]
    for document in documents():
        parts.append(f"## {document.title}\n\n{table(document)}\n")
        if modules := counterparts(document):
            parts.append(f"Counterparts of its files of other names: {modules}.\n")
    return "\n".join(parts)


def counts() -> str:
    """How much of each kind the documents have."""
    lines = ["| system | " + " | ".join(KINDS.values()) + " | departures |", "|---" * (len(KINDS) + 2) + "|"]
    for document in documents():
        found = Counter({kind: 0 for kind in KINDS})
        for entry in document.entries:
            found[entry.kind] += len(entry.items)
        departures = sum(len(entry.departures) for entry in document.entries)
        lines.append(f"| {document.title} | " + " | ".join(str(found[kind]) for kind in KINDS) + f" | {departures} |")
    return "\n".join(lines)


def table(document: Document) -> str:
    """A row per entry."""
    lines = ["| lines | there | here | run by | departures, and why |", "|---|---|---|---|---|"]
    for entry in document.entries:
        tests = dict.fromkeys(code(pointer.partition("::")[0].removeprefix("tests/")) for pointer in entry.run)
        cells = (entry.place, there(entry), entry.here, ", ".join(tests), departures(entry))
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(lines)


def there(entry: Entry) -> str:
    """What the document shows."""
    lines = entry.text.splitlines()
    if entry.kind == "figure":
        return "tables of results"
    if entry.kind == "key" and entry.form in ("names", "assignments"):
        shown = ", ".join(code(line) for line in lines)
        return f"{entry.about}: {shown}" if entry.about else shown
    if entry.kind == "key":
        return f"{entry.about}: {len(entry.items)} keys"
    if entry.kind == "log":
        return f"{entry.about}: {len(lines)} kinds of lines"
    return entry.about or "<br>".join(code(line) for line in lines)


def departures(entry: Entry) -> str:
    """What departs, those of the same reason together."""
    by_reason: dict[str, list[str]] = {}
    for departure in entry.departures:
        by_reason.setdefault(departure.why, []).append(departed(entry, departure))
    return "<br>".join(f"{', '.join(texts)}: {why}" for why, texts in by_reason.items())


def departed(entry: Entry, departure: Departure) -> str:
    """There, and here where something stands in its place."""
    text = departure.text.strip()
    if entry.kind == "key" and entry.form in ("yaml", "quoted"):
        value = entry.published(departure.text)
        text = f"{departure.text}: {value}" if value != "" else departure.text
    if departure.here is NONE:
        return code(text)
    here = departure.here if departure.here != "" else "empty"
    return f"{code(text)} (here {code(here) if here != 'empty' else here})"


def counterparts(document: Document) -> str:
    """The files that have other names here."""
    named = {there: here for entry in document.of_kind("file") for there, here in entry.files.items()}
    folder = Path(document.configuration).parent.as_posix()
    moved = {
        there: here
        for there, here in named.items()
        if there != here and here != f"{folder}/{there.removeprefix('configs/')}"
    }
    return ", ".join(f"{code(there)} is {code(here)}" for there, here in moved.items())


def code(text: object) -> str:
    """As code of Markdown."""
    return f"`{text}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
