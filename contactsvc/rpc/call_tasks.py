"""The two tasks of a call in grpc.aio, which have to be cancelled together to give the call up.

The inner task runs the handler and sends the answer; the outer one waits for the end of the call. Once an answer is on
its way, cancelling the inner task alone has no effect, and `context.abort` ends the call only on our side: the bytes of
an answer that the peer does not read stay until its connection ends. When both tasks are cancelled, gRPC drops the call
and its bytes at once, and other calls on the connection go on. Only the latest call of a server stays until the next
one arrives, since grpc.aio refers to it until then. Measured with grpcio 1.83.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

_Factory = Callable[..., "asyncio.Future[Any]"]

# The coroutine of the inner task, which the outer task creates.
_INNER_COROUTINE = "_handle_exceptions"


class _InnerTask(asyncio.Task[Any]):
    """The inner task of a call; `outer` refers to the outer one, weakly, since that refers to this."""

    outer: weakref.ref[asyncio.Task[Any]] | None = None


class _CallTaskFactory:
    """A task factory that records the outer task of a call."""

    def __init__(self, other: _Factory | None) -> None:
        self._other = other

    def __call__(
        self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Future[Any]:
        if getattr(coroutine, "__name__", "") == _INNER_COROUTINE and (outer := asyncio.current_task()) is not None:
            task = _InnerTask(coroutine, loop=loop, **options)
            task.outer = weakref.ref(outer)
            return task
        if self._other is not None:
            return self._other(loop, coroutine, **options)
        return asyncio.Task(coroutine, loop=loop, **options)


def running_task() -> asyncio.Task[Any]:
    """Return the task that runs."""
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("no task runs: this is no call")
    return task


def track_calls() -> None:
    """Make the calls of servers on the running event loop droppable."""
    loop: Any = asyncio.get_running_loop()
    factory = loop.get_task_factory()
    if not isinstance(factory, _CallTaskFactory):
        loop.set_task_factory(_CallTaskFactory(factory))


def drop_call(task: asyncio.Task[Any]) -> None:
    """Give up the call whose handler runs, or ran, in a task; its peer gets CANCELLED."""
    if isinstance(task, _InnerTask) and task.outer is not None and (outer := task.outer()) is not None:
        outer.cancel()
    task.cancel()
