"""Results of writes: what an operation came to, with the record that it wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import Slot
from contactsvc.domain.outcomes import Action, Applied, Outcome
from contactsvc.errors import ContactMethodNotFound, ContactsvcError


@dataclass(frozen=True, slots=True)
class Written:
    """A record after a write.

    Attributes:
        record: the record as the whole request leaves it.
        action: created, updated or unchanged.
        demoted_ids: the records that lost the primary flag to it.
        claimed: the primary slot that the operation asked for explicitly.
    """

    record: ContactMethod
    action: Action
    demoted_ids: tuple[str, ...] = ()
    claimed: Slot | None = None


@dataclass(frozen=True, slots=True)
class Deleted:
    """A deleted record.

    Attributes:
        id: its id.
        promoted_id: the record that became primary in its place.
    """

    id: str
    promoted_id: str | None = None


@dataclass(frozen=True, slots=True)
class Erased:
    """All records of a client, deleted.

    Attributes:
        count: how many there were.
    """

    count: int


Result = Written | Deleted | Erased | ContactsvcError
"""What an operation came to, or why it failed."""


def outcomes_of(results: Iterable[Result]) -> tuple[Outcome, ...]:
    """Return the results by ids, to be kept with their request."""
    return tuple(map(_outcome, results))


def results_of(outcomes: Iterable[Outcome], find: Callable[[str], ContactMethod | None]) -> list[Result]:
    """Return the results of a request that is repeated, with the records as they are now.

    Where a record was deleted since, the result is ContactMethodNotFound.
    """
    return [_result(outcome, find) for outcome in outcomes]


def _outcome(result: Result) -> Outcome:
    match result:
        case Written():
            return Applied(result.action, result.record.id, result.demoted_ids)
        case Deleted():
            return Applied(Action.DELETED, result.id, promoted_id=result.promoted_id)
        case Erased():
            return Applied(Action.DELETED, "", count=result.count)
        case ContactsvcError():
            return result


def _result(outcome: Outcome, find: Callable[[str], ContactMethod | None]) -> Result:
    if isinstance(outcome, ContactsvcError):
        return outcome
    if outcome.action is Action.DELETED:
        return Deleted(outcome.id, outcome.promoted_id) if outcome.id else Erased(outcome.count)
    record = find(outcome.id)
    return ContactMethodNotFound("id") if record is None else Written(record, outcome.action, outcome.demoted_ids)
