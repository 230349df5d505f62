"""The command line."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from contactsvc import __version__, config
from contactsvc.cli import stdio
from contactsvc.domain.api_keys import Permission
from contactsvc.domain.kinds import ContactMethodType, Environment
from contactsvc.errors import ConfigurationError, ContactsvcError, StartupError

T = TypeVar("T")
_log = logging.getLogger(__name__)

_Command = Callable[..., Any]

_FAILED = 1
_LONGEST_NAME = 100
_FILE = click.Path(path_type=Path)


class _Program(click.Group):
    """All commands. A wrong command line is told in one line, like all else that keeps one from running."""

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run the command that the command line names, and end the process with its exit code."""
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(error.exit_code)
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "contactsvc"
            # click lists choices in lines of their own.
            why = " ".join(error.format_message().split()).rstrip(".")
            _tell(f"{why[:1].lower()}{why[1:]}; `{command} --help` shows what there is", error.exit_code)
            sys.exit(error.exit_code)
        except click.Abort:
            _tell("interrupted", _FAILED)
            sys.exit(_FAILED)
        sys.exit(code if isinstance(code, int) else 0)


@click.group(cls=_Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="contactsvc")
def main() -> None:
    """contactsvc: the one place for how to reach your clients."""
    stdio.open_missing()


_DATABASE_FLAGS = (
    click.option("--mongodb-uri", metavar="URI", help="The MongoDB to use.  [none: the embedded database]"),
    click.option("--database", metavar="NAME", help="Name of the databases, before _live and _test.  [contactsvc]"),
    click.option("--data-dir", metavar="DIR", help="Files of the embedded database.  [./contactsvc-data]"),
    click.option("--driver", metavar="motor|pymongo", help="The MongoDB driver.  [motor]"),
)
_LOG_FLAGS = (
    click.option("--log-format", metavar="text|json", help="How log lines look.  [text]"),
    click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error.  [info]"),
)
_VALUE_FLAGS = (
    click.option("--default-region", metavar="REGION", help="Region of phone numbers without +, such as MX.  [none]"),
    click.option("--value-validation", metavar="strict|lenient", help="Refuse or keep unreadable values.  [strict]"),
)


def _flags(*groups: tuple[Callable[[_Command], _Command], ...]) -> Callable[[_Command], _Command]:
    """Return the decorator that gives a command these flags, in this order."""

    def decorate(command: _Command) -> _Command:
        for flag in reversed([flag for group in groups for flag in group]):
            command = flag(command)
        return command

    return decorate


@main.command()
@click.option("--listen", metavar="HOST:PORT", help="Where to serve gRPC; port 0 takes a free one.  [127.0.0.1:50051]")
@_flags(_DATABASE_FLAGS, _VALUE_FLAGS, _LOG_FLAGS)
@click.option(
    "--tls-cert", metavar="FILE", help="Certificate chain, PEM; read again when it changes.  [none: plain text]"
)
@click.option("--tls-key", metavar="FILE", help="Its private key, PEM, without a passphrase.")
@click.option("--tls-client-ca", metavar="FILE", help="Let in only clients with a certificate of this CA (mTLS).")
@click.option("--reflection", metavar="auto|on|off", help="Describe the service to callers; auto: on loopback.  [auto]")
@click.option("--admin-listen", metavar="HOST:PORT", help="Where to serve Prometheus metrics, plain HTTP.  [none]")
@click.option("--workers", metavar="N", help="Processes that serve; limits are for each of them.  [one per core]")
@click.option("--batching", metavar="on|off", help="Answer calls that arrive together by one query.  [on]")
@click.option("--tracing", metavar="on|off", help="Trace calls with OpenTelemetry, as its OTEL_ variables say.  [off]")
@click.option("--max-in-flight", metavar="N", help="Calls at a time in a worker; more are OVERLOADED.  [1000]")
@click.option("--max-in-flight-per-key", metavar="N", help="Calls at a time in a worker with one API key.  [250]")
@click.option("--max-message-bytes", metavar="N", help="Size of a request.  [4194304]")
@click.option("--max-deadline", metavar="SECONDS", help="How long a call may take; streams are exempt.  [30]")
@click.option("--drain-wait", metavar="SECONDS", help="After SIGTERM, serve on so long as NOT_SERVING.  [0]")
@click.option("--drain-grace", metavar="SECONDS", help="Then give calls under way so long to end.  [10]")
@click.option("--max-connection-age", metavar="SECONDS", help="End connections of this age; 0: never.  [0]")
@click.option("--dangerously-serve-without-tls", flag_value="true", help="Serve a network in plain text all the same.")
@click.option("--dangerously-serve-without-keys", flag_value="true", help="Let in everyone on a network all the same.")
def serve(**flags: str | None) -> None:
    """Serve contact methods over gRPC until SIGTERM or Ctrl-C.

    Each flag is also read from an environment variable: --listen from CONTACTSVC_LISTEN, and so on. Once the service
    answers it prints one line, `contactsvc listening on HOST:PORT`, on standard output; everything else goes to
    standard error. A second signal stops it at once.

    Exit codes: 0 after a clean stop, 2 for bad configuration, 1 for everything else.
    """
    with _exit_codes():
        settings = config.load(flags, os.environ, serving=True)
        # Motor's own default is five threads per core, and so five commands at a time.
        os.environ.setdefault("MOTOR_MAX_WORKERS", "64")
        # gRPC's own lines are no JSON, and strangers can cause them.
        os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
        if settings.workers > 1:
            from contactsvc.runtime.supervisor import supervise

            asyncio.run(supervise(settings, flags, _announce))
            return
        # Loaded only now: gRPC and the drivers take half a second that --help and a bad flag need not.
        from contactsvc.runtime.serving import serve as run

        _run(run(settings, _announce, _tell))


