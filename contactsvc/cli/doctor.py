"""`contactsvc doctor`."""

from __future__ import annotations

import os
import sys

import click

from contactsvc.cli import exits, options


@click.command()
@options.settings_of("doctor")
@click.option("--fix", is_flag=True, help="Repair what can be repaired, after showing the plan.")
@click.option("--yes", is_flag=True, help="With --fix, do not ask for confirmation.")
@click.option("--json", "as_json", is_flag=True, help="Report JSON Lines: findings, repairs, and a summary.")
def doctor(fix: bool, yes: bool, as_json: bool, **flags: str | None) -> None:
    """Check settings, database and data for problems.

    The report gives each problem with its remedy; it contains ids but no contact values. Pass the settings of `serve`,
    as flags or environment variables, so that values are checked by the same rules. The service may be running.
    Nothing is changed without --fix.

    Exit codes: 0 without problems (warnings and notes are not problems), 2 for bad configuration, 1 otherwise.
    """
    with exits.exit_codes():
        from contactsvc.doctor import Report, run
        from contactsvc.telemetry import logs

        # The report repeats what the connection would log.
        logs.configure(as_json=False, level="ERROR")
        report = Report(click.echo, as_json)
        sys.exit(run(flags, os.environ, fix=fix, report=report, confirm=lambda question: yes or _confirmed(question)))


def _confirmed(question: str) -> bool:
    try:
        # On standard error, so that standard output remains valid JSON Lines.
        return click.confirm(question, err=True)
    except click.Abort:
        # Ctrl-C, or the end of standard input.
        click.echo(err=True)
        return False
