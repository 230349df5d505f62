"""A batch: several operations as if one after the other, all or none, or each alone."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from contactsvc.domain.contact_method import NewContactMethod
from contactsvc.domain.kinds import Slot
from contactsvc.domain.ledger import Ledger
from contactsvc.domain.operations import Operation, Update, Upsert, contested_by
from contactsvc.domain.outcomes import Applied, Outcome
from contactsvc.domain.primary import rival_claims
from contactsvc.errors import ContactsvcError, ExternalIdTaken, FieldViolation, InvalidFields

# How many items an error names that claim the same primary.
_MOST_NAMED = 3
# How often a batch is applied anew because refused claims have brought others to light. More is no honest batch.
_ROUNDS = 10

Step = Callable[[], Outcome]
"""What is to be done for an item; returns its errors."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Operations in their order, each parsed or what is wrong with it, and whether each succeeds or fails alone.

    Attributes:
        items: what the batch consists of.
        partial: whether each item succeeds or fails alone.
        path: the name of the items in the request, for errors such as `requests[3].value`.
        plain: whether the items are plain values without fields, so that errors name them as in `ids[3]`.
    """

    items: Sequence[Operation | InvalidFields]
    partial: bool
    path: str = "requests"
    plain: bool = False

    @property
    def operations(self) -> list[Operation]:
        """The items that could be parsed."""
        return [item for item in self.items if not isinstance(item, InvalidFields)]

    @property
    def contested(self) -> set[Hashable]:
        """What the items may fight over with other writes, as far as it can be told without reading records."""
        keys: set[Hashable] = {slot for item in self.items if (slot := _claim_of(item))}
        for item in self.operations:
            keys |= contested_by(item)
            if isinstance(item, Update) and item.change.is_primary is True:
                # Of which client and type is not known yet: all such batches take turns.
                keys.add("a promotion in a batch")
        return keys

    @property
    def refused(self) -> InvalidFields | None:
        """What is wrong with it at first sight, if that refuses all of it."""
        wrong = [item for item in self.items if isinstance(item, InvalidFields)]
        if self.partial or not wrong:
            return None
        return InvalidFields([violation for error in wrong for violation in error.violations])

    def screened(self) -> Batch:
        """Return the batch with an error in place of each item that claims the flag that another item claims, too."""
        paths = [self._path_of(position) for position in range(len(self.items))]
        claims = [(path, slot) for path, item in zip(paths, self.items, strict=True) if (slot := _claim_of(item))]
        rivals = _refused_claims(claims)
        return replace(self, items=[rivals.get(path, item) for path, item in zip(paths, self.items, strict=True)])

    def applied_to(self, ledger: Ledger) -> list[Outcome]:
        """Apply the items and return what came of each; errors only when partial.

        Raises:
            ContactsvcError: the batch is atomic, and items failed; names all of them.
        """
        steps = [
            (self._path_of(position), partial(self._apply, ledger, position, item))
            for position, item in enumerate(self.items)
        ]
        outcomes = apply_in_order(ledger, steps)
        if not self.partial:
            raise_refusal(ledger, outcomes)
        return outcomes

    def failure(self, position: int, error: ContactsvcError) -> ContactsvcError:
        """Return the error of an operation as that of the item at this position."""
        path = self._path_of(position)
        return error.naming([FieldViolation(path, error.message)]) if self.plain else error.below(path)

    def _apply(self, ledger: Ledger, position: int, item: Operation | InvalidFields) -> Outcome:
        if isinstance(item, InvalidFields):
            return item
        try:
            return ledger.apply(item)
        except ContactsvcError as error:
            return self.failure(position, error)

    def _path_of(self, position: int) -> str:
        return f"{self.path}[{position}]"


def apply_in_order(ledger: Ledger, steps: Sequence[tuple[str, Step]]) -> list[Outcome]:
    """Take the steps in their order and return what came of each.

    Steps that claim one primary slot are all refused, whichever comes first.

    Args:
        ledger: what the steps change; changes made before are undone.
        steps: with the paths of their items.
    """
    refused: dict[str, InvalidFields] = {}
    for attempt in range(_ROUNDS + 1):
        ledger.reset()
        outcomes = [refused.get(path) or step() for path, step in steps]
        # Seen only now: which slot an update claims depends on its record, and on the items before it.
        rivals = _refused_claims(
            [
                (path, outcome.claimed)
                for (path, _), outcome in zip(steps, outcomes, strict=True)
                if isinstance(outcome, Applied) and outcome.claimed
            ]
        )
        if not rivals:
            break
        if attempt == _ROUNDS:
            raise InvalidFields([violation for error in rivals.values() for violation in error.violations])
        refused |= rivals
    return outcomes


def raise_refusal(ledger: Ledger, outcomes: Sequence[Outcome]) -> None:
    """Raise one error for all errors among the outcomes; it names every item at fault.

    It is a bad request if one of them is, since that will stay so, and otherwise what the first of them is.
    """
    errors = [outcome for outcome in outcomes if isinstance(outcome, ContactsvcError)]
    if not errors:
        return
    leading = next((error for error in errors if isinstance(error, InvalidFields)), errors[0])
    in_order = [leading, *(error for error in errors if error is not leading)]
    refusal = leading.naming(violation for error in in_order for violation in error.violations)
    if isinstance(refusal, ExternalIdTaken):
        taken = [error.metadata["existing_id"] for error in errors if isinstance(error, ExternalIdTaken)]
        # A holder that is an item of the refused batch itself will never exist.
        stored = [id_ for id_ in taken if ledger.was_stored(id_)]
        refusal.metadata = {"existing_id": stored[0]} if stored else {}
    raise refusal


def _refused_claims(claims: Sequence[tuple[str, Slot]]) -> dict[str, InvalidFields]:
    """Return the errors of the items that claim a primary slot that other items claim, too, by their paths."""
    refused = {}
    for group in rival_claims(claims):
        more = f" and {len(group) - _MOST_NAMED} more" if len(group) > _MOST_NAMED else ""
        rule = f"{', '.join(group[:_MOST_NAMED])}{more} claim the primary of the same client and type"
        for path in group:
            refused[path] = InvalidFields([FieldViolation(f"{path}.is_primary", rule)])
    return refused


def _claim_of(item: Operation | InvalidFields) -> Slot | None:
    match item:
        case NewContactMethod(is_primary=True):
            return item.slot
        case Upsert() if item.description.is_primary is True:
            return item.client_id, item.description.type
    return None
