"""A history: what was asked of the service, what it answered, and when.

It knows neither gRPC nor the messages, so that the checker can be tested with histories written by hand. Written as
JSON Lines, a history can be kept and checked again.

All times are seconds on the one monotonic clock of the process that made the calls.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

Slot = tuple[str, str]
"""A client and a type."""


class Outcome(StrEnum):
    """What a caller knows at the end of its call."""

    OK = "ok"
    FAILED = "failed"
    """It had no effect."""
    AMBIGUOUS = "ambiguous"
    """It may have had its effect, may still have it, or may never have it."""


class Kind(StrEnum):
    """What a call wants to do with records."""

    CREATE = "create"
    UPDATE = "update"
    UPSERT = "upsert"
    DELETE = "delete"
    CLEAR = "clear"
    """Delete all records of a client, or those that a list does not name."""


class State(NamedTuple):
    """A record as an answer shows it.

    Attributes:
        id: its id.
        etag: its etag, which no other state of any record has.
        client_id: whose it is.
        type: its type.
        is_primary: whether it is the primary of its slot.
        external_id: its external id, or "".
        label: the mark of the change that gave it its label.
        note: the mark of the change that gave it its note, a metadata pair, or "".
        made: the mark of the create that made it, kept in another metadata pair, or "".
    """

    id: str
    etag: str
    client_id: str
    type: str
    is_primary: bool = False
    external_id: str = ""
    label: str = ""
    note: str = ""
    made: str = ""

    @property
    def slot(self) -> Slot:
        """The slot that it is in."""
        return self.client_id, self.type


class Change(NamedTuple):
    """What a call asks to be done with one record, or with those of one client.

    Attributes:
        kind: what.
        mark: a text that no other change writes; a repetition of the same request carries the same one. "" when it
            writes none.
        id: of the record, when the request names it.
        client_id: of the record, when the request names it.
        etag: the condition, or "".
        vacates: whether it may leave a slot without a primary.
        label: whether it writes its mark into the label.
        note: whether it writes its mark into the note.
    """

    kind: Kind
    mark: str = ""
    id: str = ""
    client_id: str = ""
    etag: str = ""
    vacates: bool = False
    label: bool = True
    note: bool = False


@dataclass(slots=True)
class Call:
    """One call and its answer.

    Attributes:
        number: its place in the history.
        operation: what it belongs to: repetitions of one request have the same number here.
        caller: who called.
        rpc: its name.
        began: when the request was sent.
        ended: when the answer, or the failure, was there.
        outcome: what the caller knows.
        code: the name of the status.
        reason: the service's own word for a failure.
        request_id: what makes repetitions one.
        changes: what it asks for, in order.
        atomic: whether they happen together or not at all.
        refused: the positions of the changes that failed by themselves while the call succeeded.
        seen: the states of records in the answer.
        absent: ids of records that the answer says are not there.
        deleted: ids of records that the answer says are deleted.
        vacant: slots of which the answer says that they have no primary.
        vacant_external_ids: external ids of which the answer says that no record has them.
        complete: the client of whom `seen` is all there is, or "*" for all clients.
        together: whether `seen` was read at one moment.
        impatient: whether the caller left, or would have, before the service could be expected to answer.
    """

    number: int
    operation: int
    caller: str
    rpc: str
    began: float
    ended: float
    outcome: Outcome
    code: str = "OK"
    reason: str = ""
    request_id: str = ""
    changes: Sequence[Change] = ()
    atomic: bool = True
    refused: Sequence[int] = ()
    seen: Sequence[State] = ()
    absent: Sequence[str] = ()
    deleted: Sequence[str] = ()
    vacant: Sequence[Slot] = ()
    vacant_external_ids: Sequence[str] = ()
    complete: str = ""
    together: bool = True
    impatient: bool = False

    @property
    def effect_until(self) -> float:
        """Until when it may have taken effect."""
        return inf if self.outcome is Outcome.AMBIGUOUS else self.ended


@dataclass(slots=True)
class Fault:
    """A fault that was injected.

    Attributes:
        kind: which.
        began: when.
        ended: when its cause was gone, though not yet its effect.
        detail: more about it.
    """

    kind: str
    began: float
    ended: float = 0.0
    detail: str = ""


@dataclass(slots=True)
class History:
    """What happened in a run.

    Attributes:
        calls: the calls, in the order in which they ended.
        faults: what went wrong meanwhile.
        final: all records, read when everything had ended; None when that was not possible.
        final_at: when.
    """

    calls: list[Call] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    final: list[State] | None = None
    final_at: float = 0.0

    def save(self, path: Path) -> None:
        """Write it as JSON Lines."""
        with path.open("w") as file:
            for line in _lines(self):
                file.write(json.dumps(line, separators=(",", ":")) + "\n")

    @classmethod
    def load(cls, path: Path) -> History:
        """Read it again."""
        history = cls()
        with path.open() as file:
            for kind, content in map(json.loads, file):
                if kind == "call":
                    history.calls.append(_call(content))
                elif kind == "fault":
                    history.faults.append(Fault(**content))
                else:
                    history.final = [State(*row) for row in content["records"]]
                    history.final_at = content["at"]
        return history


def _lines(history: History) -> Iterator[tuple[str, Any]]:
    for call in history.calls:
        yield "call", _sparse(call)
    for fault in history.faults:
        yield "fault", _sparse(fault)
    if history.final is not None:
        yield "final", {"at": history.final_at, "records": history.final}


def _sparse(content: Call | Fault) -> dict[str, Any]:
    """Return the fields that do not have their default."""
    values = ((one, getattr(content, one.name)) for one in fields(content))
    return {one.name: value for one, value in values if value != one.default and value != []}


def _call(content: dict[str, Any]) -> Call:
    content["outcome"] = Outcome(content["outcome"])
    content["changes"] = [Change(Kind(kind), *rest) for kind, *rest in content.get("changes", ())]
    content["seen"] = [State(*row) for row in content.get("seen", ())]
    content["vacant"] = [(client_id, type_) for client_id, type_ in content.get("vacant", ())]
    return Call(**content)


def in_order(calls: Iterable[Call]) -> list[Call]:
    """Return calls by the time at which they began."""
    return sorted(calls, key=lambda call: call.began)
