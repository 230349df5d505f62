"""Writes configuration.md from the table of settings; `--check` only compares. Run by `make docs`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from generated import write_or_check

from contactsvc.config import ROWS, Group, Row, flag_of, variable_of

_TARGET = Path(__file__).with_name("configuration.md")
_INTRODUCTION = """\
<!-- Generated from contactsvc/config/settings.py by `make docs`. -->

# Configuration

Every setting is a flag and an environment variable. A flag takes precedence over its variable, and an empty variable
counts as absent. `contactsvc serve` takes all flags; other commands take those of the tables that name them. All
commands read all variables. Bad settings end a command with exit code 2 and one line that names all of them. A variable
that begins with `CONTACTSVC_` but belongs to no setting has no effect; a warning names the most similar setting.
"""


def configuration() -> str:
    """Return the text of the page."""
    return "\n".join([_INTRODUCTION, *("\n".join(_section(group)) for group in Group)])


def _section(group: Group) -> Iterator[str]:
    yield f"## {group.title}\n"
    others = [f"`contactsvc {command}`" for command in group.commands if command != "serve"]
    if others:
        yield f"Also flags of {', '.join(others)}.\n"
    yield "| Flag | Variable | Default | Meaning |"
    yield "|---|---|---|---|"
    for name, row in ROWS.items():
        if row.group is group:
            # A pipe ends a cell, also inside backquotes.
            value = "" if row.metavar is None else f" {row.metavar}".replace("|", r"\|")
            yield f"| `{flag_of(name)}{value}` | `{variable_of(name)}` | {_default(row)} | {_meaning(row)} |"
    yield ""


def _default(row: Row) -> str:
    return f"`{row.default}`" if row.default_is_value else row.default


def _meaning(row: Row) -> str:
    return f"{row.help} {row.details}".strip()


if __name__ == "__main__":
    write_or_check(_TARGET, configuration())
