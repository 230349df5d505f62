from __future__ import annotations

import os
from pathlib import Path

import pytest

from contactsvc.config import Settings
from contactsvc.domain.kinds import Environment
from contactsvc.domain.listing import Filter
from contactsvc.errors import ConfigurationError, StartupError
from contactsvc.transfer.files import output_file
from contactsvc.transfer.formats import FileFormat
from contactsvc.transfer.importer import OnConflict
from contactsvc.transfer.run import export_to, import_from

# No test here reaches a database.
UNREACHABLE = Settings(mongodb_uri="mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=1")


async def test_a_pipe_is_not_imported(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    with pytest.raises(StartupError, match="not a regular file"):
        await import_from(
            pipe,
            UNREACHABLE,
            Environment.TEST,
            file_format=FileFormat.JSON_LINES,
            on_conflict=OnConflict.ERROR,
            stop_on_error=True,
            dry_run=True,
            on_message=lambda line: None,
            on_progress=lambda done: None,
        )


@pytest.mark.parametrize("name", ["pipe", "directory", "link to pipe", ""])
async def test_an_export_replaces_nothing_but_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    os.mkdir("directory")
    os.symlink("pipe", "link to pipe")

    with pytest.raises(ConfigurationError, match="not a regular file"):
        await export_to(
            Path(name),
            UNREACHABLE,
            Environment.LIVE,
            file_format=FileFormat.JSON_LINES,
            wanted=Filter(),
            on_progress=lambda done, total: None,
        )

    assert sorted(os.listdir()) == ["directory", "link to pipe", "pipe"]


def test_an_export_through_a_link_keeps_the_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "a.jsonl")

    with output_file(tmp_path / "link") as file:
        file.write(b"content")

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "a.jsonl").read_bytes() == b"content"


def test_two_exports_to_one_file_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"

    with output_file(path) as first:
        first.write(b"first")
        with output_file(path) as second:
            second.write(b"second")
        content = path.read_bytes()
        first.write(b" of two")

    assert content == b"second"
    assert path.read_bytes() == b"first of two"
    assert os.listdir(tmp_path) == ["a.jsonl"]
    assert path.stat().st_mode & 0o777 == 0o600
