"""What `make serve` prints before it starts the service: the calls that a newcomer makes next."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Api

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def make(venv: Path, target: str, *variables: str) -> subprocess.CompletedProcess[str]:
    """Run a target in a virtual environment that is taken as made."""
    # Not as a part of `make test`.
    environ = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL"}}
    command = ["make", "--no-print-directory", "-o", f"{venv}/.serve", f"VENV={venv}", *variables, target]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True)


@pytest.mark.parametrize("variables", [(), ("GRPCURL=",)], ids=["grpcurl", "python"])
async def test_the_calls_work(embedded_api: Api, variables: tuple[str, ...]) -> None:
    venv = Path(sys.executable).parents[1]

    shown = make(venv, "first-calls", f"CONTACTSVC_LISTEN={embedded_api.target}", *variables).stderr
    create, list_, describe = (line.strip() for line in shown.splitlines() if line.startswith("  "))
    outputs = []
    for command in (create, list_, describe):
        process = await asyncio.create_subprocess_shell(command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
        assert process.returncode == 0
        outputs.append(output.decode())

    created, listed, described = outputs
    assert "juan@example.com" in created
    assert "juan@example.com" in listed
    assert ("CreateContactMethod" if not variables else "create_many") in described


def test_serve_prints_them_on_standard_error_and_starts_the_service(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "contactsvc"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho contactsvc $*\n")
    program.chmod(0o755)

    done = make(tmp_path, "serve")

    assert done.stdout == "contactsvc serve\n"
    assert "localhost:50051" in done.stderr
    assert "docs/" in done.stderr
