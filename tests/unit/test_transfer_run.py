from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from contactsvc.cli.exits import run_until_terminated
from contactsvc.cli.main import main
from contactsvc.config import Settings
from contactsvc.domain.change_set import ChangeSet
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import ContactMethodType, ContactValue, Environment
from contactsvc.domain.listing import Filter
from contactsvc.errors import ConfigurationError, FieldViolation, InvalidFields, PrimaryConflict, StartupError
from contactsvc.transfer.dry_run import DryRunStore
from contactsvc.transfer.formats import Row
from contactsvc.transfer.importer import Counts, OnConflict, Place, Restore
from contactsvc.transfer.run import _written, export_to, import_from
from contactsvc.transfer.sources import Numbered

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
# Nothing that these tests do reaches a database.
NOWHERE = Settings(mongodb_uri="mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=1")


class Empty:
    """A store that holds nothing, and whose records somebody else writes for a while."""

    def __init__(self, conflicts: int = 0) -> None:
        self._conflicts = conflicts
        self.written = 0

    async def find_by_ids(self, ids: Collection[str]) -> list[ContactMethod]:
        return []

    async def find_by_external_ids(self, external_ids: Collection[str]) -> list[ContactMethod]:
        return []

    async def find_primaries(self, slots: Collection[Any]) -> list[ContactMethod]:
        return []

    async def find_memories(self, ids: Collection[str]) -> dict[str, Any]:
        return {}

    async def write(self, difference: ChangeSet) -> None:
        self.written += len(difference.inserted)

    async def atomically(self, work: Callable[[Place], Awaitable[Any]], *, keys: Collection[Hashable]) -> Any:
        if self._conflicts:
            self._conflicts -= 1
            raise PrimaryConflict
        return await work(self)


def row(id_: str = "contact_1", *, line: int = 2, is_exact: bool = True, label: str | None = None) -> Numbered:
    record = ContactMethod(
        id=id_,
        client_id="c1",
        type=ContactMethodType.OTHER,
        value=ContactValue("x", "x"),
        label=label,
        is_primary=False,
        verified_at=None,
        external_id=None,
        metadata={"a": "b"},
        created_at=NOON,
        updated_at=NOON,
        etag="",
    )
    return Numbered(line, Row(record=record, is_exact=is_exact), 0, id_)


def restore(place: Any, told: list[str], **how: Any) -> Restore:
    whole: dict[str, Any] = {"on_conflict": OnConflict.UPDATE, "stops": False, "now": NOON, **how}
    return Restore(place, tell=told.append, progress=lambda done: None, **whole)


async def imported(path: Path, tell: Callable[[str], None] = lambda line: None) -> None:
    await import_from(
        path,
        NOWHERE,
        Environment.TEST,
        as_csv=False,
        on_conflict=OnConflict.ERROR,
        stops=True,
        dry_run=True,
        tell=tell,
        progress=lambda done: None,
    )


async def exported(path: Path) -> None:
    await export_to(path, NOWHERE, Environment.LIVE, as_csv=False, wanted=Filter(), progress=lambda done, total: None)


async def test_a_pipe_is_not_imported(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    with pytest.raises(StartupError, match="no regular file, and it is read twice"):
        await imported(pipe)


@pytest.mark.parametrize("name", ["pipe", "directory", "link to pipe", ""])
async def test_an_export_takes_the_place_of_nothing_but_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    os.mkdir("directory")
    os.symlink("pipe", "link to pipe")

    with pytest.raises(ConfigurationError, match="it is no regular file"):
        await exported(Path(name))

    assert sorted(os.listdir()) == ["directory", "link to pipe", "pipe"]


def test_an_export_through_a_link_leaves_the_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "a.jsonl")

    with _written(tmp_path / "link") as file:
        file.write(b"content")

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "a.jsonl").read_bytes() == b"content"


def test_two_exports_to_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"

    with _written(path) as first:
        first.write(b"first")
        with _written(path) as second:
            second.write(b"second")
        content = path.read_bytes()
        first.write(b" of two")

    assert content == b"second"
    assert path.read_bytes() == b"first of two"
    assert os.listdir(tmp_path) == ["a.jsonl"]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.fixture
def harmless_signals() -> Iterator[None]:
    """Let a signal that nobody takes do nothing, rather than end the tests."""
    # Ctrl-C as in a terminal: what a shell starts in the background inherits that it does nothing.
    kept = {signal.SIGTERM: lambda number, frame: None, signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, handler) for number, handler in kept.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("harmless_signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_export_that_is_interrupted_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    async def work() -> None:
        with _written(tmp_path / "a.jsonl") as file:
            file.write(b"content")
            os.kill(os.getpid(), number)
            await asyncio.sleep(5)

    with pytest.raises(StartupError, match=r"^interrupted; run it again$"):
        run_until_terminated(work(), "run it again")

    assert os.listdir(tmp_path) == []


async def test_an_import_waits_for_others_as_long_as_it_has_patience() -> None:
    told: list[str] = []
    place, stubborn = Empty(conflicts=1), Empty(conflicts=1_000)

    await restore(place, told).run([row()])
    with pytest.raises(PrimaryConflict):
        await restore(stubborn, told, patience=timedelta(0)).run([row()])

    assert place.written == 1
    assert told == ["waiting for somebody else's write, such as that of an import that was killed"] * 2


async def test_a_row_that_breaks_a_rule_is_named_with_its_id() -> None:
    told: list[str] = []

    await restore(Empty(), told).run(
        [Numbered(7, InvalidFields([FieldViolation("label", "is too long")]), 0, "contact_1")]
    )

    assert told == ["line 7: contact_1: label is too long"]


@pytest.mark.parametrize("between", [0, 300])
async def test_a_record_that_a_list_names_twice_is_refused_and_the_last_line_of_an_export_counts(between: int) -> None:
    told: list[str] = []
    counts = []

    for is_exact in (False, True):
        rows = [
            row(line=2, is_exact=is_exact),
            *(row(f"other {i}", line=3 + i, is_exact=is_exact) for i in range(between)),
            row(line=900, is_exact=is_exact, label="last"),
        ]
        with closing(DryRunStore(Empty())) as place:  # type: ignore[arg-type]  # a Store has more
            work = restore(place, told)
            await work.run(rows)
        counts.append(work.counts)

    assert told == ["line 900: contact_1: record is that of line 2 as well"]
    assert counts[0] == Counts(created=between + 1, failed=1)
    assert counts[1] == Counts(created=between + 1, updated=1)


async def test_a_trial_keeps_records_as_they_are() -> None:
    with closing(DryRunStore(Empty())) as trial:  # type: ignore[arg-type]
        numbered = row()
        assert isinstance(numbered.row, Row)
        await trial.write(ChangeSet(inserted=[numbered.row.record], replaced=[], removed=[], memories=[], revived=[]))

        assert await trial.find_by_ids(["contact_1"]) == [numbered.row.record]


@pytest.mark.parametrize("command", ["export", "import"])
def test_the_examples_of_the_help_stand_on_lines_of_their_own(command: str) -> None:
    lines = CliRunner().invoke(main, [command, "--help"]).stdout.splitlines()

    assert sum(line.startswith(f"    contactsvc {command} ") for line in lines) >= 2
