"""A broken promise, and the calls that prove it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.robustness.history import Call


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise.

    Attributes:
        rule: its name, such as "two primaries".
        what: what is wrong, with the ids concerned.
        calls: the calls that cannot all have been answered so.
    """

    rule: str
    what: str
    calls: Sequence[Call]

    def __str__(self) -> str:
        return "\n".join([f"{self.rule}: {self.what}", *(f"    {_line(call)}" for call in self.calls)])


def _line(call: Call) -> str:
    return (
        f"{call.began:.6f} - {call.ended:.6f} call {call.number} (operation {call.operation}) of {call.caller}: "
        f"{call.rpc} {call.outcome} {call.code} {call.reason}".rstrip()
    )
