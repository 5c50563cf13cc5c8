"""A web page of tables and pictures in one folder, nothing fetched from elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from src.common.atomic import atomic_path

STYLE = (
    "body{font:15px/1.5 sans-serif;margin:2em auto;max-width:70em;padding:0 1em}"
    "table{border-collapse:collapse;margin:1em 0}td,th{border:1px solid #bbb;padding:.2em .6em;text-align:right}"
    "td:first-child,th:first-child{text-align:left}img{max-width:100%;margin:.3em 0}"
    ".bad{color:#b00020}code{background:#eee;padding:0 .2em}"
)
MOST_LINES = 30


@dataclass
class Part:
    """A heading with lines of text, a table (its first row is the head) and pictures."""

    title: str
    lines: Sequence[str] = ()
    table: Sequence[Sequence[object]] = ()
    pictures: Sequence[Path] = ()
    is_bad: bool = False


def write_page(path: Path, title: str, parts: Sequence[Part]) -> None:
    """Write the page; pictures lie in its folder or below."""
    body = "\n".join(_html(part, path.parent) for part in parts)
    text = (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="xmlcharrefreplace")


def _html(part: Part, folder: Path) -> str:
    lines = [f"<h2{' class=bad' if part.is_bad else ''}>{escape(part.title)}</h2>"]
    if part.table:
        cells = [(("th" if number == 0 else "td"), row) for number, row in enumerate(part.table)]
        rows = "".join(f"<tr>{''.join(f'<{tag}>{escape(str(one))}</{tag}>' for one in row)}</tr>" for tag, row in cells)
        lines.append(f"<table>{rows}</table>")
    if part.lines:
        shown = "".join(f"<li>{escape(line)}</li>" for line in part.lines[:MOST_LINES])
        more = f"<p>... and {len(part.lines) - MOST_LINES} more</p>" if len(part.lines) > MOST_LINES else ""
        lines.append(f"<ul>{shown}</ul>{more}")
    lines += [f'<img src="{escape(str(one.relative_to(folder)))}" alt="{escape(one.stem)}">' for one in part.pictures]
    return "\n".join(lines)
