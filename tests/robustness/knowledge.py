"""What the callers know of the records, and the choices for the next request of one of them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from contactsvc.v1 import contact_methods_pb2 as pb
from tests.robustness.history import Call, Slot, State

EMAIL, OTHER = pb.CONTACT_METHOD_TYPE_EMAIL, pb.CONTACT_METHOD_TYPE_OTHER
TYPES = (EMAIL, OTHER)

EXTERNAL_IDS = 6


@dataclass(slots=True)
class Knowledge:
    """The records as the callers know them from answers.

    Attributes:
        hot, calm, churn, synced: the number of clients of each kind.
        crowd: the number of records from which on a client gets no further ones, so that its list is one small page.
    """

    hot: int = 4
    calm: int = 60
    churn: int = 60
    synced: int = 8
    crowd: int = 40
    _known: dict[str, dict[str, State]] = field(default_factory=dict)

    def any_client(self, rng: random.Random, *kinds: str) -> str:
        """Return a random client of one of these kinds."""
        kind = rng.choice(kinds or ("hot", "hot", "calm", "churn"))
        return f"{kind}-{rng.randrange(getattr(self, kind))}"

    def any_record(self, rng: random.Random, client_id: str) -> State | None:
        """Return a random record of a client in the last state seen."""
        known = self._known.get(client_id)
        return rng.choice(list(known.values())) if known else None

    def crowded(self, client_id: str) -> bool:
        """Return whether a client has enough records."""
        return len(self._known.get(client_id, ())) >= self.crowd

    def learn(self, call: Call) -> None:
        """Update the known records from an answer."""
        for state in call.seen:
            self._known.setdefault(state.client_id, {})[state.id] = state
        for id_ in (*call.absent, *call.deleted):
            for known in self._known.values():
                known.pop(id_, None)
        if call.complete:
            there = {state.id for state in call.seen}
            known = self._known.get(call.complete, {})
            self._known[call.complete] = {id_: state for id_, state in known.items() if id_ in there}


@dataclass(frozen=True, slots=True)
class Desk:
    """Random choices for one request."""

    world: Knowledge
    rng: random.Random
    operation: int

    def mark(self, position: int = 0) -> str:
        return f"{self.operation}.{position}"

    def client(self, *kinds: str) -> str:
        return self.world.any_client(self.rng, *kinds)

    def slot(self, *kinds: str) -> Slot:
        return self.client(*kinds), pb.ContactMethodType.Name(self.rng.choice(TYPES))

    def external_id(self, client_id: str) -> tuple[str, Any]:
        """Return an external id of a client, and the fixed type of its record."""
        number = self.rng.randrange(EXTERNAL_IDS)
        return f"{client_id}/{number}", TYPES[number % 2]
