"""The floor: a bare grpc.aio server that answers each method with fixed bytes, and does nothing else at all.

Its arguments are a JSON file of answers, by the path of the method, and `asyncio` or `uvloop`.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from benchmarks.children import end_with_parent, say

if TYPE_CHECKING:
    _Handler = grpc.RpcMethodHandler[bytes, bytes]


class _Echo(grpc.GenericRpcHandler):
    def __init__(self, answers: dict[str, bytes]) -> None:
        self._handlers: dict[str, _Handler] = {
            path: grpc.unary_unary_rpc_method_handler(self._behaviour(answer)) for path, answer in answers.items()
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> _Handler | None:
        """Return the handler of a method; without serializers, so that it takes and gives bytes."""
        return self._handlers.get(str(handler_call_details.method))

    @staticmethod
    def _behaviour(answer: bytes) -> Callable[[bytes, object], Awaitable[bytes]]:
        async def echo(request: bytes, context: object) -> bytes:
            return answer

        return echo


async def _serve(answers: dict[str, bytes]) -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers([_Echo(answers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    say(f"floor listening on 127.0.0.1:{port}")
    await stopped.wait()
    await server.stop(None)


if __name__ == "__main__":
    end_with_parent()
    fixed = {path: answer.encode("latin-1") for path, answer in json.loads(Path(sys.argv[1]).read_text()).items()}
    if sys.argv[2] == "uvloop":
        importlib.import_module("uvloop").run(_serve(fixed))
    else:
        asyncio.run(_serve(fixed))
