"""The README shows what really happens: its snippets and commands are run, and their output is compared."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import sys
from pathlib import Path
from typing import Any

from tests.integration.service_process import running_service

README = (Path(__file__).parents[2] / "README.md").read_text()
ADDRESS = "localhost:50051"
# What differs from run to run.
VOLATILE = (
    (r"contact_[0-9a-z]{26}", "contact_ID"),
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
    (r'"etag": "[0-9a-f]+"', '"etag": "ETAG"'),
)


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
    async with running_service(tmp_path) as service:
        for _, text in blocks("console"):
            for command, expected in re.findall(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
                process = await asyncio.create_subprocess_shell(
                    command.replace(ADDRESS, service.address),
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                    env={**os.environ, "PATH": path},
                )
                output, _ = await process.communicate()
                assert masked(output.decode()) == masked(expected), command
                ran += 1

    assert ran > 4
