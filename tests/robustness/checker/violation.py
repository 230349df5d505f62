"""A violation and the calls that prove it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.robustness.history import Call


@dataclass(frozen=True, slots=True)
class Violation:
    """A violation of a rule.

    Attributes:
        rule: the name of the rule, such as "two primaries".
        what: a description with the ids concerned.
        calls: the calls whose answers contradict each other.
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
