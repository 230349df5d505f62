"""One call of an RPC: what is known of it, and its end."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable
from typing import NoReturn

from contactsvc import deadlines
from contactsvc.domain.ids import new_request_id
from contactsvc.errors import ContactsvcError, InternalFault
from contactsvc.memory import CallMemory
from contactsvc.rpc.admission import Admission
from contactsvc.rpc.answers import Answer
from contactsvc.rpc.auth import Caller
from contactsvc.rpc.call_ports import Context, Tracing
from contactsvc.rpc.call_tasks import running_task
from contactsvc.rpc.status import code_of, status_of, trailing_of
from contactsvc.rpc.visibility import visible_error
from contactsvc.telemetry.call_metrics import MethodMetrics
from contactsvc.telemetry.call_report import CallReport

REQUEST_ID_HEADER = "x-request-id"

# No spaces: it is one field of a log line.
_REQUEST_ID = re.compile(r"[!-~]{1,128}")

_log = logging.getLogger(__name__)


class CallContext:
    """One call: its metadata, its caller, its end, and the report of it. It begins when it is made."""

    __slots__ = (
        "_code",
        "_metrics",
        "_on_end",
        "_reason",
        "_span",
        "_started",
        "admission",
        "answer",
        "caller",
        "context",
        "memory",
        "metadata",
        "method",
        "peer",
        "request_id",
        "task",
        "trailing",
    )

    def __init__(
        self,
        method: str,
        context: Context,
        metrics: MethodMetrics,
        tracing: Tracing | None,
        on_end: Callable[[CallReport], None] | None,
    ) -> None:
        self.method = method
        self.context = context
        self._metrics = metrics
        self._on_end = on_end
        self.metadata: dict[str, tuple[str | bytes, ...]] = {}
        for key, value in context.invocation_metadata() or ():
            self.metadata[key] = (*self.metadata.get(key, ()), value)
        self.request_id = _request_id(self.metadata.get(REQUEST_ID_HEADER, ()))
        self.trailing = ((REQUEST_ID_HEADER, self.request_id),)
        self.caller: Caller | None = None
        self.peer = context.peer()
        self.admission: Admission
        self.answer: Answer
        self.memory: CallMemory
        self.task = running_task()
        self._code = "OK"
        self._reason = ""
        self._span = tracing.start(method, self.metadata) if tracing else None
        self._started = time.monotonic()
        metrics.began()

    @property
    def key_id(self) -> str | None:
        """The id of the caller's API key, if it has one."""
        return self.caller.key_id if self.caller else None

    def sent(self) -> None:
        """Count a sent message."""
        self._metrics.sent()

    def end(self) -> None:
        """Count, trace and log the call."""
        seconds = time.monotonic() - self._started
        self._metrics.ended(self._code, self._reason, seconds)
        if self._span is not None:
            self._span.end(self._code, self._reason, self.request_id)
        if self._on_end is not None:
            environment = self.caller.environment.value if self.caller else ""
            self._on_end(
                CallReport(
                    self.method, self._code, self._reason, seconds, self.request_id, environment, self.key_id or ""
                )
            )

    def leave(self, _: object) -> None:
        """Free what the call holds. A done callback of its task, since gRPC keeps an answer until then."""
        self.answer.end()
        self.admission.release()

    def failure(self, error: BaseException) -> ContactsvcError:
        """Return the error for the caller of a call that failed; re-raise what is not for the caller."""
        if isinstance(error, ContactsvcError):
            failure = error
        else:
            task = asyncio.current_task()
            # A CancelledError while this task is not being cancelled comes from a task below. Passed on, it would end
            # the call without a status, and the caller would wait for ever.
            stray = isinstance(error, asyncio.CancelledError) and task is not None and not task.cancelling()
            if not stray and not isinstance(error, Exception):
                # gRPC itself cancels a call at its deadline, often before the sweep does.
                self._code = "DEADLINE_EXCEEDED" if deadlines.remaining() == 0 else "CANCELLED"
                raise error
            _log.error("%s failed, request id %s", self.method, self.request_id, exc_info=error)
            failure = InternalFault(self.request_id)
        self._code, self._reason = code_of(failure).name, failure.reason
        return failure

    async def abort(self, failure: ContactsvcError) -> NoReturn:
        """End the call with the status of a failure."""
        failure = visible_error(failure, self.caller)
        status = status_of(failure)
        trailing = (*self.trailing, *trailing_of(failure, status))
        await self.context.abort(code_of(failure), status.message, trailing)
        raise AssertionError("abort returned")


def _request_id(values: tuple[str | bytes, ...]) -> str:
    """Return the caller's request id if it is fit for a log, or else a new one."""
    if len(values) == 1 and isinstance(values[0], str) and _REQUEST_ID.fullmatch(values[0]):
        return values[0]
    return new_request_id()
