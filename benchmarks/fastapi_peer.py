"""The Python peer: FastAPI, Motor and uvicorn over the same collection, as one would write it in an afternoon.

No validation beyond types, no normalization, no request ids, no access log.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from motor.motor_asyncio import AsyncIOMotorClient
from pydantic import BaseModel

from benchmarks.children import end_with_parent, say
from contactsvc.store import SCHEMA_VERSION

_PAGE = 200


class ContactMethod(BaseModel):
    """A contact method in JSON."""

    id: str
    client_id: str
    type: str
    value: str
    normalized_value: str
    label: str | None = None
    is_primary: bool
    external_id: str | None = None
    metadata: dict[str, str]
    created_at: datetime
    updated_at: datetime
    etag: str


class NewContactMethod(BaseModel):
    """A contact method to create."""

    client_id: str
    type: str
    value: str
    label: str | None = None
    metadata: dict[str, str] = {}


class NewLabel(BaseModel):
    """The change of an update."""

    label: str


def application(uri: str, database: str) -> FastAPI:
    """Return the application. The stream reads the test environment, all other calls the live one."""
    # The durability that contactsvc asks for.
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
        uri, w="majority", journal=True, readConcernLevel="majority", tz_aware=True
    )
    collection = client[f"{database}_live"]["contact_methods"]
    streamed = client[f"{database}_test"]["contact_methods"]
    app = FastAPI()

    async def get(id_: str) -> ContactMethod:
        document = await collection.find_one({"_id": id_})
        if document is None:
            raise HTTPException(404)
        return _from_document(document)

    async def primary(client_id: str, type_: str) -> ContactMethod | None:
        document = await collection.find_one({"client_id": client_id, "type": type_, "is_primary": True})
        return None if document is None else _from_document(document)

    async def of_client(client_id: str) -> list[ContactMethod]:
        cursor = collection.find({"client_id": client_id}).sort([("created_at", 1), ("_id", 1)]).limit(20)
        return [_from_document(document) for document in await cursor.to_list(length=None)]

    async def create(new: NewContactMethod) -> ContactMethod:
        document = _to_document(new)
        await collection.insert_one(document)
        return _from_document(document)

    async def update(id_: str, new: NewLabel) -> ContactMethod:
        change = {"label": new.label, "updated_at": datetime.now(UTC), "etag": secrets.token_hex(8)}
        # find_one_and_update would be one command, but the embedded database scans the collection for it.
        await collection.update_one({"_id": id_}, {"$set": change})
        document = await collection.find_one({"_id": id_})
        if document is None:
            raise HTTPException(404)
        return _from_document(document)

    async def create_many(new: list[NewContactMethod]) -> list[ContactMethod]:
        documents = [_to_document(one) for one in new]
        async with await client.start_session() as session, session.start_transaction():
            await collection.insert_many(documents, session=session)
        return [_from_document(document) for document in documents]

    async def stream() -> StreamingResponse:
        async def pages() -> AsyncIterator[str]:
            cursor = streamed.find({}).sort([("created_at", 1), ("_id", 1)]).batch_size(_PAGE)
            while documents := await cursor.to_list(length=_PAGE):
                yield "".join(_from_document(document).model_dump_json() + "\n" for document in documents)

        return StreamingResponse(pages(), media_type="application/x-ndjson")

    app.add_api_route("/contact-methods/{id_}", get, methods=["GET"], response_model=ContactMethod)
    app.add_api_route("/clients/{client_id}/primary/{type_}", primary, methods=["GET"], response_model=ContactMethod)
    app.add_api_route("/clients/{client_id}", of_client, methods=["GET"], response_model=list[ContactMethod])
    app.add_api_route("/contact-methods", create, methods=["POST"], response_model=ContactMethod, status_code=201)
    app.add_api_route("/contact-methods/{id_}", update, methods=["PATCH"], response_model=ContactMethod)
    app.add_api_route("/batches", create_many, methods=["POST"], response_model=list[ContactMethod], status_code=201)
    app.add_api_route("/stream", stream, methods=["GET"])
    return app


def _to_document(new: NewContactMethod) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "_id": "contact_" + secrets.token_hex(13),
        "client_id": new.client_id,
        "type": new.type,
        "value": new.value,
        "value_key": f"{new.type}:{new.value}",
        "label": new.label,
        "is_primary": False,
        "metadata": [f"{key}={value}" for key, value in new.metadata.items()],
        "created_at": now,
        "updated_at": now,
        "etag": secrets.token_hex(8),
        "schema_version": SCHEMA_VERSION,
    }


def _from_document(document: dict[str, Any]) -> ContactMethod:
    return ContactMethod(
        id=document["_id"],
        normalized_value=document["value_key"].partition(":")[2],
        metadata=dict(pair.split("=", 1) for pair in document["metadata"]),
        label=document.get("label"),
        external_id=document.get("external_id"),
        **{
            name: document[name]
            for name in ("client_id", "type", "value", "is_primary", "created_at", "updated_at", "etag")
        },
    )


async def _serve(uri: str, database: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1024)
        say(f"fastapi listening on 127.0.0.1:{listener.getsockname()[1]}")
        config = uvicorn.Config(application(uri, database), access_log=False, log_level="warning")
        await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    end_with_parent()
    settings = uvicorn.Config("")
    # The event loop that uvicorn chooses: uvloop if installed.
    factory = settings.get_loop_factory()
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_serve(*sys.argv[1:]))
