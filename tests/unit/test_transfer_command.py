from __future__ import annotations

import asyncio
import io
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from contactsvc.cli.exits import run_until_terminated
from contactsvc.cli.main import main
from contactsvc.cli.transfer import progress_bar
from contactsvc.errors import StartupError
from contactsvc.transfer.files import output_file


@pytest.fixture
def harmless_signals() -> Iterator[None]:
    """Keep a signal that nobody handles from ending the tests."""
    # Ctrl-C as in a terminal: a shell starts background jobs with SIGINT ignored.
    kept = {signal.SIGTERM: lambda number, frame: None, signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, handler) for number, handler in kept.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("harmless_signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_export_leaves_no_file(tmp_path: Path, number: signal.Signals) -> None:
    async def work() -> None:
        with output_file(tmp_path / "a.jsonl") as file:
            file.write(b"content")
            os.kill(os.getpid(), number)
            await asyncio.Event().wait()

    with pytest.raises(StartupError, match=r"^interrupted; run it again$"):
        run_until_terminated(work(), "run it again")

    assert os.listdir(tmp_path) == []


def test_messages_do_not_continue_the_line_of_a_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)

    with progress_bar("importing") as (on_progress, on_message):
        on_progress(1, 2)
        on_message("line 2: first")
        on_message("line 3: second")

    assert "\nline 2: first\nline 3: second\n" in terminal.getvalue()


@pytest.mark.parametrize("command", ["export", "import"])
def test_the_examples_in_the_help_are_on_separate_lines(command: str) -> None:
    lines = CliRunner().invoke(main, [command, "--help"]).stdout.splitlines()

    assert sum(line.startswith(f"    contactsvc {command} ") for line in lines) >= 2
