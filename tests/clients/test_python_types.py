"""The types of the Python client: mypy accepts right calls and refuses wrong ones."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RIGHT, WRONG = (Path(__file__).parent / "types" / name for name in ("right.py", "wrong.py"))
IGNORE = "  # type: ignore"

Errors = Mapping[str, set[int]]


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> Errors:
    """Return the lines that mypy, with the configuration of the project, refuses: by the name of the file."""
    bare = tmp_path_factory.mktemp("types") / "bare.py"
    bare.write_text("\n".join(line.split(IGNORE)[0] for line in WRONG.read_text().splitlines()))
    paths = [RIGHT, WRONG, bare]
    # In one run: most of its time is the start.
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", *map(str, paths)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    found: dict[str, set[int]] = {path.name: set() for path in paths}
    for line in done.stdout.splitlines():
        if ": error: " in line:
            path, number, _ = line.split(":", 2)
            found[Path(path).name].add(int(number))
    return found


def test_right_calls_are_accepted(errors: Errors) -> None:
    assert errors["right.py"] == set()


def test_wrong_calls_are_refused(errors: Errors) -> None:
    lines = WRONG.read_text().splitlines()

    assert errors["bare.py"] == {number for number, line in enumerate(lines, 1) if IGNORE in line}
    # For the reasons that the comments name.
    assert errors["wrong.py"] == set()
