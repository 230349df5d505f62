"""Calls that strict type checkers refuse, each with the error that it must get; test_python_types.py checks them.

They are never run. An error that disappears is reported as an unused `ignore`.
"""

from __future__ import annotations

from contactsvc_client import AsyncContactsClient, ContactMethod, ContactsClient, one_of

ContactsClient("localhost:50051", environment="prod")  # type: ignore[arg-type]
ContactsClient("localhost:50051", tls={"ca_file": "ca.crt"})  # type: ignore[arg-type]
ContactsClient("localhost:50051", max_retry=1)  # type: ignore[call-arg]


async def refused(sdk: AsyncContactsClient, record: ContactMethod, text: str) -> None:
    do = sdk.contact_methods
    await do.create(client_id="c", type="emial", value="a@example.com")  # type: ignore[arg-type]
    await do.create(client_id="c", type=text, value="a@example.com")  # type: ignore[arg-type]
    await do.create(type="email", value="a@example.com")  # type: ignore[call-arg]
    await do.create(client_id="c", type="email", value="a@example.com", is_verified=True)  # type: ignore[call-arg]
    await do.update("x", type="emial")  # type: ignore[arg-type]
    await do.update("x", value=None)  # type: ignore[arg-type]
    await do.update("x", is_verified=True)  # type: ignore[call-arg]
    await do.get_primary("c", "emial")  # type: ignore[arg-type]
    await do.list_by_client("c", type="emial")  # type: ignore[arg-type]
    await do.delete("x", on_primary="promote")  # type: ignore[arg-type]
    await do.list(filter={"client_id": None})  # type: ignore[arg-type]
    await do.list(filter={"type": "emial"})  # type: ignore[arg-type]
    await do.list(filter={"type": one_of("emial")})  # type: ignore[arg-type]
    await do.list(filter={"clientId": "c"})  # type: ignore[arg-type]
    await do.list(sort="value")  # type: ignore[arg-type]
    await do.create_many([{"client_id": "c", "type": "emial", "value": "x"}])  # type: ignore[typeddict-item]
    await do.create_many([{"type": "email", "value": "x"}])  # type: ignore[typeddict-item]
    await do.create_many([{"client_id": "c", "type": "email", "value": "x", "lable": "L"}])  # type: ignore[typeddict-unknown-key]
    await do.update_many([{"id": "x", "is_verified": True}])  # type: ignore[typeddict-unknown-key]
    await do.sync("c", [{"id": "x", "type": "emial"}])  # type: ignore[typeddict-item]
    record.label = "L"  # type: ignore[misc]
