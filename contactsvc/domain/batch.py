"""A batch: several operations, applied as if one after the other; all or nothing, or each on its own."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from contactsvc.domain.kinds import Slot
from contactsvc.domain.ledger import Ledger
from contactsvc.domain.operations import Operation, Update, contested_by, slot_claimed_by
from contactsvc.domain.primary import rival_claims
from contactsvc.domain.results import Result, Written
from contactsvc.errors import ContactsvcError, ExternalIdTaken, FieldViolation, InvalidFields

# The number of items that an error names when they claim the same primary.
_MAX_NAMED = 3
# The number of times that a batch is applied again because refusing some claims brought others to light.
_MAX_ROUNDS = 10

Step = Callable[[], Result]
"""Applies an item; returns its error instead of raising it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Operations in their order.

    Attributes:
        items: each a valid operation, or the violations of its item.
        partial: whether each item succeeds or fails on its own.
        path: the name of the items in the request, for errors such as `requests[3].value`.
        plain: whether items are values without fields, so that errors name them as `ids[3]`.
    """

    items: Sequence[Operation | InvalidFields]
    partial: bool
    path: str = "requests"
    plain: bool = False

    @property
    def operations(self) -> list[Operation]:
        """The valid items."""
        return [item for item in self.items if not isinstance(item, InvalidFields)]

    @property
    def contested(self) -> set[Hashable]:
        """The keys over which the items may compete with other writes, as far as known without reading records."""
        keys: set[Hashable] = {slot for item in self.operations if (slot := slot_claimed_by(item))}
        for item in self.operations:
            keys |= contested_by(item)
            if isinstance(item, Update) and item.patch.is_primary is True:
                # Client and type are not known yet: all such batches take turns.
                keys.add("a promotion in a batch")
        return keys

    @property
    def refused(self) -> InvalidFields | None:
        """The violations of its items, if they refuse all of it."""
        wrong = [item for item in self.items if isinstance(item, InvalidFields)]
        if self.partial or not wrong:
            return None
        return InvalidFields([violation for error in wrong for violation in error.violations])

    def screened(self) -> Batch:
        """Return the batch with errors in place of items that claim the same primary slot."""
        paths = [self._path_of(position) for position in range(len(self.items))]
        claims = [
            (path, slot)
            for path, item in zip(paths, self.items, strict=True)
            if not isinstance(item, InvalidFields) and (slot := slot_claimed_by(item))
        ]
        rivals = _refused_claims(claims)
        return replace(self, items=[rivals.get(path, item) for path, item in zip(paths, self.items, strict=True)])

    def applied_to(self, ledger: Ledger) -> list[Result]:
        """Apply the items and return the result of each; errors only when partial.

        Raises:
            ContactsvcError: the batch is atomic, and items failed; names all of them.
        """
        steps = [
            (self._path_of(position), partial(self._apply, ledger, position, item))
            for position, item in enumerate(self.items)
        ]
        results = apply_in_order(ledger, steps)
        if not self.partial:
            raise_refusal(ledger, results)
        return results

    def failure(self, position: int, error: ContactsvcError) -> ContactsvcError:
        """Return the error of an operation as the error of the item at this position."""
        path = self._path_of(position)
        return error.naming([FieldViolation(path, error.message)]) if self.plain else error.below(path)

    def _apply(self, ledger: Ledger, position: int, item: Operation | InvalidFields) -> Result:
        if isinstance(item, InvalidFields):
            return item
        try:
            return ledger.apply(item)
        except ContactsvcError as error:
            return self.failure(position, error)

    def _path_of(self, position: int) -> str:
        return f"{self.path}[{position}]"


def apply_in_order(ledger: Ledger, steps: Sequence[tuple[str, Step]]) -> list[Result]:
    """Run the steps in their order and return the result of each.

    Steps that claim the same primary slot are all refused, whichever comes first.

    Args:
        ledger: changed by the steps; earlier changes are undone.
        steps: the steps with the paths of their items.
    """
    refused: dict[str, InvalidFields] = {}
    for attempt in range(_MAX_ROUNDS + 1):
        ledger.reset()
        results = [refused.get(path) or step() for path, step in steps]
        # Only now: which slot an update claims depends on its record, and on the items before it.
        rivals = _refused_claims(
            [
                (path, result.claimed)
                for (path, _), result in zip(steps, results, strict=True)
                if isinstance(result, Written) and result.claimed
            ]
        )
        if not rivals:
            break
        if attempt == _MAX_ROUNDS:
            raise InvalidFields([violation for error in rivals.values() for violation in error.violations])
        refused |= rivals
    return results


def raise_refusal(ledger: Ledger, results: Sequence[Result]) -> None:
    """Raise one error for all errors among the results; it names every item at fault.

    It is of the kind of the first error, unless one item is a bad request: no repetition will change that.
    """
    errors = [result for result in results if isinstance(result, ContactsvcError)]
    if not errors:
        return
    leading = next((error for error in errors if isinstance(error, InvalidFields)), errors[0])
    in_order = [leading, *(error for error in errors if error is not leading)]
    refusal = leading.naming(violation for error in in_order for violation in error.violations)
    if isinstance(refusal, ExternalIdTaken):
        taken = [error.metadata["existing_id"] for error in errors if isinstance(error, ExternalIdTaken)]
        # A holder that the refused batch itself would have created never exists.
        stored = [id_ for id_ in taken if ledger.was_stored(id_)]
        refusal.metadata = {"existing_id": stored[0]} if stored else {}
    raise refusal


def _refused_claims(claims: Sequence[tuple[str, Slot]]) -> dict[str, InvalidFields]:
    """Return the errors of items that claim a primary slot together with other items, by their paths."""
    refused = {}
    for group in rival_claims(claims):
        more = f" and {len(group) - _MAX_NAMED} more" if len(group) > _MAX_NAMED else ""
        rule = f"{', '.join(group[:_MAX_NAMED])}{more} claim the primary of the same client and type"
        for path in group:
            refused[path] = InvalidFields([FieldViolation(f"{path}.is_primary", rule)])
    return refused
