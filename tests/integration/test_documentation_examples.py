"""The README shows what really happens: its snippets and commands are run, and their output is compared."""

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

from tests.integration.service_process import running_service

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
ADDRESS = "localhost:50051"
# What differs from run to run.
VOLATILE = (
    (r"contact_[0-9a-z]{26}", "contact_ID"),
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
    (r'"etag": "[0-9a-f]+"', '"etag": "ETAG"'),
    (r'"code": "\d{6}"', '"code": "CODE"'),
)
_MADE = re.compile(r"contact_[0-9a-z]{26}|(?<=\"code\": \")\d{6}")


def blocks(*languages: str) -> list[tuple[str, str]]:
    return re.findall(rf"^```({'|'.join(languages)})\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def masked(output: str) -> list[str]:
    for pattern, name in VOLATILE:
        output = re.sub(pattern, name, output)
    return [line.rstrip() for line in output.strip().splitlines()]


async def test_the_python_snippets_print_what_the_readme_shows(tmp_path: Path) -> None:
    namespace: dict[str, Any] = {}
    printed = io.StringIO()
    async with running_service(tmp_path) as service:
        snippets = blocks("python", "text")
        for language, text in snippets:
            if language == "python":
                code = compile(text.replace(ADDRESS, service.address), "README.md", "exec")
                with contextlib.redirect_stdout(printed):
                    # In a thread: the blocking client would stop the event loop, and asyncio.run needs its own.
                    await asyncio.to_thread(exec, code, namespace)
            else:
                assert printed.getvalue() == text
                printed.seek(0)
                printed.truncate()

    assert len(snippets) > 10
    assert printed.getvalue() == ""


async def test_the_commands_print_what_the_readme_shows(tmp_path: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    ran = 0
    # What the README shows for an id or a code, and what the service has made of it.
    made: dict[str, str] = {}
    async with running_service(tmp_path) as service:
        for _, text in blocks("console"):
            for command, expected in re.findall(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
                for shown, real in made.items():
                    command = command.replace(shown, real)
                process = await asyncio.create_subprocess_shell(
                    command.replace(ADDRESS, service.address),
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                    env={**os.environ, "PATH": path},
                )
                output, _ = await process.communicate()
                assert masked(output.decode()) == masked(expected), command
                made |= zip(_MADE.findall(expected), _MADE.findall(output.decode()), strict=True)
                ran += 1

    assert ran > 4


async def test_the_chapter_on_operations_can_be_followed_from_an_empty_directory(tmp_path: Path) -> None:
    script = "\n".join(text for _, text in blocks("bash"))
    for port in ("50443", "9464"):
        script = script.replace(port, str(free_port()))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CONTACTSVC_")}

    process = await asyncio.create_subprocess_exec(
        *("bash", "-eu", "-c", f"trap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n{script}"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**clean, "PATH": path, "PROTOS": str(ROOT / "protos")},
    )
    output, _ = await process.communicate()

    assert process.returncode == 0, f"{output.decode()}\n{(tmp_path / 'err.log').read_text()}"
    assert "juan@example.com" not in (tmp_path / "err.log").read_text()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