@main.command(hidden=True)
def worker() -> None:
    """Be one of the workers of `contactsvc serve`, which starts it."""
    from contactsvc.runtime.supervisor_link import has_supervisor, tell_why

    if not has_supervisor():
        raise click.UsageError("only `contactsvc serve` starts workers; see its --workers")
    with _exit_codes(tell_why):
        # Before it is told what to do, so that all workers load at the same time.
        from contactsvc.runtime.serving import serve as run
        from contactsvc.runtime.supervisor_link import SupervisorLink

        async def work() -> None:
            supervisor = await SupervisorLink.met()
            if supervisor is not None:
                settings = config.load(supervisor.flags, os.environ, serving=True)
                await run(settings, supervisor.serving, tell_why, supervisor=supervisor)

        _run(work())


@main.command()
@_flags(_DATABASE_FLAGS, _VALUE_FLAGS)
@click.option("--fix", is_flag=True, help="Mend what can be mended, after showing what will be done.")
@click.option("--yes", is_flag=True, help="With --fix, do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Report JSON Lines: findings, what is done, and a summary.")
def doctor(fix: bool, yes: bool, as_json: bool, **flags: str | None) -> None:
    """Examine settings, database and data, and say what is wrong and what to do.

    Give it the settings of `serve`, as flags or environment variables: it reads values by the same rules. It works
    beside a running service, changes nothing without --fix, and names ids but never contact values.

    Exit codes: 0 when nothing is wrong (warnings and notes are fine), 2 for bad configuration, 1 for everything else.
    """
    with _exit_codes():
        from contactsvc.doctor import Report, run
        from contactsvc.telemetry import logs

        # What the connection logs, the report says as well.
        logs.configure(as_json=False, level="ERROR")
        report = Report(click.echo, as_json)
        sys.exit(run(flags, os.environ, fix=fix, report=report, confirm=lambda question: yes or _confirmed(question)))


def _confirmed(question: str) -> bool:
    try:
        # On standard error, so that a report in JSON stays one.
        return click.confirm(question, err=True)
    except click.Abort:
        # Ctrl-C, or nobody there to ask.
        click.echo(err=True)
        return False


_ENVIRONMENT = click.option(
    "--environment",
    required=True,
    type=click.Choice([environment.value for environment in Environment]),
    help="Which environment.",
)
_FORMAT = click.option(
    "--format", "format_", type=click.Choice(["jsonl", "csv"]), help="What the file is.  [by its name, else jsonl]"
)


@main.command("export")
@_ENVIRONMENT
@click.option("--output", default="-", show_default=True, metavar="FILE", help="Where to; - is standard output.")
@_FORMAT
@click.option("--client-id", "client_ids", multiple=True, metavar="ID", help="Only of this client; repeatable.")
@click.option(
    "--type",
    "types",
    multiple=True,
    type=click.Choice([type_.value for type_ in ContactMethodType]),
    help="Only of this type.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON, to standard error.")
