"""`make audit`, with pip-audit and the environment that it looks at replaced by scripts."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def audit(venv: Path, pip_audit: str) -> subprocess.CompletedProcess[str]:
    """Run `make audit` with this in place of pip-audit; $report is the file for its report."""
    script(venv / "runtime/bin/python", "echo /some/packages")
    script(venv / "tools/bin/pip-audit", f"report={venv}/audit.txt\n{pip_audit}")
    # -o: the environment is taken as made.
    command = ["make", "--no-print-directory", "-o", "runtime", "audit", f"VENV={venv}"]
    # Not as a part of `make test`.
    environ = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL"}}
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)


def test_no_finding_is_a_success(tmp_path: Path) -> None:
    done = audit(tmp_path, 'case "$*" in *"--path /some/packages"*) echo "No known vulnerabilities found" >&2;; esac')

    assert (done.returncode, done.stdout) == (0, "No known vulnerabilities found\n")


def test_findings_are_shown_and_fail(tmp_path: Path) -> None:
    done = audit(tmp_path, 'echo "a-package 1.0 CVE-1" > "$report"; exit 1')

    assert done.returncode != 0
    assert done.stdout == "a-package 1.0 CVE-1\n"


def test_a_service_that_does_not_answer_is_one_line_and_fails(tmp_path: Path) -> None:
    done = audit(tmp_path, 'echo "Traceback: a hundred lines" >&2; exit 1')

    assert done.returncode != 0
    # The second line is make's own.
    first, second = done.stderr.splitlines()
    assert first.startswith("make audit: nothing was checked: no answer from the vulnerability service")
    assert first.endswith(f"{tmp_path}/audit.log")
    assert second.startswith("make: ***")
    assert "Traceback" in (tmp_path / "audit.log").read_text()


def test_a_wrong_flag_shows_what_pip_audit_says(tmp_path: Path) -> None:
    done = audit(tmp_path, 'echo "unrecognized arguments" >&2; exit 2')

    assert done.returncode != 0
    assert done.stderr.startswith("unrecognized arguments\n")
