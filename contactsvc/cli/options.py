"""Flags that several commands share."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from contactsvc.cli import exits
from contactsvc.config import ROWS, flag_of, unknown_variables
from contactsvc.domain.kinds import Environment

_Command = Callable[..., Any]

FILE: click.Path[Path] = click.Path(path_type=Path)
"""Type of an argument that names a file."""


def settings_of(command: str) -> Callable[[_Command], _Command]:
    """Return the decorator that adds the flags of all settings that a command takes, in the order of the table.

    The command begins with a warning about each unknown environment variable; `serve` logs it instead.
    """

    def decorate(callback: _Command) -> _Command:
        if command != "serve":
            callback = _warning_of_unknown_variables(callback)
        # Decorators apply from the bottom up.
        for name in reversed([name for name, row in ROWS.items() if command in row.group.commands]):
            callback = _flag(name)(callback)
        return callback

    return decorate


def environment(text: str) -> Callable[[_Command], _Command]:
    """Return the required flag for the environment, with a help text."""
    choice = click.Choice([environment.value for environment in Environment])
    return click.option("--environment", required=True, type=choice, help=text)


def _warning_of_unknown_variables(callback: _Command) -> _Command:
    @functools.wraps(callback)
    def warn_and_call(*args: Any, **parameters: Any) -> Any:
        for sentence in unknown_variables(os.environ):
            exits.print_error(f"warning: {sentence}")
        return callback(*args, **parameters)

    return warn_and_call


def _flag(name: str) -> Callable[[_Command], _Command]:
    row = ROWS[name]
    if row.metavar is None:
        return click.option(flag_of(name), flag_value="true", help=row.help)
    return click.option(flag_of(name), metavar=row.metavar, help=f"{row.help}  [{row.default}]")
