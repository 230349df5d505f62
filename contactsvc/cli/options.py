"""Flags that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from contactsvc.config import ROWS, flag_of
from contactsvc.domain.kinds import Environment

_Command = Callable[..., Any]

FILE: click.Path[Path] = click.Path(path_type=Path)
"""Type of an argument that names a file."""


def settings_of(command: str) -> Callable[[_Command], _Command]:
    """Return the decorator that adds the flags of all settings that a command takes, in the order of the table."""

    def decorate(callback: _Command) -> _Command:
        # Decorators apply from the bottom up.
        for name in reversed([name for name, row in ROWS.items() if command in row.group.commands]):
            callback = _flag(name)(callback)
        return callback

    return decorate


def environment(text: str) -> Callable[[_Command], _Command]:
    """Return the required flag for the environment, with a help text."""
    choice = click.Choice([environment.value for environment in Environment])
    return click.option("--environment", required=True, type=choice, help=text)


def _flag(name: str) -> Callable[[_Command], _Command]:
    row = ROWS[name]
    if row.metavar is None:
        return click.option(flag_of(name), flag_value="true", help=row.help)
    return click.option(flag_of(name), metavar=row.metavar, help=f"{row.help}  [{row.default}]")
