"""The documentation as a site: it builds without a warning, its links lead somewhere, nothing is fetched."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

README_LINES = 220


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. --strict makes errors of mkdocs' warnings, those about links and anchors included."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(ROOT / "mkdocs.yml")]
    done = subprocess.run([*command, "--site-dir", str(folder)], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


def test_every_page_is_built(site: Path) -> None:
    pages = [path for path in (ROOT / "docs").glob("*.md") if path.name != "index.md"]
    assert len(pages) >= 9
    for page in pages:
        assert (site / "docs" / page.stem / "index.html").is_file()
    for readme in ROOT.glob("configs/*/README.md"):
        assert (site / readme.parent.relative_to(ROOT) / "index.html").is_file()
    assert "Detect something" in (site / "index.html").read_text()
    assert (site / "docs/images/demo.jpg").is_file()


def test_lists_and_tables_are_not_run_together(site: Path) -> None:
    for page in site.rglob("index.html"):
        text = re.sub(r"<(pre|code)\b.*?</\1>", "", page.read_text(), flags=re.DOTALL)
        for paragraph in re.findall(r"<p>(.*?)</p>", text, re.DOTALL):
            assert not re.search(r"^\s*(?:[-*] |\d+\. |\|)", paragraph, re.MULTILINE), f"{page}: {paragraph[:200]}"


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        fetched = re.findall(r"<(?:script|img|link|iframe)\b[^>]*?(?:src|href)=\"?(https?:[^\s\">]+)", page.read_text())
        assert fetched == [], page


@pytest.mark.parametrize("broken", ["[gone](gone.md)", "[gone](data.md#gone)"])
def test_a_broken_link_is_an_error(tmp_path: Path, broken: str) -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    for name in ("hooks", "nav", "watch"):
        del settings[name]
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(settings))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/data.md").write_text("# Data\n")
    (tmp_path / "docs/index.md").write_text(f"# Start\n\n{broken}\n")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode != 0 and "gone" in done.stderr


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= README_LINES
    linked = set(re.findall(r"\]\(([^)#]+)", text))
    pages = [*ROOT.glob("docs/*.md"), *ROOT.glob("configs/*/README.md"), ROOT / "ascend310_infer/README.md"]
    assert {str(page.relative_to(ROOT)) for page in pages} <= linked
    assert {"BENCHMARKS.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "CITATION.cff"} <= linked
