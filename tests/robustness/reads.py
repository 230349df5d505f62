"""Reads of the callers, and the evidence in their answers."""

from __future__ import annotations

from typing import Any

from contactsvc.v1 import contact_methods_pb2 as pb
from tests.robustness.history import Call
from tests.robustness.knowledge import Desk
from tests.robustness.recorder import MADE, Ask, state_of


def saw_one(answer: Any, call: Call) -> None:
    call.seen = [state_of(answer.contact_method)]


def _saw_page(answer: Any, call: Call) -> None:
    call.seen = [state_of(record) for record in answer.contact_methods]


def get(desk: Desk) -> Ask | None:
    state = desk.world.any_record(desk.rng, desk.client("hot", "calm", "churn", "synced"))
    if state is None:
        return None

    def missing(call: Call) -> None:
        call.absent = [state.id]

    return Ask("GetContactMethod", pb.GetContactMethodRequest(id=state.id), read=saw_one, missing=missing)


def get_by_external_id(desk: Desk) -> Ask:
    external_id, _ = desk.external_id(desk.client("hot", "calm", "churn", "synced"))

    def missing(call: Call) -> None:
        call.vacant_external_ids = [external_id]

    request = pb.GetContactMethodByExternalIdRequest(external_id=external_id)
    return Ask("GetContactMethodByExternalId", request, read=saw_one, missing=missing)


def get_by_metadata(desk: Desk) -> Ask | None:
    state = desk.world.any_record(desk.rng, desk.client())
    if state is None or not state.made:
        return None

    def missing(call: Call) -> None:
        call.absent = [state.id]

    request = pb.GetContactMethodByMetadataRequest(key=MADE, value=state.made)
    return Ask("GetContactMethodByMetadata", request, read=saw_one, missing=missing)


def get_primary(desk: Desk) -> Ask:
    client_id, type_ = slot = desk.slot("hot", "hot", "calm", "churn", "synced")

    def read(answer: Any, call: Call) -> None:
        if answer.HasField("contact_method"):
            saw_one(answer, call)
        else:
            call.vacant = [slot]

    request = pb.GetPrimaryContactMethodRequest(client_id=client_id, type=type_)
    return Ask("GetPrimaryContactMethod", request, read=read)


def list_client(desk: Desk) -> Ask:
    client_id = desk.client("hot", "calm", "churn", "synced")

    def read(answer: Any, call: Call) -> None:
        _saw_page(answer, call)
        if not answer.next_page_token:
            call.complete = client_id

    request = pb.ListClientContactMethodsRequest(client_id=client_id, page_size=200)
    return Ask("ListClientContactMethods", request, read=read)


def list_some(desk: Desk) -> Ask:
    clients = [desk.client() for _ in range(desk.rng.randint(1, 3))]
    request = pb.ListContactMethodsRequest(filter=pb.ContactMethodFilter(client_ids=clients), page_size=100)
    if desk.rng.random() < 0.5:
        request.filter.is_primary = True
    else:
        request.sort.add(field=pb.CONTACT_METHOD_SORT_FIELD_UPDATED_AT, descending=True)
        request.include_total_size = True

    def read(answer: Any, call: Call) -> None:
        _saw_page(answer, call)
        # Sorted by a time that changes: a record may be read before and after its change.
        call.together = request.filter.is_primary

    return Ask("ListContactMethods", request, read=read)


def batch_get(desk: Desk) -> Ask | None:
    records = [desk.world.any_record(desk.rng, desk.client()) for _ in range(8)]
    ids = sorted({record.id for record in records if record})
    if not ids:
        return None

    def read(answer: Any, call: Call) -> None:
        _saw_page(answer, call)
        call.absent = list(answer.missing_ids)

    return Ask("BatchGetContactMethods", pb.BatchGetContactMethodsRequest(ids=ids), read=read)


def stream(desk: Desk) -> Ask:
    whole = desk.rng.random() < 0.1
    request = pb.StreamContactMethodsRequest()
    client_id = desk.client()
    if not whole:
        request.filter.client_ids.append(client_id)

    def read(pages: Any, call: Call) -> None:
        call.seen = [state_of(record) for page in pages for record in page.contact_methods]
        call.complete = "*" if whole else client_id

    return Ask("StreamContactMethods", request, read=read)
