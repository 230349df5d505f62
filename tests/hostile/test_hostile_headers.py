"""Odd, repeated and oversized headers are refused or ignored, and never echoed unsafely."""

from __future__ import annotations

import pytest
from grpc import StatusCode

from tests.conftest import Api
from tests.hostile.messages import class_of
from tests.hostile.sending import METHODS, Headers, answer_to, expect_invalid_field, send
from tests.hostile.texts import CANARIES

# gRPC does not send control characters and non-ASCII text.
ODD_IDS = ["a", "a" * 128, "a" * 129, "a" * 4000, "", " ", "a b", "~!@#$%^&*()", "{x}%s%d", "../..", "a,b"]


@pytest.mark.parametrize("odd", ODD_IDS, ids=range(len(ODD_IDS)))
@pytest.mark.parametrize("rpc", ["ListContactMethods", "StreamContactMethods", "DeleteContactMethod"])
async def test_an_odd_request_id_harms_nothing(hostile_api: Api, rpc: str, odd: str) -> None:
    answer = await answer_to(hostile_api, METHODS[rpc], b"", (("x-request-id", odd),))

    came_back = dict(answer.trailing)["x-request-id"]
    assert 0 < len(came_back) <= 128
    if 0 < len(odd) <= 128 and odd.isprintable() and odd.isascii() and " " not in odd:
        assert came_back == odd


@pytest.mark.parametrize("odd", ["", "LIVE", "live ", "prod", "live,test", "x" * 4000, "$ne", CANARIES[0]])
@pytest.mark.parametrize("rpc", ["ListContactMethods", "StreamContactMethods", "EraseClientContactMethods"])
async def test_an_odd_environment_is_refused_and_not_repeated(hostile_api: Api, rpc: str, odd: str) -> None:
    request = class_of(METHODS[rpc].input_type)()
    if rpc == "EraseClientContactMethods":
        request.client_id = "c"

    answer = await answer_to(hostile_api, METHODS[rpc], request.SerializeToString(), (("x-environment", odd),))

    # HTTP/2 forbids leading and trailing spaces in values; without them the name is valid.
    if odd.strip() != "live":
        expect_invalid_field(answer)


@pytest.mark.parametrize(
    "headers",
    [
        (("x-environment", "live"), ("x-environment", "live")),
        (("x-environment", "live"), ("x-environment", "prod")),
        (("x-environment", "prod"), ("x-environment", "live")),
        (("x-environment-bin", b"\x00\xff"),),
        (("x-request-id-bin", b"\x00\xff"),),
        (("x-request-id", "a"), ("x-request-id", "b")),
        tuple((f"x-{number}", "v") for number in range(100)),
    ],
    ids=["twice", "then wrong", "first wrong", "binary", "binary request id", "two request ids", "many"],
)
@pytest.mark.parametrize("rpc", ["ListContactMethods", "StreamContactMethods"])
async def test_repeated_and_binary_headers_end_in_a_status_of_the_contract(
    hostile_api: Api, rpc: str, headers: Headers
) -> None:
    answer = await answer_to(hostile_api, METHODS[rpc], b"", headers)

    assert answer.code in {StatusCode.OK, StatusCode.INVALID_ARGUMENT}


async def test_two_different_environments_are_refused(hostile_api: Api) -> None:
    headers: Headers = (("x-environment", "test"), ("x-environment", "live"))

    expect_invalid_field(await answer_to(hostile_api, METHODS["ListContactMethods"], b"", headers))


@pytest.mark.parametrize("headers", [(("x-request-id", "a" * 100_000),), (("x-environment", "a" * 100_000),)])
async def test_headers_above_the_limit_of_grpc_are_refused(hostile_api: Api, headers: Headers) -> None:
    answer = await send(hostile_api, METHODS["ListContactMethods"], b"", headers)

    assert answer.code is StatusCode.RESOURCE_EXHAUSTED
    assert await hostile_api.total() == 0
