"""The documentation shows what really happens: its snippets and commands are run, and their output is compared."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.documentation import ROOT, pages_with, relative, run_blocks
from tests.integration.service_process import running_service

ADDRESS = "localhost:50051"
# What differs from run to run.
VOLATILE = (
    (r"contact_[0-9a-z]{26}", "contact_ID"),
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
    (r'"etag": "[0-9a-f]+"', '"etag": "ETAG"'),
    (r'"code": "\d{6}"', '"code": "CODE"'),
)
_MADE = re.compile(r"contact_[0-9a-z]{26}|(?<=\"code\": \")\d{6}")
_COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)


def masked(output: str) -> list[str]:
    for pattern, name in VOLATILE:
        output = re.sub(pattern, name, output)
    return [line.rstrip() for line in output.strip().splitlines()]


def path_with_tools() -> str:
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


def test_readme_and_pages_have_examples() -> None:
    assert {relative(page) for page in pages_with("python")} >= {"README.md", "docs/python.md"}
    assert {relative(page) for page in pages_with("console")} >= {"README.md", "docs/grpcurl.md"}
    assert {relative(page) for page in pages_with("bash")} >= {"docs/operations.md"}


@pytest.mark.parametrize("page", pages_with("python"), ids=relative)
async def test_the_python_snippets_print_what_the_page_shows(page: Path, tmp_path: Path) -> None:
    namespace: dict[str, Any] = {}
    printed = io.StringIO()
    async with running_service(tmp_path) as service:
        for block in run_blocks(page, "python", "text"):
            if block.language == "python":
                code = compile(block.text.replace(ADDRESS, service.address), relative(page), "exec")
                with contextlib.redirect_stdout(printed):
                    # In a thread: the blocking client would stop the event loop, and asyncio.run needs its own.
                    await asyncio.to_thread(exec, code, namespace)
            else:
                assert printed.getvalue() == block.text
                printed.seek(0)
                printed.truncate()

    assert printed.getvalue() == ""


@pytest.mark.parametrize("page", pages_with("console"), ids=relative)
async def test_the_commands_print_what_the_page_shows(page: Path, tmp_path: Path) -> None:
    ran = 0
    # What the page shows for an id or a code, and what the service has made of it.
    made: dict[str, str] = {}
    async with running_service(tmp_path) as service:
        for block in run_blocks(page, "console"):
            for command, expected in _COMMAND.findall(block.text):
                for shown, real in made.items():
                    command = command.replace(shown, real)
                process = await asyncio.create_subprocess_shell(
                    command.replace(ADDRESS, service.address),
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                    env={**os.environ, "PATH": path_with_tools()},
                )
                output, _ = await process.communicate()
                assert masked(output.decode()) == masked(expected), command
                made |= zip(_MADE.findall(expected), _MADE.findall(output.decode()), strict=True)
                ran += 1

    assert ran == sum(line.startswith("$ ") for block in run_blocks(page, "console") for line in block.text.split("\n"))


@pytest.mark.parametrize("page", pages_with("bash"), ids=relative)
async def test_the_scripts_can_be_followed_from_an_empty_directory(page: Path, tmp_path: Path) -> None:
    script = "\n".join(block.text for block in run_blocks(page, "bash"))
    for port in ("50443", "9464"):
        script = script.replace(port, str(free_port()))
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CONTACTSVC_")}

    process = await asyncio.create_subprocess_exec(
        *("bash", "-eu", "-c", f"trap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n{script}"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**clean, "PATH": path_with_tools(), "PROTOS": str(ROOT / "protos")},
    )
    output, _ = await process.communicate()

    assert process.returncode == 0, f"{output.decode()}\n{(tmp_path / 'err.log').read_text()}"
    assert "juan@example.com" not in (tmp_path / "err.log").read_text()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
