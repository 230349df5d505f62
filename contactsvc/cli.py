"""The command line."""

from __future__ import annotations

import asyncio
import os
import sys

import click

from contactsvc import __version__, config
from contactsvc.errors import StartupError

_FAILED = 1


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="contactsvc")
def main() -> None:
    """contactsvc: the one place for how to reach your clients."""


@main.command()
@click.option("--listen", metavar="HOST:PORT", help="Where to serve gRPC; port 0 takes a free one.  [127.0.0.1:50051]")
@click.option("--mongodb-uri", metavar="URI", help="The MongoDB to use.  [none: the embedded database]")
@click.option("--database", metavar="NAME", help="Name of the databases, before _live and _test.  [contactsvc]")
@click.option("--data-dir", metavar="DIR", help="Files of the embedded database.  [./contactsvc-data]")
@click.option("--default-region", metavar="REGION", help="Region of phone numbers without +, such as MX.  [none]")
@click.option("--value-validation", metavar="strict|lenient", help="Refuse or keep unreadable values.  [strict]")
@click.option("--log-format", metavar="text|json", help="How log lines look.  [text]")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error.  [info]")
@click.option("--driver", metavar="motor|pymongo", help="The MongoDB driver.  [motor]")
def serve(**flags: str | None) -> None:
    """Serve contact methods over gRPC until SIGTERM or Ctrl-C.

    Each flag is also read from an environment variable: --listen from CONTACTSVC_LISTEN, and so on. Once the service
    answers it prints one line, `contactsvc listening on HOST:PORT`, on standard output; everything else goes to
    standard error.

    Exit codes: 0 after a clean stop, 2 for bad configuration, 1 for everything else.
    """
    try:
        settings = config.load(flags, os.environ)
        # Loaded only now: gRPC and the drivers take half a second that --help and a bad flag need not.
        from contactsvc.server import serve as run

        asyncio.run(run(settings, _announce))
    except StartupError as error:
        click.echo(f"contactsvc: {error}", err=True)
        sys.exit(error.exit_code)
    except Exception as error:
        click.echo(f"contactsvc: unexpected {type(error).__name__}; the log above may say more", err=True)
        sys.exit(_FAILED)


def _announce(address: str) -> None:
    click.echo(f"contactsvc listening on {address}")
    sys.stdout.flush()