@_flags(_DATABASE_FLAGS)
def export_contact_methods(
    environment: str,
    output: str,
    format_: str | None,
    client_ids: tuple[str, ...],
    types: tuple[str, ...],
    as_json: bool,
    **flags: str | None,
) -> None:
    """Write all contact methods of an environment to a file, while the service runs.

    Reads the database that the settings of `serve` name, and needs no API key. JSON Lines keep everything and can be
    restored exactly; CSV is for spreadsheets. docs/backup.md says what holds. The file holds personal data.

    \b
    Examples:
      contactsvc export --environment live --output backup.jsonl
      contactsvc export --environment live --format csv --type email --client-id client_abc123

    Exit codes: 0 when the file is whole, 2 for bad configuration, 1 for everything else.
    """  # noqa: D301 - click keeps the lines after the character itself
    with _exit_codes():
        settings = config.load(flags, os.environ)
        from contactsvc.domain.listing import Filter
        from contactsvc.telemetry import logs
        from contactsvc.transfer.run import export_to

        logs.configure(as_json=False, level="ERROR")
        path = None if output == "-" else Path(output)
        wanted = Filter(client_ids=client_ids, types=tuple(map(ContactMethodType, types)))
        with _progress_bar("exporting") as (progress, _):
            count = _completed(
                export_to(
                    path,
                    settings,
                    Environment(environment),
                    as_csv=_is_csv(format_, output),
                    wanted=wanted,
                    progress=progress,
                ),
                "what was exported is not whole; run it again",
            )
        click.echo(json.dumps({"exported": count}) if as_json else f"exported {count} contact methods", err=True)


