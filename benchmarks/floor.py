"""The floor: a bare grpc.aio server that answers each method with fixed bytes.

Arguments: a JSON file of answers by the path of the method, `asyncio` or `uvloop`, and a port, which it may share with
other floors, or 0. An answer is a message, or the list of the messages of a stream.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from benchmarks.children import end_with_parent, say

if TYPE_CHECKING:
    _Handler = grpc.RpcMethodHandler[bytes, bytes]


class _Echo(grpc.GenericRpcHandler):
    def __init__(self, answers: Mapping[str, bytes | list[bytes]]) -> None:
        self._handlers: dict[str, _Handler] = {
            path: grpc.unary_unary_rpc_method_handler(self._behaviour(answer))
            if isinstance(answer, bytes)
            else grpc.unary_stream_rpc_method_handler(self._stream(answer))
            for path, answer in answers.items()
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> _Handler | None:
        """Return the handler of a method, without serializers: it receives and returns bytes."""
        return self._handlers.get(str(handler_call_details.method))

    @staticmethod
    def _behaviour(answer: bytes) -> Callable[[bytes, object], Awaitable[bytes]]:
        async def echo(request: bytes, context: object) -> bytes:
            return answer

        return echo

    @staticmethod
    def _stream(answer: list[bytes]) -> Callable[[bytes, object], AsyncIterator[bytes]]:
        async def stream(request: bytes, context: object) -> AsyncIterator[bytes]:
            for message in answer:
                yield message

        return stream


def read_answers(path: Path) -> dict[str, bytes | list[bytes]]:
    """Return the answers in a file that `write_answers` wrote."""
    return {
        method: answer.encode("latin-1") if isinstance(answer, str) else [part.encode("latin-1") for part in answer]
        for method, answer in json.loads(path.read_text()).items()
    }


def write_answers(path: Path, answers: Mapping[str, bytes | list[bytes]]) -> None:
    """Write answers to a file."""
    texts = {
        method: answer.decode("latin-1") if isinstance(answer, bytes) else [part.decode("latin-1") for part in answer]
        for method, answer in answers.items()
    }
    path.write_text(json.dumps(texts))


async def _serve(answers: Mapping[str, bytes | list[bytes]], port: int) -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    server = grpc.aio.server(options=[("grpc.so_reuseport", 1)])
    server.add_generic_rpc_handlers([_Echo(answers)])
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    say(f"floor listening on 127.0.0.1:{port}")
    await stopped.wait()
    await server.stop(None)


if __name__ == "__main__":
    end_with_parent()
    fixed = read_answers(Path(sys.argv[1]))
    if sys.argv[2] == "uvloop":
        importlib.import_module("uvloop").run(_serve(fixed, int(sys.argv[3])))
    else:
        asyncio.run(_serve(fixed, int(sys.argv[3])))
