"""A headless browser, where the machine has one."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "headless_shell")
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu")
# Runs once everything has loaded: a picture that the browser could not decode has no width.
CHECK = (
    "<script>onload = () => { document.body.innerHTML = 'shown: ' + [...document.images]"
    ".filter(one => one.naturalWidth > 0).length + ' of ' + document.images.length + ' pictures' }</script>"
)
IMAGE = re.compile(r'<img src="([^"]+)"')


def pictures_of(page: Path) -> list[Path]:
    """The pictures of a page, each of which must be a file below its folder."""
    paths = [page.parent / source for source in IMAGE.findall(page.read_text())]
    for path in paths:
        assert path.is_file() and page.parent in path.parents, path
    return paths


def browser_program() -> str:
    """Path of a browser; skips where there is none."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser ({', '.join(NAMES)}) is on the PATH")
    return program


def check_pictures_are_shown(page: Path) -> None:
    """Open a page in a headless browser, which must show all of its pictures; skips where there is none."""
    program = browser_program()
    copy = page.with_name("checked.html")
    copy.write_text(page.read_text().replace("</body>", CHECK + "</body>"))
    options = (*OPTIONS, f"--user-data-dir={page.parent / 'browser'}")
    done = subprocess.run([program, *options, "--dump-dom", copy.as_uri()], capture_output=True, text=True, timeout=120)
    count = len(pictures_of(page))
    assert f"shown: {count} of {count} pictures" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
