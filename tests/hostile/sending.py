"""Raw requests over the wire, and the checks of every answer."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from grpc import StatusCode

from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import Api
from tests.hostile.answers import DEADLINE, Answer, WatchedLog, check_answer, path_of

METHODS = pb.DESCRIPTOR.services_by_name["ContactMethodsService"].methods_by_name

Headers = tuple[tuple[str, str | bytes], ...]


async def send(api: Api, method: MethodDescriptor, raw: bytes, headers: Headers = ()) -> Answer:
    """Send bytes to a method and return the answer."""
    received: list[bytes] = []
    options = [("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(api.target, options=options) as channel:
        make: Any = channel.unary_stream if method.server_streaming else channel.unary_unary
        call = make(path_of(method))(raw, timeout=DEADLINE, metadata=headers)
        try:
            if method.server_streaming:
                received.extend([page async for page in call])
            else:
                received.append(await call)
            return Answer(StatusCode.OK, "", tuple(await call.trailing_metadata()), tuple(received))
        except grpc.aio.AioRpcError as error:
            trailing = tuple((key, value) for key, value in error.trailing_metadata() or ())
            return Answer(error.code(), error.details() or "", trailing, tuple(received))


async def answer_to(api: Api, method: MethodDescriptor, raw: bytes, headers: Headers = ()) -> Answer:
    """Send bytes and check that the answer, its details and the log obey the contract."""
    with WatchedLog() as log:
        answer = await send(api, method, raw, headers)
        log.check()
    check_answer(method, answer)
    return answer


def expect_invalid_field(answer: Answer) -> None:
    assert (answer.code, answer.reason) == (StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
