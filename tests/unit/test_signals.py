"""Stop signals before and after the start of a service."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest

from contactsvc.errors import StartupError
from contactsvc.runtime.signals import Sender, Signals, describe_exit, run_until_early_stop


@pytest.fixture
async def signals() -> AsyncIterator[Signals]:
    yield Signals()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().remove_signal_handler(number)


async def test_a_signal_before_the_start_cancels_the_service(signals: Signals) -> None:
    cancelled = False

    async def service() -> None:
        nonlocal cancelled
        signals.raise_to(1)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled = True
            raise

    assert await run_until_early_stop(service(), signals)
    assert cancelled


async def test_a_service_that_ignores_its_cancellation_is_not_awaited_forever(signals: Signals) -> None:
    end = asyncio.Event()
    tasks: list[asyncio.Task[None] | None] = []

    async def service() -> None:
        tasks.append(asyncio.current_task())
        signals.raise_to(1)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await end.wait()

    assert not await run_until_early_stop(service(), signals, cancel_timeout=0)
    end.set()
    assert tasks[0] is not None
    await tasks[0]


async def test_a_signal_after_the_start_is_left_to_the_service(signals: Signals) -> None:
    senders: list[Sender] = []

    async def service() -> None:
        signals.started = True
        signals.raise_to(2)
        senders.extend([await signals.next(), await signals.next()])

    assert await run_until_early_stop(service(), signals)
    assert senders == [Sender.SUPERVISOR, Sender.SUPERVISOR]


async def test_an_error_of_the_start_is_raised(signals: Signals) -> None:
    async def service() -> None:
        raise StartupError("no database")

    with pytest.raises(StartupError, match="no database"):
        await run_until_early_stop(service(), signals)


async def test_an_error_of_an_interrupted_start_is_logged(signals: Signals, caplog: pytest.LogCaptureFixture) -> None:
    async def service() -> None:
        signals.raise_to(1)
        try:
            await asyncio.Event().wait()
        finally:
            raise StartupError("the port cannot be released")

    assert await run_until_early_stop(service(), signals)
    assert "the interrupted start failed" in caplog.text


def test_the_end_of_a_process_is_described_by_its_signal_or_exit_code() -> None:
    assert (describe_exit(-9), describe_exit(3)) == ("by signal SIGKILL", "with exit code 3")
