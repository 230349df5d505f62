"""A server that requires API keys, with keys in memory and clocks that tests set."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import grpc

from contactsvc.domain.api_keys import ApiKey, Permission, new_key
from contactsvc.domain.kinds import Environment
from contactsvc.errors import StoreUnavailable
from contactsvc.rpc.auth import Authenticator
from contactsvc.v1 import contact_methods_pb2 as pb
from tests.conftest import Api, OpenStores, RpcFailure, failure_of, serving

NOW = datetime(2026, 11, 23, tzinfo=UTC)
SERVICE = pb.DESCRIPTOR.services_by_name["ContactMethodsService"]
EVERYTHING = frozenset(Permission)


def bearer(text: str) -> tuple[str, str]:
    """Return the metadata that carries a key."""
    return "authorization", f"Bearer {text}"


@dataclass
class FakeKeyStore:
    """API keys in memory, and a database that may be gone."""

    keys: dict[str, ApiKey] = field(default_factory=dict)
    reads: int = 0
    gone: bool = False

    async def all(self) -> list[ApiKey]:
        self.reads += 1
        if self.gone:
            raise StoreUnavailable
        return list(self.keys.values())

    def make(
        self,
        environment: Environment = Environment.LIVE,
        permissions: frozenset[Permission] = EVERYTHING,
        expires_at: datetime | None = None,
        rate: float | None = None,
    ) -> str:
        """Make a key, and return what callers send."""
        key, text = new_key(
            name="test", environment=environment, permissions=permissions, now=NOW, expires_at=expires_at, rate=rate
        )
        self.keys[key.id] = key
        return text

    def change(self, text: str, **changes: Any) -> None:
        """Change the key that callers send as this text."""
        id_ = text.split("_")[2]
        self.keys[id_] = replace(self.keys[id_], **changes)


@dataclass
class Time:
    """What time it is, for keys and for how long ago they were read."""

    now: datetime = NOW
    seconds: float = 1000.0


@dataclass
class Guarded:
    """A server that requires keys."""

    api: Api
    keys: FakeKeyStore
    time: Time
    gate: Authenticator

    async def ask(self, rpc: str, *headers: tuple[str, str]) -> RpcFailure | None:
        """Call an RPC with an empty request; return how it failed, if it did."""
        method = SERVICE.methods_by_name[rpc]
        shape = self._channel.unary_stream if method.server_streaming else self._channel.unary_unary
        call: Any = shape(f"/{SERVICE.full_name}/{rpc}")(b"", metadata=headers)
        try:
            if method.server_streaming:
                return await failure_of(read_all(call))
            return await failure_of(call)
        except AssertionError:
            return None

    async def verdict(self, *headers: tuple[str, str], rpc: str = "ListContactMethods") -> Any:
        """Return the code and the reason of a call, or "let in"."""
        failure = await self.ask(rpc, *headers)
        if failure is None or failure.code is grpc.StatusCode.INVALID_ARGUMENT:
            return "let in"
        return failure.code, failure.reason

    async def stub_with(self, *permissions: Permission | str, **attributes: Any) -> Any:
        """Make a key, and return a stub whose calls carry it; without permissions named, it has all."""
        named = frozenset(Permission(name) for name in permissions) or EVERYTHING
        return await self.stub_of(self.keys.make(permissions=named, **attributes))

    async def stub_of(self, text: str) -> Any:
        """Return a stub whose calls carry this key, which the server has read."""
        await self.gate.refresh()
        return KeyedStub(self.api.stub, text)

    _channel: Any = None


@dataclass
class KeyedStub:
    """A stub whose calls carry a key."""

    stub: Any
    text: str

    def __getattr__(self, rpc: str) -> Any:
        return lambda request: getattr(self.stub, rpc)(request, metadata=(bearer(self.text),))


async def read_all(call: Any) -> None:
    """Read a stream to its end."""
    async for _ in call:
        pass


@asynccontextmanager
async def guarded(open_stores: OpenStores, **options: Any) -> AsyncIterator[Guarded]:
    """Run a server that requires keys, once there is one."""
    keys, time = FakeKeyStore(), Time()
    gate = Authenticator(keys, clock=lambda: time.now, monotonic=lambda: time.seconds)
    await gate.refresh()
    async with (
        serving(await open_stores(), authenticator=gate, monotonic=lambda: time.seconds, **options) as api,
        grpc.aio.insecure_channel(api.target) as channel,
    ):
        yield Guarded(api, keys, time, gate, channel)
