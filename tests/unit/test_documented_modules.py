"""Modules that the documentation names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_MODULE = re.compile(r"(?:[a-z_0-9]+/)*[a-z_0-9]+\.py\b")
_MODULES = [
    path.relative_to(ROOT).as_posix()
    for folder in ("benchmarks", "clients/python", "contactsvc", "deploy", "examples", "tests")
    for path in (ROOT / folder).rglob("*.py")
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_modules_that_a_page_names_exist(page: Path) -> None:
    named = set(_MODULE.findall(page.read_text()))

    assert {name for name in named if not any(f"/{path}".endswith(f"/{name}") for path in _MODULES)} == set()
