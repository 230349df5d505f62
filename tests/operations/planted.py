"""Calls full of a marker that logs, errors and spans must not contain."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import Api

PLANTED = "planted-7f3a"


def planted_calls(api: Api) -> list[Callable[[], Awaitable[Any]]]:
    """Return calls with the marker in every field: valid ones, invalid ones, and ones that fail inside the service."""
    stub, email = api.stub, pb.CONTACT_METHOD_TYPE_EMAIL
    good = pb.CreateContactMethodRequest(
        client_id=f"{PLANTED}-client",
        type=email,
        value=f"{PLANTED}@example.com",
        label=f"{PLANTED}-label",
        external_id=f"{PLANTED}-external",
        metadata={f"{PLANTED}-key": f"{PLANTED}-value"},
        is_primary=True,
    )
    bad = pb.CreateContactMethodRequest(client_id=f"{PLANTED}\x00", type=email, value=f"{PLANTED} is no address")
    upsert = pb.UpsertContactMethodRequest(
        external_id=f"{PLANTED}-external", client_id=f"{PLANTED}-other", type=email, value=f"{PLANTED}@example.com"
    )
    return [
        lambda: stub.CreateContactMethod(good),
        lambda: stub.CreateContactMethod(good),
        lambda: stub.CreateContactMethod(bad),
        lambda: stub.BatchCreateContactMethods(pb.BatchCreateContactMethodsRequest(requests=[good, bad, good])),
        lambda: stub.BatchCreateContactMethods(pb.BatchCreateContactMethodsRequest(requests=[good, good])),
        lambda: stub.UpsertContactMethod(upsert),
        lambda: stub.GetContactMethodByMetadata(
            pb.GetContactMethodByMetadataRequest(key=f"{PLANTED}-nokey", value=PLANTED)
        ),
        lambda: stub.ListContactMethods(
            pb.ListContactMethodsRequest(filter=pb.ContactMethodFilter(values=[PLANTED]), page_token=PLANTED)
        ),
        lambda: stub.GetContactMethod(
            pb.GetContactMethodRequest(id=PLANTED), metadata=(("authorization", f"Bearer {PLANTED}"),)
        ),
    ]
