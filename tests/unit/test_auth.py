"""Authentication, where the order of events in the loop matters."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from contactsvc.domain.api_keys import ApiKey
from contactsvc.errors import Unauthenticated
from contactsvc.rpc.auth import Authenticator
from tests.hostile.test_unread_answers import Keys


async def test_a_call_between_the_end_of_a_read_of_the_keys_and_its_callbacks_reads_them_again() -> None:
    stored = Keys(1)
    ((_, text),) = stored.headers[0]
    wrong = {"authorization": (text[:-4] + "aaaa",)}
    late: list[asyncio.Task[object]] = []

    class Store:
        async def all(self) -> list[ApiKey]:
            if len(late) < 1 and authenticator.open is False:
                # Its first step comes after the last of the read, and before the callbacks of the read.
                late.append(asyncio.create_task(authenticator.authenticate(wrong, "GetContactMethod")))
            return await stored.all()

    authenticator = Authenticator(Store(), monotonic=itertools.count().__next__)
    await authenticator.refresh()

    with pytest.raises(Unauthenticated):
        await authenticator.authenticate(wrong, "GetContactMethod")

    (call,) = late
    with pytest.raises(Unauthenticated):
        await call
