"""`contactsvc export` and `contactsvc import`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click

from contactsvc import config
from contactsvc.cli import exits, options
from contactsvc.domain.kinds import ContactMethodType, Environment

_FORMAT = click.option(
    "--format",
    "format_",
    type=click.Choice(["jsonl", "csv", "vcard"]),
    help="File format.  [csv for *.csv, vcard for *.vcf, otherwise jsonl]",
)


@click.command("export")
@options.environment("Environment to export.")
@click.option("--output", default="-", show_default=True, metavar="FILE", help="File to write; - is standard output.")
@_FORMAT
@click.option("--client-id", "client_ids", multiple=True, metavar="ID", help="Export this client only; repeatable.")
@click.option(
    "--type",
    "types",
    multiple=True,
    type=click.Choice([type_.value for type_ in ContactMethodType]),
    help="Export this type only; repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON, on standard error.")
@options.settings_of("export")
def export_contact_methods(
    environment: str,
    output: str,
    format_: str | None,
    client_ids: tuple[str, ...],
    types: tuple[str, ...],
    as_json: bool,
    **flags: str | None,
) -> None:
    """Write all contact methods of an environment to a file.

    Reads the database that the settings of `serve` name; the service may be running, and no API key is needed. JSON
    Lines contain everything and can be restored exactly; CSV is for spreadsheets, and vCard, a card for each client,
    for address books. docs/backup.md lists the guarantees. The file contains personal data.

    \b
    Examples:
      contactsvc export --environment live --output backup.jsonl
      contactsvc export --environment live --format csv --type email --client-id client_abc123

    Exit codes: 0 when the file is complete, 2 for bad configuration, 1 for any other failure.
    """  # noqa: D301 - click preserves the lines after the character \b itself
    with exits.exit_codes():
        settings = config.load(flags, os.environ)
        from contactsvc.domain.listing import Filter
        from contactsvc.telemetry import logs
        from contactsvc.transfer.formats import FileFormat
        from contactsvc.transfer.run import export_to

        logs.configure(as_json=False, level="ERROR")
        with progress_bar("exporting") as (on_progress, _):
            export = export_to(
                None if output == "-" else Path(output),
                settings,
                Environment(environment),
                file_format=FileFormat.chosen(format_, output),
                wanted=Filter(client_ids=client_ids, types=tuple(map(ContactMethodType, types))),
                on_progress=on_progress,
            )
            count = exits.run_until_terminated(export, "the export is incomplete; run it again")
        click.echo(json.dumps({"exported": count}) if as_json else f"exported {count} contact methods", err=True)


@click.command("import")
@click.argument("file", type=options.FILE)
@options.environment("Environment to import into.")
@_FORMAT
@click.option(
    "--preset",
    type=click.Choice(["google", "outlook", "hubspot"]),
    help="The file is a CSV export of Google Contacts, Outlook or HubSpot; each row is a client.",
)
@click.option(
    "--client-id-column",
    metavar="NAME",
    help="With --preset, the column with the client ids.  [hubspot: Record ID; otherwise a digest of the row]",
)
@click.option("--client-id", metavar="ID", help="With vCard, the client of cards without UID.")
@click.option("--dry-run", is_flag=True, help="Check every row against the rules and the database, but write nothing.")
@click.option(
    "--on-error", type=click.Choice(["stop", "skip"]), help="What to do when a row fails.  [stop; with --dry-run skip]"
)
@click.option(
    "--on-conflict",
    type=click.Choice(["error", "skip", "update"]),
    default="error",
    show_default=True,
    help="What to do when a record exists with different content.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@options.settings_of("import")
def import_contact_methods(
    file: Path,
    environment: str,
    format_: str | None,
    preset: str | None,
    client_id_column: str | None,
    client_id: str | None,
    dry_run: bool,
    on_error: str | None,
    on_conflict: str,
    as_json: bool,
    **flags: str | None,
) -> None:
    """Write the contact methods of a file into an environment.

    Pass the settings of `serve`: the import writes to their database and reads values by the same rules. The service
    may be running, and no API key is needed. JSON Lines of `contactsvc export` are restored exactly, with ids, times
    and verifications. CSV has the column names in its first row: client_id, type, value, and optionally label,
    is_primary, external_id, metadata (a JSON object) and metadata.KEY; separated by commas, semicolons or tabs, in
    UTF-8 or UTF-16. Exports of Google Contacts, Outlook and HubSpot need --preset. In vCard files each card is a
    client, named by its UID. docs/imports.md has the rules. FILE must be a regular file, since it is read twice: it is
    checked as a whole before anything is written.

    An import can be repeated, and must be repeated after a kill: rows that are already in the database change nothing.
    No row takes the primary flag or an external id from a record that keeps it. Rows that fail are reported on standard
    error with their line numbers. An import that ends early prints what it has written; with --json the summary has the
    key "error".

    \b
    Examples:
      contactsvc import backup.jsonl --environment live --dry-run
      contactsvc import backup.jsonl --environment live --on-conflict update
      contactsvc import list.csv --environment test --default-region MX --on-error skip
      contactsvc import contacts.csv --environment test --preset google --dry-run
      contactsvc import cards.vcf --environment test

    Exit codes: 0 when every row is in the database as the file has it, 2 for bad configuration, 1 otherwise.
    """  # noqa: D301 - click preserves the lines after the character \b itself
    _check_source_options(format_, file, preset, client_id_column, client_id)
    from contactsvc.transfer.importer import Counts, OnConflict
    from contactsvc.transfer.run import ImportProgress, import_from

    progress = ImportProgress()

    def print_summary(error: str) -> None:
        counts = progress.counts
        if as_json:
            summary = {**asdict(Counts() if counts is None else counts), "dry_run": dry_run}
            click.echo(json.dumps({**summary, "error": error} if error else summary))
        elif counts is not None and not (error and dry_run):
            click.echo(f"{'would be ' if dry_run else ''}{counts}")

    def fail(message: str, code: int) -> None:
        print_summary(message)
        exits.print_error(message, code)

    with exits.exit_codes(fail):
        settings = config.load(flags, os.environ)
        from contactsvc.telemetry import logs
        from contactsvc.transfer.formats import FileFormat, Preset, SourceOptions

        logs.configure(as_json=False, level="ERROR")
        size = file.stat().st_size if file.is_file() else 0
        with progress_bar("checking" if dry_run else "importing") as (on_progress, on_line):
            work = import_from(
                file,
                settings,
                Environment(environment),
                file_format=FileFormat.chosen("csv" if preset else format_, file.name),
                source_options=SourceOptions(
                    preset=Preset(preset) if preset else None,
                    client_id_column=client_id_column,
                    client_id=client_id,
                ),
                on_conflict=OnConflict(on_conflict),
                stop_on_error=(on_error or ("skip" if dry_run else "stop")) == "stop",
                dry_run=dry_run,
                on_message=on_line,
                on_progress=lambda done: on_progress(done, size),
                progress=progress,
            )
            counts = exits.run_until_terminated(
                work, "nothing was written" if dry_run else "rows written so far remain; run it again"
            )
        print_summary(progress.stopped)
        if counts.failed:
            sys.exit(exits.FAILED)


def _check_source_options(
    format_: str | None, file: Path, preset: str | None, client_id_column: str | None, client_id: str | None
) -> None:
    """Raise UsageError for options that do not go together."""
    from contactsvc.transfer.formats import FileFormat

    if preset is not None and format_ not in (None, "csv"):
        raise click.UsageError(f"--preset reads CSV; it cannot be combined with --format {format_}")
    if client_id_column is not None and preset is None:
        raise click.UsageError("--client-id-column needs --preset")
    if client_id is not None and (preset is not None or FileFormat.chosen(format_, file.name) is not FileFormat.VCARD):
        raise click.UsageError("--client-id is for vCard files: --format vcard")


@contextmanager
def progress_bar(label: str) -> Iterator[tuple[Callable[[int, int], None], Callable[[str], None]]]:
    """Draw a progress bar on standard error while the block runs, if that is a terminal.

    Yields:
        A callback for progress, which takes the amount done and the total, and a callback that prints a line on
        standard error, below the bar.
    """
    if not sys.stderr.isatty():
        yield lambda done, total: None, lambda line: click.echo(line, err=True)
        return
    with click.progressbar(length=1, label=label, file=sys.stderr) as bar:
        cursor_after_bar = True

        def on_progress(done: int, total: int) -> None:
            nonlocal cursor_after_bar
            bar.length = max(total, 1)
            bar.update(done - bar.pos)
            cursor_after_bar = True

        def on_line(line: str) -> None:
            nonlocal cursor_after_bar
            click.echo(f"\n{line}" if cursor_after_bar else line, err=True)
            cursor_after_bar = False

        yield on_progress, on_line