@main.command("import")
@click.argument("file", type=_FILE)
@_ENVIRONMENT
@_FORMAT
@click.option("--dry-run", is_flag=True, help="Check every row against the rules and the database, and write nothing.")
@click.option("--on-error", type=click.Choice(["stop", "skip"]), help="When a row fails.  [stop; with --dry-run skip]")
@click.option(
    "--on-conflict",
    type=click.Choice(["error", "skip", "update"]),
    default="error",
    show_default=True,
    help="When a record is there already with other content.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@_flags(_DATABASE_FLAGS, _VALUE_FLAGS)
def import_contact_methods(
    file: Path,
    environment: str,
    format_: str | None,
    dry_run: bool,
    on_error: str | None,
    on_conflict: str,
    as_json: bool,
    **flags: str | None,
) -> None:
    """Write the contact methods of a file into an environment, while the service runs.

    Give it the settings of `serve`: it writes to their database, needs no API key, and reads values by the same rules.
    JSON Lines of `contactsvc export` are restored exactly: ids, times and verifications as they were. A list in CSV
    names its columns in the first line, separated by commas: client_id, type, value, and if you like label, is_primary,
    external_id, metadata (a JSON object) and metadata.KEY. FILE must be a regular file, since it is read twice.

    It can be repeated, and after a kill has to be: what is there already is left alone. No row takes the primary flag
    or an external id from a record that keeps it. Rows that fail are named with their line on standard error.

    \b
    Examples:
      contactsvc import backup.jsonl --environment live --dry-run
      contactsvc import backup.jsonl --environment live --on-conflict update
      contactsvc import list.csv --environment test --default-region MX --on-error skip

    Exit codes: 0 when all rows are as the file says, 2 for bad configuration, 1 for everything else.
    """  # noqa: D301 - click keeps the lines after the character itself
    with _exit_codes():
        settings = config.load(flags, os.environ)
        from contactsvc.telemetry import logs
        from contactsvc.transfer.importer import OnConflict
        from contactsvc.transfer.run import import_from

        logs.configure(as_json=False, level="ERROR")
        size = file.stat().st_size if file.is_file() else 0
        with _progress_bar("checking" if dry_run else "importing") as (progress, tell):
            counts = _completed(
                import_from(
                    file,
                    settings,
                    Environment(environment),
                    as_csv=_is_csv(format_, file.name),
                    on_conflict=OnConflict(on_conflict),
                    stops=(on_error or ("skip" if dry_run else "stop")) == "stop",
                    dry_run=dry_run,
                    tell=tell,
                    progress=lambda done: progress(done, size),
                ),
                "nothing was written" if dry_run else "what was written stays; run it again",
            )
        summary = {**asdict(counts), "dry_run": dry_run}
        click.echo(json.dumps(summary) if as_json else f"{'would be ' if dry_run else ''}{counts}")
        if counts.failed:
            sys.exit(_FAILED)


def _is_csv(format_: str | None, name: str) -> bool:
    return format_ == "csv" or (format_ is None and name.lower().endswith(".csv"))


def _completed(work: Coroutine[Any, Any, T], interrupted: str) -> T:
    """Run a work to its end, and return what it returns; SIGTERM ends it as Ctrl-C does, so that it tidies up."""

    async def run() -> T:
        task = asyncio.ensure_future(work)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await task

    try:
        return asyncio.run(run())
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise StartupError(f"interrupted; {interrupted}") from None


@contextmanager
def _progress_bar(label: str) -> Iterator[tuple[Callable[[int, int], None], Callable[[str], None]]]:
    """Yield what is told how much is done and of how much, and what is told lines for people.

    How much is done is shown where somebody looks. Lines go to standard error, and not onto the end of the bar.
    """
    if not sys.stderr.isatty():
        yield lambda done, total: None, lambda line: click.echo(line, err=True)
        return
    with click.progressbar(length=1, label=label, file=sys.stderr) as bar:
        drawn = True

        def show(done: int, total: int) -> None:
            nonlocal drawn
            bar.length = max(total, 1)
            bar.update(done - bar.pos)
            drawn = True

        def tell(line: str) -> None:
            nonlocal drawn
            click.echo(f"\n{line}" if drawn else line, err=True)
            drawn = False

        yield show, tell


@main.group()
def keys() -> None:
    """Make, list and revoke API keys."""


@keys.command("create")
@click.option("--name", required=True, help="What people call it, such as the service that will use it.")
@click.option(
    "--environment",
    required=True,
    type=click.Choice([environment.value for environment in Environment]),
    help="Which one it opens.",
)
@click.option(
    "--allow", required=True, metavar="LIST", help="What it allows: read,write,delete,erase, or some of them."
)
@click.option("--expires-in", metavar="TIME", help="When it ends by itself, such as 90d or 12h.  [never]")
@_flags(_DATABASE_FLAGS)
def create_key(name: str, environment: str, allow: str, expires_in: str | None, **flags: str | None) -> None:
    """Make an API key, and print it: nobody can show it again.

    From the first key on, the service lets in nobody without one: at once when it starts, within seconds when it runs.
    `write` alone allows to create; to change a record a key needs `read` as well, since the answer shows the record.
    """
    with _exit_codes():
        settings, permissions = config.load(flags, os.environ), _permissions(allow)
        if not 1 <= len(name) <= _LONGEST_NAME or not name.isprintable():
            raise ConfigurationError(f"--name must have 1 to {_LONGEST_NAME} printable characters")
        lifetime = None if expires_in is None else _lifetime(expires_in)
        from contactsvc.cli import keys

        key, text = asyncio.run(
            keys.create_key(
                settings,
                name=name,
                environment=Environment(environment),
                permissions=permissions,
                lifetime=lifetime,
            )
        )
        click.echo(f"made key {key.id}; keep what follows in a safe place, nobody can show it again", err=True)
        try:
            stdio.print_line(text)
        except stdio.NotPrinted as error:
            # A key that works and that nobody has must not stay.
            try:
                asyncio.run(keys.revoke_key(settings, key.id))
            except (StartupError, ContactsvcError) as failure:
                raise StartupError(
                    f"{error}, so that nobody has the key, and it cannot be revoked either ({failure}); run "
                    f"`contactsvc keys revoke {key.id}`"
                ) from error
            raise StartupError(f"{error}, so that nobody has the key; revoked key {key.id}") from error


@keys.command("list")
@_flags(_DATABASE_FLAGS)
def list_keys(**flags: str | None) -> None:
    """Show all API keys, without their secrets."""
    with _exit_codes():
        settings = config.load(flags, os.environ)
        from contactsvc.cli import keys

        row = "{:<12}  {:<8}  {:<11}  {:<23}  {:<20}  {}".format
        stdio.print_line(row("ID", "STATE", "ENVIRONMENT", "ALLOWS", "EXPIRES", "NAME"))
        for key, state in asyncio.run(keys.list_keys(settings)):
            expires = "never" if key.expires_at is None else f"{key.expires_at:%Y-%m-%dT%H:%M:%SZ}"
            stdio.print_line(row(key.id, state, key.environment, ",".join(sorted(key.permissions)), expires, key.name))


@keys.command("revoke")
@click.argument("key_id", metavar="ID")
@_flags(_DATABASE_FLAGS)
def revoke_key(key_id: str, **flags: str | None) -> None:
    """Revoke the API key with this id; services refuse it within 30 seconds."""
    with _exit_codes():
        settings = config.load(flags, os.environ)
        from contactsvc.cli import keys

        asyncio.run(keys.revoke_key(settings, key_id))
        stdio.print_line(f"revoked key {key_id}; services refuse it within 30 seconds")


@main.command()
@click.option(
    "--target", default="127.0.0.1:50051", show_default=True, metavar="HOST:PORT", help="Which server to ask."
)
@click.option("--service", default="", metavar="NAME", help="Which service of it, such as liveness.  [the server]")
@click.option("--tls-ca", type=_FILE, help="Certificates to trust; without it, plain text.")
@click.option("--tls-server-name", metavar="NAME", help="Name in the server's certificate, if not that of the target.")
@click.option("--tls-cert", type=_FILE, help="Certificate to show, where the server asks for one (mTLS).")
@click.option("--tls-key", type=_FILE, help="Its private key.")
def probe(
    target: str,
    service: str,
    tls_ca: Path | None,
    tls_server_name: str | None,
    tls_cert: Path | None,
    tls_key: Path | None,
) -> None:
    """Ask a server for its health; exit code 0 when it is serving, 1 when not."""
    with _exit_codes():
        if (tls_cert is None) != (tls_key is None):
            raise ConfigurationError("--tls-cert and --tls-key go together")
        if tls_ca is None and (tls_cert is not None or tls_server_name is not None):
            raise ConfigurationError(
                "--tls-cert, --tls-key and --tls-server-name need --tls-ca; without it, plain text"
            )
        from contactsvc.cli import probe as probing

        credentials = None if tls_ca is None else probing.tls_credentials(tls_ca, tls_cert, tls_key)
        asyncio.run(probing.probe(target, service, credentials, tls_server_name))
        stdio.print_line("SERVING")


def _run(service: Coroutine[Any, Any, None]) -> None:
    """Run the service on uvloop where there is one."""
    try:
        import uvloop
    except ModuleNotFoundError:
        asyncio.run(service)
    else:
        uvloop.run(service)


def _tell(why: str, _: int) -> None:
    click.echo(f"contactsvc: {why}", err=True)


@contextmanager
def _exit_codes(tell: Callable[[str, int], None] = _tell) -> Iterator[None]:
    """End the process with one line that says why when the block fails."""
    try:
        yield
    except (StartupError, ContactsvcError) as error:
        code = error.exit_code if isinstance(error, StartupError) else _FAILED
        tell(str(error), code)
        sys.exit(code)
    except Exception as error:
        tell(f"unexpected {type(error).__name__}; the log above may say more", _FAILED)
        sys.exit(_FAILED)


def _permissions(raw: str) -> frozenset[Permission]:
    try:
        return frozenset(Permission(name.strip()) for name in raw.split(","))
    except ValueError:
        raise ConfigurationError(f"--allow must name some of {', '.join(Permission)}, with commas") from None


def _lifetime(raw: str) -> timedelta:
    match = re.fullmatch(r"([1-9][0-9]{0,4})([dh])", raw)
    if not match:
        raise ConfigurationError("--expires-in must be a number of days or hours, such as 90d or 12h")
    return timedelta(**{"d": {"days": int(match[1])}, "h": {"hours": int(match[1])}}[match[2]])


def _announce(address: str) -> None:
    try:
        stdio.print_line(f"contactsvc listening on {address}")
    except stdio.NotPrinted as error:
        # The service is up: that nobody listens is no reason to end it.
        _log.warning("listening on %s, and nobody can be told: %s", address, error)
