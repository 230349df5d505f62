"""The admin port against callers that are silent, slow, or speak something else."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
from prometheus_client import CollectorRegistry, Gauge, Metric
from prometheus_client.registry import Collector

from contactsvc.config import ListenAddress
from contactsvc.errors import StartupError
from contactsvc.telemetry.admin_server import AdminServer
from contactsvc.telemetry.descriptors import usage

GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
# Longer than any step takes on a busy machine.
TIMEOUT_SECONDS = 60
LOOPBACK = ListenAddress("127.0.0.1", 0)


def connected(address: ListenAddress) -> socket.socket:
    return socket.create_connection((address.host, address.port), timeout=TIMEOUT_SECONDS)


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65_536), b""))


def answer_to(address: ListenAddress, request: bytes) -> bytes:
    with connected(address) as connection:
        connection.sendall(request)
        return read_all(connection)


def closed(connection: socket.socket) -> bool:
    """Wait for the other side to close the connection, without an answer."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Gauge("something", "Something.", registry=registry).set(7)
    return registry


@pytest.fixture
def address(registry: CollectorRegistry) -> Iterator[ListenAddress]:
    with AdminServer(registry, LOOPBACK) as address:
        yield address


def test_a_scrape_is_answered_while_200_silent_connections_are_open(address: ListenAddress) -> None:
    threads = threading.active_count()
    with ExitStack() as stack:
        silent = [stack.enter_context(connected(address)) for _ in range(200)]

        answer = answer_to(address, GET)

        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\nsomething 7.0\n" in answer
        assert threading.active_count() == threads
        # Room was made by closing those that were silent for longest.
        assert closed(silent[0])


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
def test_silent_connections_hold_a_bounded_number_of_descriptors(address: ListenAddress) -> None:
    before = usage()
    with ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(connected(address))
        # Connections are accepted in order: now all of them are.
        answer_to(address, GET)
        after = usage()

    assert before is not None
    assert after is not None
    # This process has both ends: 200 of the callers, and 32 of the server, with some that it is closing.
    assert after.open - before.open < 200 + 40


@pytest.mark.parametrize("request_", [b"\r\n\r\n", b"\x00\xff\x16 x\r\n\r\n", b"GET / SPDY/3\r\n\r\n"])
def test_nonsense_is_refused(address: ListenAddress, request_: bytes) -> None:
    assert answer_to(address, request_).startswith(b"HTTP/1.1 400 ")


def test_an_endless_head_is_cut_off(address: ListenAddress) -> None:
    with connected(address) as connection:
        with suppress(ConnectionError):
            connection.sendall(b"x" * 20_000_000)
        assert closed(connection)


def test_other_methods_are_refused(address: ListenAddress) -> None:
    assert answer_to(address, GET.replace(b"GET", b"POST")).startswith(b"HTTP/1.1 405 ")


def test_a_failing_collector_fails_its_scrape_only(registry: CollectorRegistry, address: ListenAddress) -> None:
    class Failing(Collector):
        def collect(self) -> Iterator[Metric]:
            raise ValueError

    failing = Failing()
    registry.register(failing)
    assert answer_to(address, GET).startswith(b"HTTP/1.1 500 ")

    registry.unregister(failing)
    assert answer_to(address, GET).startswith(b"HTTP/1.1 200 ")


def test_a_silent_connection_and_an_unread_answer_are_given_up(registry: CollectorRegistry) -> None:
    size = 20_000_000
    Gauge("large", "x" * size, registry=registry)
    with (
        AdminServer(registry, LOOPBACK, read_timeout=0.05, write_timeout=0) as address,
        connected(address) as silent,
        connected(address) as unread,
    ):
        unread.sendall(GET)

        assert closed(silent)
        # What the kernel had taken arrives; the rest was dropped.
        received = b""
        with suppress(ConnectionError):
            received = read_all(unread)
        assert len(received) < size


def test_the_end_closes_the_port_and_its_connections(registry: CollectorRegistry) -> None:
    with AdminServer(registry, LOOPBACK) as address:
        open_connection = connected(address)
        # Connections are accepted in order: now the one above is.
        answer_to(address, GET)

    with open_connection:
        assert closed(open_connection)
    with pytest.raises(ConnectionError):
        connected(address)


async def test_a_scrape_does_not_wait_for_the_event_loop_of_the_service(address: ListenAddress) -> None:
    await asyncio.sleep(0)
    # Blocks the loop.
    assert answer_to(address, GET).startswith(b"HTTP/1.1 200 ")


def test_a_port_in_use_is_named(registry: CollectorRegistry, address: ListenAddress) -> None:
    with pytest.raises(StartupError, match=r"cannot serve metrics on .*--admin-listen"), AdminServer(registry, address):
        pass
