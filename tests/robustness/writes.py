"""Writes of the callers, and the evidence in their answers."""

from __future__ import annotations

from typing import Any

from contactsvc.v1 import contact_methods_pb2 as pb
from tests.robustness.history import Call, Change, Kind, State
from tests.robustness.knowledge import EXTERNAL_IDS, TYPES, Desk
from tests.robustness.reads import saw_one
from tests.robustness.recorder import MADE, NOTE, Ask, state_of


def _value(mark: str) -> str:
    return f"m{mark}@example.com"


def _saw_results(answer: Any, call: Call) -> None:
    succeeded = [result.WhichOneof("outcome") != "error" for result in answer.results]
    call.refused = [position for position, well in enumerate(succeeded) if not well]
    # A record that occurs twice in the request is returned twice, each time in its final state.
    records = (result.contact_method for result, well in zip(answer.results, succeeded, strict=True) if well)
    call.seen = [*{state.id: state for state in map(state_of, records)}.values()]


def _new(desk: Desk, client_id: str, position: int, *, may_claim: bool = True) -> Any:
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


def create(desk: Desk) -> Ask | None:
    client_id = desk.client()
    if desk.world.crowded(client_id):
        return None
    change = Change(Kind.CREATE, desk.mark(), client_id=client_id)
    return Ask("CreateContactMethod", _new(desk, client_id, 0), [change], saw_one)


def _change_of(desk: Desk, state: State, position: int, *, conditional: bool) -> tuple[Any, Change]:
    """Return an update of some fields, at least one of which gets the mark."""
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


def update(desk: Desk) -> Ask | None:
    state = desk.world.any_record(desk.rng, desk.client())
    if state is None:
        return None
    request, change = _change_of(desk, state, 0, conditional=desk.rng.random() < 0.5)

    def missing(call: Call) -> None:
        call.absent = [state.id]

    return Ask("UpdateContactMethod", request, [change], saw_one, missing, repeatable=desk.rng.random() < 0.7)


def promote(desk: Desk) -> Ask | None:
    state = desk.world.any_record(desk.rng, desk.client("hot", "hot", "calm"))
    if state is None:
        return None
    request = pb.UpdateContactMethodRequest(id=state.id, is_primary=True, label=desk.mark())
    change = Change(Kind.UPDATE, desk.mark(), state.id)

    def missing(call: Call) -> None:
        call.absent = [state.id]

    return Ask("UpdateContactMethod", request, [change], saw_one, missing)


def delete(desk: Desk) -> Ask | None:
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


def _upserted(desk: Desk, client_id: str, position: int, external_id: str, type_: Any) -> tuple[Any, Change]:
    mark = desk.mark(position)
    request = pb.UpsertContactMethodRequest(
        external_id=external_id, client_id=client_id, type=type_, value=_value(external_id), label=mark
    )
    return request, Change(Kind.UPSERT, mark, client_id=client_id)


def upsert(desk: Desk) -> Ask:
    client_id = desk.client()
    request, change = _upserted(desk, client_id, 0, *desk.external_id(client_id))
    if desk.rng.random() < 0.3:
        request.is_primary = True
    return Ask("UpsertContactMethod", request, [change], saw_one, repeatable=desk.rng.random() < 0.7)


def batch_create(desk: Desk) -> Ask | None:
    client_id = desk.client()
    if desk.world.crowded(client_id):
        return None
    size, partial = desk.rng.randint(2, 6), desk.rng.random() < 0.3
    items = [_new(desk, client_id, position, may_claim=position == 0) for position in range(size)]
    changes = [Change(Kind.CREATE, desk.mark(position), client_id=client_id) for position in range(size)]
    request = pb.BatchCreateContactMethodsRequest(requests=items, partial=partial)
    return Ask("BatchCreateContactMethods", request, changes, _saw_results, atomic=not partial)


def batch_update(desk: Desk) -> Ask | None:
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


def batch_delete(desk: Desk) -> Ask | None:
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


def batch_upsert(desk: Desk) -> Ask:
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


def sync(desk: Desk) -> Ask:
    client_id, replace = desk.client("synced"), desk.rng.random() < 0.5
    request = pb.SyncClientContactMethodsRequest(client_id=client_id, replace=replace)
    changes = []
    numbers = sorted(desk.rng.sample(range(EXTERNAL_IDS), desk.rng.randint(1, 4)))
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


def erase(desk: Desk) -> Ask | None:
    client_id = desk.client("churn")
    if not desk.world.crowded(client_id) and desk.rng.random() < 0.8:
        return None
    request = pb.EraseClientContactMethodsRequest(client_id=client_id)
    return Ask("EraseClientContactMethods", request, [Change(Kind.CLEAR, client_id=client_id, vacates=True)])
