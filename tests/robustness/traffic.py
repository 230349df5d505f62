"""Mixed traffic: what 32 callers ask, of few clients that they fight over and of many that they do not.

Clients are of kinds, so that the checker can tell what must not happen to them:

- hot: few, everyone works on them. Nearly nothing leaves a slot without a primary.
- calm: nothing is deleted, no flag is taken away; whatever was there must be there at the end.
- churn: deleted, erased, changed in type.
- synced: made what a list says.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from contactsvc.v1 import contact_methods_pb2 as pb
from tests.robustness.history import Call, Change, Kind, Slot, State
from tests.robustness.recorder import MADE, NOTE, Ask, Recorder, caller_of, state_of

EMAIL, OTHER = pb.CONTACT_METHOD_TYPE_EMAIL, pb.CONTACT_METHOD_TYPE_OTHER
TYPES = (EMAIL, OTHER)

_EXTERNAL_IDS = 6


@dataclass(slots=True)
class World:
    """What the callers know of the records, from the answers that they got.

    Attributes:
        hot, calm, churn, synced: how many clients of each kind.
        crowd: how many records of a client are enough: whole lists of it stay one page, and small.
    """

    hot: int = 4
    calm: int = 60
    churn: int = 60
    synced: int = 8
    crowd: int = 40
    _known: dict[str, dict[str, State]] = field(default_factory=dict)

    def any_client(self, rng: random.Random, *kinds: str) -> str:
        """Return a client of one of these kinds."""
        kind = rng.choice(kinds or ("hot", "hot", "calm", "churn"))
        return f"{kind}-{rng.randrange(getattr(self, kind))}"

    def any_record(self, rng: random.Random, client_id: str) -> State | None:
        """Return a record of a client as it was seen last."""
        known = self._known.get(client_id)
        return rng.choice(list(known.values())) if known else None

    def crowded(self, client_id: str) -> bool:
        """Tell whether a client has records enough."""
        return len(self._known.get(client_id, ())) >= self.crowd

    def learn(self, call: Call) -> None:
        """Take in what an answer says."""
        for state in call.seen:
            self._known.setdefault(state.client_id, {})[state.id] = state
        for id_ in (*call.absent, *call.deleted):
            for known in self._known.values():
                known.pop(id_, None)
        if call.complete:
            there = {state.id for state in call.seen}
            known = self._known.get(call.complete, {})
            self._known[call.complete] = {id_: state for id_, state in known.items() if id_ in there}


@dataclass(slots=True)
class Traffic:
    """Callers at work.

    Attributes:
        recorder: keeps the history.
        world: what they know.
        stubs: of the services, with their names; each caller uses one.
        seed: decides what they do.
        mix: how often each kind of call is made; as MIX unless told otherwise.
    """

    recorder: Recorder
    world: World
    stubs: Sequence[tuple[str, Any]]
    seed: int
    mix: dict[str, float] = field(default_factory=dict)

    async def run(self, callers: int, *, until: Callable[[], bool]) -> None:
        """Let so many callers work until the condition holds; each looks before every call."""
        async with asyncio.TaskGroup() as group:
            for number in range(callers):
                group.create_task(self._work(number, until))

    async def _work(self, number: int, until: Callable[[], bool]) -> None:
        rng = random.Random(self.seed * 1000 + number)  # noqa: S311 - repeatable
        mix = self.mix or MIX
        kinds, weights = [*mix], [*mix.values()]
        service, stub = self.stubs[number % len(self.stubs)]
        caller = caller_of(service, number)
        while not until():
            operation = self.recorder.next_operation()
            ask = ASKS[rng.choices(kinds, weights)[0]](_Desk(self.world, rng, operation))
            if ask is None:
                await asyncio.sleep(0)
            else:
                self.world.learn(await self.recorder.carry_out(caller, stub, ask, operation, rng))


@dataclass(frozen=True, slots=True)
class _Desk:
    """Where an ask is made up."""

    world: World
    rng: random.Random
    operation: int

    def mark(self, position: int = 0) -> str:
        return f"{self.operation}.{position}"

    def client(self, *kinds: str) -> str:
        return self.world.any_client(self.rng, *kinds)

    def slot(self, *kinds: str) -> Slot:
        return self.client(*kinds), pb.ContactMethodType.Name(self.rng.choice(TYPES))

    def external_id(self, client_id: str) -> tuple[str, Any]:
        """Return an external id of a client, and the type that its record always has."""
        number = self.rng.randrange(_EXTERNAL_IDS)
        return f"{client_id}/{number}", TYPES[number % 2]


def _value(mark: str) -> str:
    return f"m{mark}@example.com"


def _saw_one(answer: Any, call: Call) -> None:
    call.seen = [state_of(answer.contact_method)]


def _saw_page(answer: Any, call: Call) -> None:
    call.seen = [state_of(record) for record in answer.contact_methods]


def _saw_results(answer: Any, call: Call) -> None:
    succeeded = [result.WhichOneof("outcome") != "error" for result in answer.results]
    call.refused = [position for position, well in enumerate(succeeded) if not well]
    # A record that occurs twice is shown twice, in its one last state.
    records = (result.contact_method for result, well in zip(answer.results, succeeded, strict=True) if well)
    call.seen = [*{state.id: state for state in map(state_of, records)}.values()]


def _get(desk: _Desk) -> Ask | None:
    state = desk.world.any_record(desk.rng, desk.client("hot", "calm", "churn", "synced"))
    if state is None:
        return None

    def missing(call: Call) -> None:
        call.absent = [state.id]

    return Ask("GetContactMethod", pb.GetContactMethodRequest(id=state.id), read=_saw_one, missing=missing)


def _get_by_external_id(desk: _Desk) -> Ask:
    external_id, _ = desk.external_id(desk.client("hot", "calm", "churn", "synced"))

    def missing(call: Call) -> None:
        call.vacant_external_ids = [external_id]

    request = pb.GetContactMethodByExternalIdRequest(external_id=external_id)
    return Ask("GetContactMethodByExternalId", request, read=_saw_one, missing=missing)


def _get_by_metadata(desk: _Desk) -> Ask | None:
    state = desk.world.any_record(desk.rng, desk.client())
    if state is None or not state.made:
        return None

    def missing(call: Call) -> None:
        call.absent = [state.id]

    request = pb.GetContactMethodByMetadataRequest(key=MADE, value=state.made)
    return Ask("GetContactMethodByMetadata", request, read=_saw_one, missing=missing)


def _get_primary(desk: _Desk) -> Ask:
    client_id, type_ = slot = desk.slot("hot", "hot", "calm", "churn", "synced")

    def read(answer: Any, call: Call) -> None:
        if answer.HasField("contact_method"):
            _saw_one(answer, call)
        else:
            call.vacant = [slot]

    request = pb.GetPrimaryContactMethodRequest(client_id=client_id, type=type_)
    return Ask("GetPrimaryContactMethod", request, read=read)


def _list_client(desk: _Desk) -> Ask:
    client_id = desk.client("hot", "calm", "churn", "synced")

    def read(answer: Any, call: Call) -> None:
        _saw_page(answer, call)
        if not answer.next_page_token:
            call.complete = client_id

    request = pb.ListClientContactMethodsRequest(client_id=client_id, page_size=200)
    return Ask("ListClientContactMethods", request, read=read)


def _list(desk: _Desk) -> Ask:
    clients = [desk.client() for _ in range(desk.rng.randint(1, 3))]
    request = pb.ListContactMethodsRequest(filter=pb.ContactMethodFilter(client_ids=clients), page_size=100)
    if desk.rng.random() < 0.5:
        request.filter.is_primary = True
    else:
        request.sort.add(field=pb.CONTACT_METHOD_SORT_FIELD_UPDATED_AT, descending=True)
        request.include_total_size = True

    def read(answer: Any, call: Call) -> None:
        _saw_page(answer, call)
        # By a time that changes: a record may be met before and after.
        call.together = request.filter.is_primary

    return Ask("ListContactMethods", request, read=read)


def _batch_get(desk: _Desk) -> Ask | None:
    records = [desk.world.any_record(desk.rng, desk.client()) for _ in range(8)]
    ids = sorted({record.id for record in records if record})
    if not ids:
        return None

    def read(answer: Any, call: Call) -> None:
        _saw_page(answer, call)
        call.absent = list(answer.missing_ids)

    return Ask("BatchGetContactMethods", pb.BatchGetContactMethodsRequest(ids=ids), read=read)


def _stream(desk: _Desk) -> Ask:
    whole = desk.rng.random() < 0.1
    request = pb.StreamContactMethodsRequest()
    client_id = desk.client()
    if not whole:
        request.filter.client_ids.append(client_id)

    def read(pages: Any, call: Call) -> None:
        call.seen = [state_of(record) for page in pages for record in page.contact_methods]
        call.complete = "*" if whole else client_id

    return Ask("StreamContactMethods", request, read=read)


def _new(desk: _Desk, client_id: str, position: int, *, may_claim: bool = True) -> Any:
    mark = desk.mark(position)
    request = pb.CreateContactMethodRequest(
        client_id=client_id,
        type=desk.rng.choice(TYPES),
        value=_value(mark),
        label=mark,
        is_primary=may_claim and desk.rng.random() < 0.4,
        metadata={MADE: mark},
    )
    if desk.rng.random() < 0.2:
        request.external_id, request.type = desk.external_id(client_id)
    return request


def _create(desk: _Desk) -> Ask | None:
    client_id = desk.client()
    if desk.world.crowded(client_id):
        return None
    change = Change(Kind.CREATE, desk.mark(), client_id=client_id)
    return Ask("CreateContactMethod", _new(desk, client_id, 0), [change], _saw_one)


def _change_of(desk: _Desk, state: State, position: int, *, conditional: bool) -> tuple[Any, Change]:
    """Return an update of some fields, among them at least one that gets the mark."""
    rng, mark = desk.rng, desk.mark(position)
    request = pb.UpdateContactMethodRequest(id=state.id, etag=state.etag if conditional else "")
    label, vacates = rng.random() < 0.6, False
    if label:
        request.label = mark
    if note := not label or rng.random() < 0.3:
        request.metadata[NOTE] = mark
    if state.client_id.startswith("churn"):
        if rng.random() < 0.2:
            request.is_primary, vacates = False, True
        elif rng.random() < 0.2 and not state.external_id:
            request.type, vacates = rng.choice(TYPES), True
    elif rng.random() < 0.1:
        request.value = _value(mark)
    return request, Change(Kind.UPDATE, mark, state.id, "", request.etag, vacates, label, note)


def _update(desk: _Desk) -> Ask | None:
    state = desk.world.any_record(desk.rng, desk.client())
    if state is None:
        return None
    request, change = _change_of(desk, state, 0, conditional=desk.rng.random() < 0.5)

    def missing(call: Call) -> None:
        call.absent = [state.id]

    return Ask("UpdateContactMethod", request, [change], _saw_one, missing, repeatable=desk.rng.random() < 0.7)


def _promote(desk: _Desk) -> Ask | None:
    state = desk.world.any_record(desk.rng, desk.client("hot", "hot", "calm"))
    if state is None:
        return None
    request = pb.UpdateContactMethodRequest(id=state.id, is_primary=True, label=desk.mark())
    change = Change(Kind.UPDATE, desk.mark(), state.id)

    def missing(call: Call) -> None:
        call.absent = [state.id]

    return Ask("UpdateContactMethod", request, [change], _saw_one, missing)


def _delete(desk: _Desk) -> Ask | None:
    state = desk.world.any_record(desk.rng, desk.client("hot", "churn"))
    if state is None:
        return None
    policy = desk.rng.choices(
        [pb.PRIMARY_DELETE_POLICY_REJECT, pb.PRIMARY_DELETE_POLICY_PROMOTE_NEXT, pb.PRIMARY_DELETE_POLICY_UNSPECIFIED],
        [8, 1, 1],
    )[0]
    request = pb.DeleteContactMethodRequest(id=state.id, on_primary=policy, allow_missing=desk.rng.random() < 0.3)
    change = Change(Kind.DELETE, id=state.id, vacates=policy != pb.PRIMARY_DELETE_POLICY_REJECT)

    def read(_answer: Any, call: Call) -> None:
        call.deleted = [state.id]

    def missing(call: Call) -> None:
        call.absent = [state.id]

    return Ask("DeleteContactMethod", request, [change], read, missing)


def _upserted(desk: _Desk, client_id: str, position: int, external_id: str, type_: Any) -> tuple[Any, Change]:
    mark = desk.mark(position)
    request = pb.UpsertContactMethodRequest(
        external_id=external_id, client_id=client_id, type=type_, value=_value(external_id), label=mark
    )
    return request, Change(Kind.UPSERT, mark, client_id=client_id)


def _upsert(desk: _Desk) -> Ask:
    client_id = desk.client()
    request, change = _upserted(desk, client_id, 0, *desk.external_id(client_id))
    if desk.rng.random() < 0.3:
        request.is_primary = True
    return Ask("UpsertContactMethod", request, [change], _saw_one, repeatable=desk.rng.random() < 0.7)


def _batch_create(desk: _Desk) -> Ask | None:
    client_id = desk.client()
    if desk.world.crowded(client_id):
        return None
    size, partial = desk.rng.randint(2, 6), desk.rng.random() < 0.3
    items = [_new(desk, client_id, position, may_claim=position == 0) for position in range(size)]
    changes = [Change(Kind.CREATE, desk.mark(position), client_id=client_id) for position in range(size)]
    request = pb.BatchCreateContactMethodsRequest(requests=items, partial=partial)
    return Ask("BatchCreateContactMethods", request, changes, _saw_results, atomic=not partial)


def _batch_update(desk: _Desk) -> Ask | None:
    records = [desk.world.any_record(desk.rng, desk.client("hot", "calm", "calm")) for _ in range(4)]
    known = {record.id: record for record in records if record}
    if not known:
        return None
    partial = desk.rng.random() < 0.3
    made = [
        _change_of(desk, state, position, conditional=desk.rng.random() < 0.2)
        for position, state in enumerate(known.values())
    ]
    request = pb.BatchUpdateContactMethodsRequest(requests=[item for item, _ in made], partial=partial)
    return Ask("BatchUpdateContactMethods", request, [change for _, change in made], _saw_results, atomic=not partial)


def _batch_delete(desk: _Desk) -> Ask | None:
    client_id = desk.client("churn")
    records = [desk.world.any_record(desk.rng, client_id) for _ in range(4)]
    ids = sorted({record.id for record in records if record})
    if not ids:
        return None
    partial = desk.rng.random() < 0.3

    def read(answer: Any, call: Call) -> None:
        call.deleted = [result.deleted_id for result in answer.results if result.deleted_id]
        call.refused = [position for position, result in enumerate(answer.results) if not result.deleted_id]

    changes = [Change(Kind.DELETE, id=id_, vacates=True) for id_ in ids]
    request = pb.BatchDeleteContactMethodsRequest(ids=ids, partial=partial)
    return Ask("BatchDeleteContactMethods", request, changes, read, atomic=not partial)


def _batch_upsert(desk: _Desk) -> Ask:
    client_id = desk.client()
    wanted = {}
    for _ in range(3):
        external_id, type_ = desk.external_id(client_id)
        wanted[external_id] = type_
    made = [
        _upserted(desk, client_id, position, external_id, type_)
        for position, (external_id, type_) in enumerate(wanted.items())
    ]
    partial = desk.rng.random() < 0.3
    request = pb.BatchUpsertContactMethodsRequest(requests=[item for item, _ in made], partial=partial)
    return Ask("BatchUpsertContactMethods", request, [change for _, change in made], _saw_results, atomic=not partial)


def _sync(desk: _Desk) -> Ask:
    client_id, replace = desk.client("synced"), desk.rng.random() < 0.5
    request = pb.SyncClientContactMethodsRequest(client_id=client_id, replace=replace)
    changes = []
    numbers = sorted(desk.rng.sample(range(_EXTERNAL_IDS), desk.rng.randint(1, 4)))
    for position, number in enumerate(numbers):
        external_id = f"{client_id}/{number}"
        request.items.add(
            external_id=external_id, type=TYPES[number % 2], value=_value(external_id), label=desk.mark(position)
        )
        changes.append(Change(Kind.UPSERT, desk.mark(position), client_id=client_id))
    request.items[0].is_primary = desk.rng.random() < 0.5
    if replace:
        changes.append(Change(Kind.CLEAR, client_id=client_id, vacates=True))
    elif not request.items[0].is_primary:
        changes[0] = changes[0]._replace(vacates=True)

    def read(answer: Any, call: Call) -> None:
        call.seen = [state_of(record) for record in (*answer.created, *answer.updated, *answer.unchanged)]
        call.deleted = list(answer.deleted_ids)

    return Ask("SyncClientContactMethods", request, changes, read)


def _erase(desk: _Desk) -> Ask | None:
    client_id = desk.client("churn")
    if not desk.world.crowded(client_id) and desk.rng.random() < 0.8:
        return None
    request = pb.EraseClientContactMethodsRequest(client_id=client_id)
    return Ask("EraseClientContactMethods", request, [Change(Kind.CLEAR, client_id=client_id, vacates=True)])


ASKS: dict[str, Callable[[_Desk], Ask | None]] = {
    "get": _get,
    "get by external id": _get_by_external_id,
    "get by metadata": _get_by_metadata,
    "get primary": _get_primary,
    "list client": _list_client,
    "list": _list,
    "batch get": _batch_get,
    "stream": _stream,
    "create": _create,
    "update": _update,
    "promote": _promote,
    "delete": _delete,
    "upsert": _upsert,
    "batch create": _batch_create,
    "batch update": _batch_update,
    "batch delete": _batch_delete,
    "batch upsert": _batch_upsert,
    "sync": _sync,
    "erase": _erase,
}

MIX: dict[str, float] = {
    "get": 16,
    "get by external id": 6,
    "get by metadata": 4,
    "get primary": 12,
    "list client": 8,
    "list": 3,
    "batch get": 4,
    "stream": 0.7,
    "create": 10,
    "update": 12,
    "promote": 7,
    "delete": 5,
    "upsert": 5,
    "batch create": 1.5,
    "batch update": 1.5,
    "batch delete": 1,
    "batch upsert": 1,
    "sync": 1.5,
    "erase": 0.5,
}
"""How often each is asked, in proportion."""
