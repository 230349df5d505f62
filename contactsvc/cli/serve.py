"""`contactsvc serve`, and the hidden command of its worker processes."""

from __future__ import annotations

import asyncio
import logging
import os

import click

from contactsvc import config
from contactsvc.cli import exits, options, stdio

# Motor's default is five threads per core, and one thread carries one database command at a time.
_MOTOR_THREADS = "64"

_log = logging.getLogger(__name__)


@click.command()
@options.settings_of("serve")
def serve(**flags: str | None) -> None:
    """Serve contact methods over gRPC until SIGTERM or Ctrl-C.

    Every flag can also be set by an environment variable, --listen by CONTACTSVC_LISTEN and so on; the flag takes
    precedence. When the service is ready it prints one line on standard output, `contactsvc listening on HOST:PORT`.
    Everything else goes to standard error. A second signal stops the service at once.

    Exit codes: 0 after a clean stop, 2 for bad configuration, 1 for any other failure.
    """
    with exits.exit_codes():
        settings = config.load(flags, os.environ, serving=True)
        from contactsvc.telemetry import logs

        logs.configure(as_json=settings.log_json, level=settings.log_level)
        for sentence in config.unknown_variables(os.environ):
            _log.warning("%s", sentence)
        os.environ.setdefault("MOTOR_MAX_WORKERS", _MOTOR_THREADS)
        # Log lines of gRPC itself are not JSON, and any peer can trigger them.
        os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
        if settings.workers > 1:
            from contactsvc.runtime.supervisor import supervise

            asyncio.run(supervise(settings, flags, _announce))
            return
        # Imported late: --help and a wrong flag need not wait half a second for gRPC and the drivers.
        from contactsvc.runtime import serving

        exits.run_on_fastest_loop(serving.serve(settings, _announce, exits.print_error, environ=os.environ))


@click.command(hidden=True)
def worker() -> None:
    """Run one of the worker processes of `contactsvc serve`, which starts them."""
    from contactsvc.runtime.supervisor_link import has_supervisor, report_failure

    if not has_supervisor():
        raise click.UsageError("only `contactsvc serve` starts workers; set their number with --workers")
    with exits.exit_codes(report_failure):
        # Imported before the supervisor sends the settings, so that all workers load at the same time.
        from contactsvc.runtime import serving
        from contactsvc.runtime.supervisor_link import SupervisorLink

        async def work() -> None:
            supervisor = await SupervisorLink.connect()
            if supervisor is not None:
                settings = config.load(supervisor.flags, os.environ, serving=True)
                await serving.serve(
                    settings, supervisor.report_serving, report_failure, environ=os.environ, supervisor=supervisor
                )

        exits.run_on_fastest_loop(work())


def _announce(address: str) -> None:
    try:
        stdio.print_line(f"contactsvc listening on {address}")
    except stdio.NotPrinted as error:
        # The service is up, and can serve without the announcement.
        _log.warning("listening on %s, but could not announce it: %s", address, error)
