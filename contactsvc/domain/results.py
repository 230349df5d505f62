"""Results of writes: what an operation came to, with the record that it wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.kinds import Slot
from contactsvc.domain.outcomes import Action, Applied, Outcome, VerificationOutcome
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


@dataclass(frozen=True, slots=True)
class Challenged:
    """A started challenge, or one whose code is sent again.

    Attributes:
        record: the record; its challenge is another, or none, when a request is repeated after its challenge is over.
        challenge_id: the challenge that was started.
        attempts_left: wrong codes that may still be given.
        repeated: whether the request was carried out before.
    """

    record: ContactMethod
    challenge_id: str
    attempts_left: int
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Checked:
    """A code after its check.

    Attributes:
        record: the record.
        challenge_id: the challenge that it was checked against.
        verified: whether it was right.
        attempts_left: wrong codes that may still be given.
        repeated: whether the request was carried out before.
    """

    record: ContactMethod
    challenge_id: str
    verified: bool
    attempts_left: int
    repeated: bool = False


Result = Written | Deleted | Erased | Challenged | Checked | ContactsvcError
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
        case Challenged():
            verification = VerificationOutcome(result.challenge_id, None, result.attempts_left)
            return Applied(Action.UNCHANGED, result.record.id, verification=verification)
        case Checked():
            verification = VerificationOutcome(result.challenge_id, result.verified, result.attempts_left)
            return Applied(Action.UNCHANGED, result.record.id, verification=verification)
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
    if record is None:
        return ContactMethodNotFound("id")
    verification = outcome.verification
    if verification is None:
        return Written(record, outcome.action, outcome.demoted_ids)
    if verification.verified is None:
        return Challenged(record, verification.challenge_id, verification.attempts_left, repeated=True)
    return Checked(record, verification.challenge_id, verification.verified, verification.attempts_left, repeated=True)


R = TypeVar("R", Written, Deleted, Erased, Challenged, Checked)


def expected(kind: type[R], result: Result) -> R:
    """Return the result of a single operation; raise what it failed with."""
    if not isinstance(result, kind):
        raise unexpected(result)
    return result


def unexpected(result: Result) -> Exception:
    """Return what to raise for a result of another kind than the one expected."""
    if isinstance(result, ContactsvcError):
        return result
    return TypeError(f"unexpected result: {type(result).__name__}")
