"""An export and an import, from settings and files: what the command line calls."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import IO

from contactsvc.config import Settings
from contactsvc.connection import connected
from contactsvc.domain.environment import Environment
from contactsvc.domain.ids import now_utc
from contactsvc.domain.listing import Filter
from contactsvc.domain.values import ValueRules
from contactsvc.errors import StartupError
from contactsvc.store.examination import examination_of
from contactsvc.transfer.export import CsvSink, JsonLinesSink, export
from contactsvc.transfer.formats import NotOurFormat
from contactsvc.transfer.reading import CsvList, JsonLines, Source
from contactsvc.transfer.restore import Counts, Failure, OnConflict, Place, Restore, Stopped
from contactsvc.transfer.trial import TrialStore


async def export_to(
    path: Path | None,
    settings: Settings,
    environment: Environment,
    *,
    as_csv: bool,
    wanted: Filter,
    progress: Callable[[int, int], None],
) -> int:
    """Export an environment, also beside a running service; return how many lines of records there are.

    Args:
        path: where to; None is standard output. The file gets its name when it is whole, and is for its owner only.
        settings: where from.
        environment: which one.
        as_csv: whether to write CSV.
        wanted: which records.
        progress: told how many have been written, and of how many.

    Raises:
        StartupError: there is no such database, or the file cannot be written.
    """
    name = f"{settings.database}_{environment}"
    async with connected(settings) as deployment:
        if not await examination_of(deployment, name).exists():
            raise StartupError(f"there is no database {name}: no service has used it yet, or --database is wrong")
        with _written(path) as file:
            sink = CsvSink(file) if as_csv else JsonLinesSink(file)
            return await export(
                deployment.existing_store(name), sink, environment=environment, wanted=wanted, progress=progress
            )


async def import_from(
    path: Path,
    settings: Settings,
    environment: Environment,
    *,
    as_csv: bool,
    on_conflict: OnConflict,
    stops: bool,
    dry_run: bool,
    tell: Callable[[str], None],
    progress: Callable[[int], None],
) -> Counts:
    """Import a file, also beside a running service; return what became of its rows.

    Args:
        path: the file.
        settings: where to, and by what rules values are read.
        environment: which one.
        as_csv: whether it is CSV.
        on_conflict: what becomes of a record that is there already with other content.
        stops: whether to stop at the first row that fails.
        dry_run: whether to write nothing.
        tell: told of rows that fail, and what else people should know, a line each.
        progress: told how many bytes of the file are done.

    Raises:
        StartupError: the file cannot be used, or the database cannot be reached.
    """
    source = _source(path, as_csv)
    for note in source.notes:
        tell(f"note: {note}")
    rules = ValueRules(settings.default_region, settings.value_validation_lenient)
    now = now_utc()

    def told(failure: Failure) -> None:
        tell(str(failure))

    async with connected(settings, create=not dry_run) as deployment:
        name = f"{settings.database}_{environment}"
        # Indexes hold the rules that the rows must keep; a trial makes none.
        place: Place
        with ExitStack() as stack:
            if dry_run:
                place = stack.enter_context(closing(TrialStore(deployment.existing_store(name))))
            else:
                place = await deployment.open_store(name, batching=False)
            restore = Restore(place, on_conflict=on_conflict, stops=stops, tell=told, progress=progress, now=now)
            try:
                with _readable(path):
                    await restore.run(source.rows(rules, now))
            except Stopped:
                tell("stopped; what was written before stays, and the import can be repeated (--on-error skip goes on)")
            return restore.counts


def _source(path: Path, as_csv: bool) -> Source:
    with _readable(path):
        return CsvList(path) if as_csv else JsonLines(path)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except NotOurFormat as error:
        raise StartupError(f"cannot import {path}: {error}") from error
    except OSError as error:
        raise StartupError(f"cannot read {path}: {error.strerror}") from error


@contextmanager
def _written(path: Path | None) -> Iterator[IO[bytes]]:
    """Yield a file that gets its name at the end of the block, if that is reached."""
    try:
        if path is None:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
            return
        partial = path.with_name(f"{path.name}.partial")
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise
    except OSError as error:
        raise StartupError(f"cannot write {path or 'to standard output'}: {error.strerror}") from error
