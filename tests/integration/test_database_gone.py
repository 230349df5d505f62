"""Calls of a service whose database has gone."""

from __future__ import annotations

import asyncio
import gc
import warnings
from pathlib import Path

import grpc
import pytest

from contactsvc.runtime import embedded
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import deployed, failure_of, serving


@pytest.mark.parametrize("driver", ["motor", "pymongo"])
async def test_calls_report_that_the_database_is_gone(tmp_path: Path, driver: str) -> None:
    async with embedded.running(tmp_path) as database:
        uri = f"{database.uri}&serverSelectionTimeoutMS=200"
        connection = deployed(uri, driver)
        stores = await (await connection.__aenter__())()
    async with serving(stores) as api:
        create = pb.CreateContactMethodRequest(
            client_id="c", type=pb.CONTACT_METHOD_TYPE_EMAIL, value="a@example.com", is_primary=True
        )
        for call in (
            api.stub.GetContactMethod(pb.GetContactMethodRequest(id="contact_x")),
            api.stub.ListContactMethods(pb.ListContactMethodsRequest()),
            api.stub.CreateContactMethod(create),
            api.stub.BatchCreateContactMethods(pb.BatchCreateContactMethodsRequest(requests=[create])),
        ):
            failure = await failure_of(call)
            assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
        create.is_primary = False
        together = [failure_of(api.stub.CreateContactMethod(create)) for _ in range(20)]
        together += [failure_of(api.get(f"contact_{number}")) for number in range(20)]
        reasons = {failure.reason for failure in await asyncio.gather(*together)}
        assert reasons == {"STORE_UNAVAILABLE"}
    await connection.__aexit__(None, None, None)
    with warnings.catch_warnings():
        # PyMongo's asynchronous client, closed while it connects, leaves a socket to the garbage collector. Collect it
        # here, or its warning fails a later test.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
