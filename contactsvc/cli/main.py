"""Entry point: the group of all commands. gRPC and the database drivers load only when a command needs them."""

from __future__ import annotations

import sys
from typing import Any, NoReturn

import click

from contactsvc import __version__
from contactsvc.cli import doctor, exits, keys, probe, secrets, serve, stdio, transfer


class _Program(click.Group):
    """Group that reports wrong usage in one line, like every other failure."""

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run the command that the command line names, and end the process with its exit code."""
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(error.exit_code)
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "contactsvc"
            # click puts each of several choices on a line of its own.
            problem = " ".join(error.format_message().split()).rstrip(".")
            exits.print_error(f"{problem[:1].lower()}{problem[1:]} (see `{command} --help`)")
            sys.exit(error.exit_code)
        except click.Abort:
            exits.print_error("interrupted")
            sys.exit(exits.FAILED)
        sys.exit(code if isinstance(code, int) else 0)


@click.group(cls=_Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="contactsvc")
def main() -> None:
    """Contact methods of clients, served over gRPC: the service and its tools."""
    stdio.open_missing()


for _command in (
    serve.serve,
    serve.worker,
    doctor.doctor,
    transfer.export_contact_methods,
    transfer.import_contact_methods,
    keys.keys,
    secrets.secrets,
    probe.probe,
):
    main.add_command(_command)
