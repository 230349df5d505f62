"""The documentation is short where it begins, its links lead somewhere, and its code is run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.documentation import PAGES, ROOT, anchors, blocks, links, relative, run_blocks

README = ROOT / "README.md"
# Those of installed packages are not ours.
FOREIGN_FOLDERS = {"node_modules"}
LINKED_PAGES = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part in FOREIGN_FOLDERS for part in path.relative_to(ROOT).parts)
)
MAX_README_LINES = 200
# The sites that pages link to. Each belongs to the project or the standard that the link names.
SITES = {"github.com", "keepachangelog.com", "protobuf.dev", "semver.org", "www.envoyproxy.io"}
# By tests/integration/test_documentation_examples.py.
RUN_LANGUAGES = {"python", "text", "console", "bash"}
GENERATORS = sorted((ROOT / "docs").glob("generate_*.py"))


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= MAX_README_LINES


@pytest.mark.parametrize("page", LINKED_PAGES, ids=relative)
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    broken = []
    for link in links(page):
        target = urlsplit(link)
        if target.scheme:
            continue
        file = (page.parent / target.path).resolve() if target.path else page
        if not file.exists() or (target.fragment and target.fragment not in anchors(file)):
            broken.append(link)

    assert broken == []


@pytest.mark.parametrize("page", LINKED_PAGES, ids=relative)
def test_every_other_link_leads_to_a_known_site(page: Path) -> None:
    sites = {urlsplit(link).hostname for link in links(page) if urlsplit(link).scheme}

    assert sites - SITES == set()


def test_every_page_is_linked_from_the_readme() -> None:
    linked = {(README.parent / urlsplit(link).path).resolve() for link in links(README)}

    assert {relative(page) for page in PAGES if page != README and page not in linked} == set()


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_code_block_is_run_or_says_why_not(page: Path) -> None:
    # The TypeScript suite reads the pages that this script names.
    extracted = (ROOT / "clients/typescript/test/extract_guide.mjs").read_text()
    languages = RUN_LANGUAGES | ({"ts"} if relative(page) in extracted else set())

    unmarked = [block.text for block in blocks(page) if not block.is_exempt and block.language not in languages]

    assert unmarked == []


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_output_follows_a_program(page: Path) -> None:
    languages = [block.language for block in run_blocks(page, "python", "text")]

    assert "text" not in languages or languages[0] == "python"


@pytest.mark.parametrize("generator", GENERATORS, ids=relative)
def test_generated_pages_are_fresh(generator: Path) -> None:
    subprocess.run([sys.executable, str(generator), "--check"], check=True)
