"""README_CN.md says what README.md says: the same headings, commands, tables, links and names, in the same order."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TRANSLATIONS = sorted(path for path in ROOT.glob("**/README_CN.md") if ".venv" not in path.parts)


def blocks(text: str) -> list[str]:
    """Blocks of code without their comments, which are translated."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [kind + "\n" + re.sub(r"\s*#.*", "", code) for kind, code in found]


def prose(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def tables(text: str) -> list[int]:
    """Columns of each row of a table, one row after the other."""
    return [line.count("|") for line in prose(text).splitlines() if line.startswith("|")]


def links(text: str) -> list[str]:
    targets = re.findall(r"\]\(([^)]+)\)", prose(text))
    return [target for target in targets if Path(target).name not in ("README.md", "README_CN.md") or "/" in target]


@pytest.mark.parametrize("path", TRANSLATIONS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_translation_has_all_of_the_original(path: Path) -> None:
    ours, original = path.read_text(encoding="utf-8"), (path.parent / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^#+ ", prose(ours), re.MULTILINE) == re.findall(r"^#+ ", prose(original), re.MULTILINE)
    assert blocks(ours) == blocks(original)
    assert tables(ours) == tables(original)
    assert links(ours) == links(original)
    assert sorted(re.findall(r"`[^`\n]+`", prose(ours))) == sorted(re.findall(r"`[^`\n]+`", prose(original)))


def test_there_is_one() -> None:
    assert ROOT / "README_CN.md" in TRANSLATIONS
