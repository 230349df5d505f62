"""A history: the calls to the service, their answers and their times.

It is independent of gRPC and of the messages, so that tests of the checker can write histories by hand. Saved as JSON
Lines, a history can be checked again.

All times are seconds on the monotonic clock of the process that made the calls.
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


class CallOutcome(StrEnum):
    """What a caller knows about the effect of a call when it ends."""

    OK = "ok"
    FAILED = "failed"
    """It had no effect."""
    AMBIGUOUS = "ambiguous"
    """It may have taken effect, may still do so, or may never do so."""


class Kind(StrEnum):
    """What a call asks to do with records."""

    CREATE = "create"
    UPDATE = "update"
    UPSERT = "upsert"
    DELETE = "delete"
    CLEAR = "clear"
    """Delete all records of a client, or those that are not in a list."""


class State(NamedTuple):
    """A record in an answer.

    Attributes:
        id: its id.
        etag: its etag, unique among all states of all records.
        client_id: its client.
        type: its type.
        is_primary: whether it is the primary of its slot.
        external_id: its external id, or "".
        label: its label: the mark of the change that wrote it.
        note: the mark of the change that wrote the note, a metadata pair, or "".
        made: the mark of the create, in another metadata pair, or "".
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
        """Its slot: client and type."""
        return self.client_id, self.type


class Change(NamedTuple):
    """The change that a call asks for, of one record or of all records of a client.

    Attributes:
        kind: the kind of change.
        mark: a text that no other change writes, the same in repetitions of the request; "" if it writes none.
        id: the id of the record, if the request names it.
        client_id: the client of the record, if the request names it.
        etag: the etag that the record must have, or "".
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
        number: its position in the history.
        operation: the request that it belongs to; repetitions of a request share the number.
        caller: the caller.
        rpc: the name of the RPC.
        began: when the request was sent.
        ended: when the answer or the error arrived.
        outcome: what the caller knows about the effect.
        code: the name of the status code.
        reason: the reason of the error.
        request_id: the request_id, or "".
        changes: the requested changes, in order.
        atomic: whether all changes are made or none.
        refused: the positions of the changes that failed although the call succeeded.
        seen: the records in the answer.
        absent: the ids that do not exist, according to the answer.
        deleted: the ids that were deleted, according to the answer.
        vacant: the slots without a primary, according to the answer.
        vacant_external_ids: the external ids that no record has, according to the answer.
        complete: the client whose records are all in `seen`, or "*" for all clients.
        together: whether `seen` was read at one moment.
        impatient: whether the timeout was too short for an answer to be expected.
    """

    number: int
    operation: int
    caller: str
    rpc: str
    began: float
    ended: float
    outcome: CallOutcome
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
        """The latest time at which it may have taken effect."""
        return inf if self.outcome is CallOutcome.AMBIGUOUS else self.ended


@dataclass(slots=True)
class Fault:
    """A fault that was injected.

    Attributes:
        kind: the kind of fault.
        began: when it was injected.
        ended: when its cause was removed; its effects may last longer.
        recovered: when every service answered again; 0.0 if that is unknown.
        detail: details for the report.
    """

    kind: str
    began: float
    ended: float = 0.0
    recovered: float = 0.0
    detail: str = ""


@dataclass(slots=True)
class History:
    """The calls and faults of a run.

    Attributes:
        calls: the calls, in the order in which they ended.
        faults: the injected faults.
        attacks: calls of the attackers, apart from those of raw connections.
        gets: calls of the lone callers, who read one record each, again and again.
        memory: the peak of the resident memory of each worker process, in bytes.
        max_wait_seconds: how long a lone caller may wait for an answer outside of faults; None sets no limit.
        final: all records at the end of the run; None if they could not be read.
        final_at: the time of that reading.
    """

    calls: list[Call] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    attacks: list[Call] = field(default_factory=list)
    gets: list[Call] = field(default_factory=list)
    memory: dict[str, int] = field(default_factory=dict)
    max_wait_seconds: float | None = None
    final: list[State] | None = None
    final_at: float = 0.0

    def save(self, path: Path) -> None:
        """Save it as JSON Lines."""
        with path.open("w") as file:
            for line in _lines(self):
                file.write(json.dumps(line, separators=(",", ":")) + "\n")

    @classmethod
    def load(cls, path: Path) -> History:
        """Load a saved history."""
        history = cls()
        with path.open() as file:
            for kind, content in map(json.loads, file):
                match kind:
                    case "call":
                        history.calls.append(_call(content))
                    case "attack":
                        history.attacks.append(_call(content))
                    case "get":
                        history.gets.append(_call(content))
                    case "fault":
                        history.faults.append(Fault(**content))
                    case "limits":
                        history.memory = content["memory"]
                        history.max_wait_seconds = content["max_wait_seconds"]
                    case "final":
                        history.final = [State(*row) for row in content["records"]]
                        history.final_at = content["at"]
                    case _:
                        raise ValueError(kind)
        return history


def _lines(history: History) -> Iterator[tuple[str, Any]]:
    for kind, calls in (("call", history.calls), ("attack", history.attacks), ("get", history.gets)):
        for call in calls:
            yield kind, _sparse(call)
    for fault in history.faults:
        yield "fault", _sparse(fault)
    yield "limits", {"memory": history.memory, "max_wait_seconds": history.max_wait_seconds}
    if history.final is not None:
        yield "final", {"at": history.final_at, "records": history.final}


def _sparse(content: Call | Fault) -> dict[str, Any]:
    """Return the fields that differ from their defaults."""
    values = ((one, getattr(content, one.name)) for one in fields(content))
    return {one.name: value for one, value in values if value != one.default and value != []}


def _call(content: dict[str, Any]) -> Call:
    content["outcome"] = CallOutcome(content["outcome"])
    content["changes"] = [Change(Kind(kind), *rest) for kind, *rest in content.get("changes", ())]
    content["seen"] = [State(*row) for row in content.get("seen", ())]
    content["vacant"] = [(client_id, type_) for client_id, type_ in content.get("vacant", ())]
    return Call(**content)


def in_order(calls: Iterable[Call]) -> list[Call]:
    """Return calls in the order in which they began."""
    return sorted(calls, key=lambda call: call.began)
