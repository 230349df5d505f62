"""Lone callers, who read one record again and again, and the memory of the services that they call.

They show whether traffic and attackers leave a service usable and its memory bounded. Each has a connection of its own,
without a proxy, to a service in a process of its own.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import grpc

from contactsvc.v1 import contact_methods_pb2 as pb
from contactsvc.v1 import contact_methods_pb2_grpc as pb_grpc
from tests.conftest import failure_in
from tests.robustness.attackers import CHANNEL, ENVIRONMENT, ended_within
from tests.robustness.faults import processes
from tests.robustness.history import Call, CallOutcome, History
from tests.robustness.recorder import caller_of
from tests.robustness.stand import ServiceProcess, Stand

_PAUSE_SECONDS = 0.1
_SAMPLE_SECONDS = 0.5
# Longer than the limit of the checker.
_TIMEOUT_SECONDS = 20.0
_OPTIONS = [*CHANNEL, ("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500)]


@dataclass(slots=True)
class LoneCallers:
    """A lone caller of each service in a process of its own.

    Attributes:
        stand: the services.
        history: gets their calls, and the memory of the workers.
    """

    stand: Stand
    history: History
    _request: pb.GetContactMethodRequest | None = None

    async def prepare(self) -> None:
        """Create the record that they read; no fault may be in effect."""
        async with grpc.aio.insecure_channel(self.stand.one.front.upstream, options=CHANNEL) as channel:
            stub: Any = pb_grpc.ContactMethodsServiceStub(channel)  # type: ignore[no-untyped-call]
            request = pb.CreateContactMethodRequest(client_id="lone", type=pb.CONTACT_METHOD_TYPE_OTHER, value="lone")
            created = await stub.CreateContactMethod(request, metadata=ENVIRONMENT, timeout=_TIMEOUT_SECONDS)
        self._request = pb.GetContactMethodRequest(id=created.contact_method.id)

    async def run(self, ended: asyncio.Event) -> None:
        """Call until the event."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read_memory(ended))
            for service in (self.stand.one, self.stand.two):
                group.create_task(self._call_until(service, ended))

    async def _call_until(self, service: ServiceProcess, ended: asyncio.Event) -> None:
        while not ended.is_set():
            # A service has another port after a restart.
            address = service.front.upstream
            async with grpc.aio.insecure_channel(address, options=_OPTIONS) as channel:
                stub: Any = pb_grpc.ContactMethodsServiceStub(channel)  # type: ignore[no-untyped-call]
                while service.front.upstream == address and not await ended_within(_PAUSE_SECONDS, ended):
                    await self._get(service, stub)

    async def _get(self, service: ServiceProcess, stub: Any) -> None:
        began = time.monotonic()
        call = Call(-1, -1, caller_of(service.name, "lone caller"), "GetContactMethod", began, began, CallOutcome.OK)
        try:
            await stub.GetContactMethod(self._request, metadata=ENVIRONMENT, timeout=_TIMEOUT_SECONDS)
        except grpc.aio.AioRpcError as error:
            call.code, call.reason = error.code().name, failure_in(error).reason
            call.outcome = CallOutcome.FAILED
        call.ended = time.monotonic()
        self.history.gets.append(call)

    async def _read_memory(self, ended: asyncio.Event) -> None:
        """Note the peaks of the workers; that of a killed process as it was shortly before."""
        while not await ended_within(_SAMPLE_SECONDS, ended):
            for service in (self.stand.one, self.stand.two):
                for pid in service.worker_pids or service.pids:
                    worker = f"{service.name}, process {pid}"
                    self.history.memory[worker] = max(
                        processes.peak_resident_bytes(pid), self.history.memory.get(worker, 0)
                    )
