"""An export and an import, from settings and files: what the command line calls."""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import IO

from contactsvc.config import Settings
from contactsvc.domain.clock import now_utc
from contactsvc.domain.kinds import Environment
from contactsvc.domain.listing import Filter
from contactsvc.domain.normalization import ValueRules
from contactsvc.errors import ConfigurationError, StartupError
from contactsvc.runtime.database import connected
from contactsvc.store import UnreadableDocument, inspection_of, refusals_translated
from contactsvc.transfer.dry_run import DryRunStore
from contactsvc.transfer.exporter import CsvSink, JsonLinesSink, export
from contactsvc.transfer.formats import NotOurFormat
from contactsvc.transfer.importer import Counts, OnConflict, Place, Restore, Stopped
from contactsvc.transfer.sources import CsvList, JsonLines, Source


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
        ConfigurationError: what is at the path is no regular file.
        StartupError: there is no such database, a document of it cannot be read, or the file cannot be written.
    """
    if path is not None:
        _check_target(path)
    name = f"{settings.database}_{environment}"
    async with connected(settings) as deployment:
        if not await inspection_of(deployment, name).exists():
            raise StartupError(f"there is no database {name}: no service has used it yet, or --database is wrong")
        with _documents_readable(), refusals_translated("read the contact methods", name), _written(path) as file:
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
        StartupError: the file cannot be used, a document in the database cannot be read, the database cannot be
            reached, or a trial finds no place for its temporary file.
    """
    rules = ValueRules(settings.default_region, settings.value_validation_lenient)
    now = now_utc()
    with _opened(path) as file:
        with _readable(path):
            source: Source = CsvList(file) if as_csv else JsonLines(file)
        for note in (*source.notes, *_crossing(source.environment, environment)):
            tell(f"note: {note}")
        async with connected(settings, create=not dry_run) as deployment:
            name = f"{settings.database}_{environment}"
            # Indexes hold the rules that the rows must keep; a trial makes none.
            place: Place
            action = "read the contact methods" if dry_run else "read and write the contact methods"
            with _documents_readable(), refusals_translated(action, name), _trial_written(), ExitStack() as stack:
                if dry_run:
                    place = stack.enter_context(closing(DryRunStore(deployment.existing_store(name))))
                else:
                    place = await deployment.open_store(name, batching=False)
                restore = Restore(place, on_conflict=on_conflict, stops=stops, tell=tell, progress=progress, now=now)
                try:
                    with _readable(path):
                        await restore.run(source.rows(rules, now))
                except Stopped:
                    tell(_STOPPED_TRIAL if dry_run else _STOPPED)
                return restore.counts


_STOPPED = "stopped; what was written before stays, and the import can be repeated (--on-error skip goes on)"
_STOPPED_TRIAL = "stopped; --on-error skip goes on"


def _crossing(of: str | None, into: Environment) -> Iterator[str]:
    """Yield the note that a file is of another environment, if it is."""
    if of is not None and of != into:
        known = of if of in list(Environment) else "another environment"
        yield f"the file is an export of {known}, and is imported into {into}"


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    with _readable(path):
        # Without waiting for whoever writes into a pipe.
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise StartupError(
                f"cannot import {path}: it is no regular file, and it is read twice; write what comes out of a pipe to "
                f"a file first"
            )
        yield file


def _check_target(path: Path) -> None:
    if path.exists() and not path.is_file():
        raise ConfigurationError(f"cannot write {path}: it is no regular file; for a pipe, redirect standard output")


@contextmanager
def _documents_readable() -> Iterator[None]:
    try:
        yield
    except UnreadableDocument as error:
        raise StartupError(str(error)) from error


@contextmanager
def _trial_written() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StartupError(
            f"cannot write the temporary file of the trial ({error.sqlite_errorname}); TMPDIR says where it is"
        ) from error


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
        # Where a link leads to, so that the link stays one.
        target = Path(os.path.realpath(path))
        # A name of its own, so that of two exports to one file none takes what the other has not finished.
        descriptor, name = tempfile.mkstemp(prefix=f"{target.name}.", suffix=".partial", dir=target.parent)
        partial = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise
    except OSError as error:
        raise StartupError(f"cannot write {path or 'to standard output'}: {error.strerror}") from error
