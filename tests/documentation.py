"""The pages of the documentation, their code blocks, links and headings, read for tests."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
"""The pages whose code blocks are run."""

# Their blocks need more than to be run one after the other, such as input, and have a test of their own.
_TESTED_ELSEWHERE = {"docs/verification.md": "tests/integration/test_documented_verification.py"}

_FENCED = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!-- (.*?) -->\n *\Z", re.DOTALL)
# Such as "Not run: needs Docker." and "tests/integration/test_examples.py compares this output."
_REASON = re.compile(r"Not run: .+\.|.*\btests?\b.*\.", re.DOTALL)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced code block.

    Attributes:
        language: the word after the opening fence, or "".
        text: the lines between the fences.
        comment: the HTML comment on the line before the block, or "".
    """

    language: str
    text: str
    comment: str

    @property
    def is_exempt(self) -> bool:
        """Whether a comment says why the block is not run, or which other test runs it."""
        return _REASON.fullmatch(self.comment) is not None


def relative(path: Path) -> str:
    """Return the path of a page from the root of the repository, for the ids of tests."""
    return path.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """Return the code blocks of a page, unless they have a test of their own."""
    own_test = _TESTED_ELSEWHERE.get(relative(page))
    if own_test is not None and (ROOT / own_test).exists():
        return []
    text = page.read_text()
    found = []
    for match in _FENCED.finditer(text):
        comment = _COMMENT.search(text, 0, match.start())
        found.append(Block(match["language"], match["text"], comment[1] if comment else ""))
    return found


def run_blocks(page: Path, *languages: str) -> list[Block]:
    """Return the code blocks of a page in these languages, without those that a comment exempts."""
    return [block for block in blocks(page) if block.language in languages and not block.is_exempt]


def pages_with(*languages: str) -> list[Path]:
    """Return the pages that have a block to run in one of these languages."""
    return [page for page in PAGES if run_blocks(page, *languages)]


def links(page: Path) -> list[str]:
    """Return the targets of the links and pictures of a page."""
    return _LINK.findall(_without_code(page.read_text()))


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, made as GitHub makes them."""
    return set(_anchors(_FENCED.sub("", page.read_text())))


def _anchors(text: str) -> Iterator[str]:
    seen: Counter[str] = Counter()
    for heading in _HEADING.findall(text):
        words = _LINK.sub(lambda link: link[0][1 : link[0].index("]")], heading)
        anchor = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        yield f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor
        seen[anchor] += 1


def _without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", _FENCED.sub("", text))
