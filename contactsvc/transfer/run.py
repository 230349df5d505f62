"""Runs an export or an import with settings and files: the entry points of the command line."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from contactsvc.config import Settings
from contactsvc.domain.clock import now_utc
from contactsvc.domain.kinds import Environment
from contactsvc.domain.listing import Filter
from contactsvc.domain.normalization import ValueRules
from contactsvc.errors import StartupError
from contactsvc.runtime.database import connected
from contactsvc.store import UnreadableDocument, inspection_of, refusals_translated
from contactsvc.transfer.dry_run import DryRunStore
from contactsvc.transfer.exporter import export
from contactsvc.transfer.files import check_output, input_file, output_file, reading
from contactsvc.transfer.formats import SINKS, FileFormat, SourceOptions, open_source
from contactsvc.transfer.importer import Counts, Importer, ImportTarget, OnConflict, Stopped

_PLAIN = SourceOptions()
_STOPPED_DRY_RUN = "stopped at the first failed row; --on-error skip continues"
_STOPPED = f"{_STOPPED_DRY_RUN}. Earlier batches stay written, and the import can be repeated"


_RENEWED = (
    "normal forms renewed: {}. The list has the text of these records, and the default region or a newer library reads "
    "it in another way; they count as updated"
)


@dataclass(slots=True)
class ImportProgress:
    """How far an import has come, also after it has failed or was cancelled.

    Attributes:
        counts: the number of rows by result; None until the import reaches its rows.
        stopped: why it stopped at a failed row; empty if it did not.
    """

    counts: Counts | None = None
    stopped: str = ""


async def export_to(
    path: Path | None,
    settings: Settings,
    environment: Environment,
    *,
    file_format: FileFormat,
    wanted: Filter,
    on_progress: Callable[[int, int], None],
) -> int:
    """Export an environment, also beside a running service; return the number of records written.

    Args:
        path: the file; None is standard output. It takes its name when it is complete, and only its owner can read it.
        settings: name the database.
        environment: the environment to export.
        file_format: the format of the file.
        wanted: which records.
        on_progress: called with the number of records written, and the expected total.

    Raises:
        ConfigurationError: the path is taken by something other than a regular file.
        StartupError: the database does not exist, one of its documents is unreadable, or writing the file failed.
    """
    if path is not None:
        check_output(path)
    name = f"{settings.database}_{environment}"
    async with connected(settings) as deployment:
        if not await inspection_of(deployment, name).exists():
            raise StartupError(f"database {name} does not exist: check --database, or start the service to create it")
        with _documents_readable(), refusals_translated("read the contact methods", name), output_file(path) as file:
            return await export(
                deployment.existing_store(name),
                SINKS[file_format](file),
                environment=environment,
                wanted=wanted,
                on_progress=on_progress,
            )


async def import_from(
    path: Path,
    settings: Settings,
    environment: Environment,
    *,
    file_format: FileFormat,
    on_conflict: OnConflict,
    stop_on_error: bool,
    dry_run: bool,
    on_message: Callable[[str], None],
    on_progress: Callable[[int], None],
    source_options: SourceOptions = _PLAIN,
    progress: ImportProgress | None = None,
) -> Counts:
    """Import a file, also beside a running service; return the number of rows by result.

    Args:
        path: the file.
        settings: name the database, and the rules for values.
        environment: the environment to write to.
        file_format: the format of the file.
        on_conflict: what to do with an existing record whose content differs.
        stop_on_error: whether to stop at the first row that fails.
        dry_run: whether to write nothing.
        on_message: called with each failed row and each note, a line each.
        on_progress: called with the number of bytes read.
        source_options: how a file is read that is no export of this service.
        progress: receives the counts, also when the import fails.

    Raises:
        StartupError: the file is unreadable, a document in the database is, the database cannot be reached, or a dry
            run cannot write its temporary file.
    """
    progress = ImportProgress() if progress is None else progress
    rules = ValueRules(settings.default_region, settings.value_validation_lenient)
    now = now_utc()
    with input_file(path) as file:
        with reading(path):
            source = open_source(file, file_format, source_options)
        for note in (*source.notes, *_environment_notes(source.environment, environment)):
            on_message(f"note: {note}")
        async with connected(settings, create=not dry_run) as deployment:
            name = f"{settings.database}_{environment}"
            action = "read the contact methods" if dry_run else "read and write the contact methods"
            with _documents_readable(), refusals_translated(action, name), _dry_run_written(), ExitStack() as stack:
                target: ImportTarget
                if dry_run:
                    target = stack.enter_context(closing(DryRunStore(deployment.existing_store(name))))
                else:
                    # This creates the unique indexes, which hold the rules that rows must keep.
                    target = await deployment.open_store(name, batching=False)
                importer = Importer(
                    target,
                    on_conflict=on_conflict,
                    stop_on_error=stop_on_error,
                    on_message=on_message,
                    on_progress=on_progress,
                    now=now,
                )
                try:
                    with reading(path):
                        await importer.run(source.rows(rules, now))
                except Stopped:
                    progress.stopped = _STOPPED_DRY_RUN if dry_run else _STOPPED
                    on_message(progress.stopped)
                finally:
                    progress.counts = importer.counts
                if importer.renewed:
                    on_message(f"note: {_RENEWED.format(importer.renewed)}")
                return progress.counts


def _environment_notes(exported_from: str | None, into: Environment) -> Iterator[str]:
    """Yield a note when the file was exported from another environment."""
    if exported_from is not None and exported_from != into:
        # A name from the file may hold anything.
        known = exported_from if exported_from in list(Environment) else "another environment"
        yield f"importing an export of {known} into {into}"


@contextmanager
def _documents_readable() -> Iterator[None]:
    try:
        yield
    except UnreadableDocument as error:
        raise StartupError(str(error)) from error


@contextmanager
def _dry_run_written() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StartupError(
            f"cannot write the temporary file of the dry run ({error.sqlite_errorname}); set TMPDIR to a directory "
            f"with enough space"
        ) from error
