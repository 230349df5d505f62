"""Several workers on one port, as processes, and what becomes of them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from contactsvc_client import AsyncContactsClient, ConflictError
from contactsvc_client import TimeoutError as SdkTimeoutError
from prometheus_client.parser import text_string_to_metric_families

from contactsvc.config import ListenAddress
from contactsvc.runtime import port
from contactsvc.runtime.supervisor import WorkerPool, _line_of
from tests.integration.service_process import ended, launch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is one worker")

# Seconds: longer than anything here may take on a busy machine.
PATIENCE = 60
# A connection of its own for each client, so that the kernel spreads them.
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]


class Service:
    """A service of two workers, and what it has logged."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.address = ""
        self.log: list[str] = []
        self._reading = asyncio.create_task(self._read())
        self._more = asyncio.Condition()

    async def _read(self) -> None:
        assert self.process.stderr is not None
        while line := (await self.process.stderr.readline()).decode():
            async with self._more:
                self.log.append(line)
                self._more.notify_all()

    async def logs(self, text: str) -> str:
        """Wait for a line with this text."""
        async with asyncio.timeout(PATIENCE), self._more:
            await self._more.wait_for(lambda: any(text in line for line in self.log))
        return next(line for line in self.log if text in line)

    async def code(self) -> int:
        """Wait for its end, and return the exit code."""
        async with asyncio.timeout(PATIENCE):
            await self._reading
            return await self.process.wait()

    async def stopped(self) -> int:
        """Stop it, and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await self.code()

    @property
    def workers(self) -> set[int]:
        """The process ids of its workers."""
        return children_of(self.process.pid, "worker")

    async def metrics(self) -> dict[tuple[str, str], float]:
        """Return the sum of all samples of one name and worker."""
        url = re.findall(r"http://\S+/metrics", await self.logs("/metrics"))[0]
        text = (await asyncio.to_thread(lambda: urllib.request.urlopen(url).read())).decode()  # noqa: S310
        sums: dict[tuple[str, str], float] = {}
        for family in text_string_to_metric_families(text):
            assert text.count(f"# TYPE {family.name} ") + text.count(f"# TYPE {family.name}_total ") == 1
            for sample in family.samples:
                key = (sample.name, sample.labels.get("worker", sample.labels.get("state", "")))
                sums[key] = sums.get(key, 0) + sample.value
        return sums


def commands(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def children_of(pid: int, command: str) -> set[int]:
    children = set()
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        try:
            if command in commands(int(child)):
                children.add(int(child))
        except OSError:
            continue
    return children


def alive(pid: int) -> bool:
    try:
        # Not a zombie that nobody has asked for.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what is waited for is another process's doing
            await asyncio.sleep(0.02)


@asynccontextmanager
async def two_workers(data_dir: Path, *flags: str, **environ: str) -> AsyncIterator[Service]:
    service = Service(await launch("--workers", "2", "--data-dir", str(data_dir), *flags, **environ))
    assert service.process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            line = (await service.process.stdout.readline()).decode()
        assert line.startswith("contactsvc listening on "), service.log
        service.address = line.split()[-1]
        yield service
        rest = await service.process.stdout.read() if service.process.returncode is not None else b""
        assert rest == b""
    finally:
        if service.process.returncode is None:
            service.process.kill()
            await service.code()


@asynccontextmanager
async def clients(address: str, count: int = 8, **options: Any) -> AsyncIterator[list[AsyncContactsClient]]:
    """Connect several times; that all connections go to one worker has a chance of 1 in 2 to the power of `count`."""
    options = {"channel_options": OWN_CONNECTION, **options}
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(AsyncContactsClient(address, **options)) for _ in range(count)]


async def refused(*flags: str, **environ: str) -> tuple[int, str, str]:
    """Start a service that ends by itself; return its exit code, output and errors."""
    process = await launch(*flags, **environ)
    try:
        async with asyncio.timeout(PATIENCE):
            return await ended(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class Writers:
    """Callers that create records one after the other, until told to stop."""

    def __init__(self, sdks: list[AsyncContactsClient]) -> None:
        self.acknowledged: list[str] = []
        self._stop = False
        self._tasks = [asyncio.create_task(self._write(sdk, number)) for number, sdk in enumerate(sdks)]

    async def _write(self, sdk: AsyncContactsClient, number: int) -> None:
        count = 0
        while not self._stop:
            made = await sdk.contact_methods.create(client_id="c", type="other", value=f"{number}/{count}")
            self.acknowledged.append(made.id)
            count += 1

    async def have_written(self, count: int) -> None:
        """Wait until there are so many records more."""
        wanted = len(self.acknowledged) + count
        await until(lambda: len(self.acknowledged) >= wanted or any(task.done() for task in self._tasks))

    async def stop(self) -> None:
        """Wait for the last calls; raise what a call has failed with."""
        self._stop = True
        await asyncio.gather(*self._tasks)


async def test_calls_reach_both_workers_and_one_endpoint_tells_of_both(tmp_path: Path) -> None:
    async with two_workers(tmp_path, "--admin-listen", "127.0.0.1:0", "--log-format", "json") as service:
        async with clients(service.address, 24) as sdks:
            for sdk in sdks:
                await sdk.contact_methods.list(limit=1)
        metrics = await service.metrics()
        code = await service.stopped()

    assert code == 0
    handled = [metrics["grpc_server_handled_total", worker] for worker in ("0", "1")]
    assert sum(handled) == 24
    assert all(handled)
    assert metrics["contactsvc_database_up", "0"] == metrics["contactsvc_database_up", "1"] == 1
    assert metrics["contactsvc_workers", "serving"] == 2
    assert metrics["contactsvc_workers", "starting"] == metrics["contactsvc_workers", "waiting"] == 0
    assert metrics["contactsvc_worker_restarts_total", "0"] == 0
    calls = [line for line in map(json.loads, service.log) if line.get("method") == "ListContactMethods"]
    assert [sum(line["worker"] == worker for line in calls) for worker in (0, 1)] == handled


async def test_the_death_of_a_worker_under_load_costs_no_caller_anything(tmp_path: Path) -> None:
    async with (
        two_workers(tmp_path, "--admin-listen", "127.0.0.1:0") as service,
        clients(service.address) as sdks,
    ):
        before = service.workers
        writers = Writers(sdks)
        await writers.have_written(50)
        os.kill(min(before), signal.SIGKILL)
        await writers.have_written(50)
        await service.logs("ended by signal SIGKILL; the log above may say more; starting it again in")
        await until(lambda: len(service.workers) == 2)
        while (await service.metrics())["contactsvc_workers", "serving"] < 2:
            pass
        await writers.have_written(50)
        await writers.stop()
        found = [record.id async for record in sdks[0].contact_methods.iterate()]
        metrics = await service.metrics()
        after = service.workers
        code = await service.stopped()

    assert code == 0
    assert sorted(found) == sorted(writers.acknowledged)
    assert len(before) == len(after) == 2
    assert len(before & after) == 1
    assert metrics["contactsvc_worker_restarts_total", "0"] + metrics["contactsvc_worker_restarts_total", "1"] == 1


async def test_a_stop_under_load_fails_no_call(tmp_path: Path) -> None:
    once = [*OWN_CONNECTION, ("grpc.enable_retries", 0)]
    async with (
        two_workers(tmp_path, "--drain-wait", "5") as service,
        clients(service.address, channel_options=once) as sdks,
    ):
        workers = service.workers
        writers = Writers(sdks)
        await writers.have_written(50)
        service.process.send_signal(signal.SIGTERM)
        await service.logs("not serving any more for health")
        await writers.have_written(50)
        await writers.stop()
        code = await service.code()

    assert code == 0
    assert len(writers.acknowledged) >= 100
    assert not any(map(alive, workers))
    assert [sum(f"stopped worker={worker}" in line for line in service.log) for worker in (0, 1)] == [1, 1]
    assert "contactsvc.runtime.supervisor: stopped" in service.log[-1]


async def test_a_second_signal_stops_all_at_once(tmp_path: Path) -> None:
    async with two_workers(tmp_path, "--drain-wait", "3600") as service:
        service.process.send_signal(signal.SIGTERM)
        await service.logs("worker=0")
        await service.logs("not serving any more for health")
        code = await service.stopped()

    assert code == 0
    assert any("contactsvc.runtime.supervisor: second signal" in line for line in service.log)
    # Nobody has sent them one.
    assert not any("contactsvc.runtime.server: second signal" in line for line in service.log)
    assert sum("contactsvc.runtime.server: the supervisor says so" in line for line in service.log) == 2


async def test_writes_that_are_left_by_a_worker_are_told_and_are_no_clean_stop(tmp_path: Path) -> None:
    async with two_workers(tmp_path, "--drain-grace", "0.1") as service:
        (database,) = children_of(service.process.pid, "contactsvc.runtime.embedded")
        async with AsyncContactsClient(service.address, timeout=0.2) as sdk:
            await sdk.contact_methods.create(client_id="c", type="other", value="before", timeout=10)
            os.kill(database, signal.SIGSTOP)
            try:
                with pytest.raises(SdkTimeoutError):
                    await sdk.contact_methods.create(client_id="c", type="other", value="left")
                service.process.send_signal(signal.SIGTERM)
                await service.logs("write has not ended")
            finally:
                os.kill(database, signal.SIGCONT)
        code = await service.code()

    assert code == 1
    assert re.search(r"^contactsvc: worker [01] stopped while 1 write has not ended", service.log[-1])


async def test_the_death_of_the_supervisor_leaves_no_orphan_and_a_restart_works_at_once(tmp_path: Path) -> None:
    async with two_workers(tmp_path, "--drain-wait", "3600") as service:
        address = service.address
        async with AsyncContactsClient(address) as sdk:
            made = await sdk.contact_methods.create(client_id="c", type="other", value="kept")
        family = service.workers | children_of(service.process.pid, "contactsvc.runtime.embedded")
        assert len(family) == 3
        service.process.kill()
        async with two_workers(tmp_path, "--listen", address) as second, AsyncContactsClient(second.address) as sdk:
            assert second.address == address
            assert (await sdk.contact_methods.retrieve(made.id)).value == "kept"
            await until(lambda: not any(map(alive, family)))
            # Of the supervisor's end by the end of the line, and not by a signal.
            assert any("the supervisor has gone" in line for line in service.log)


async def test_the_death_of_the_embedded_database_ends_the_service(tmp_path: Path) -> None:
    async with two_workers(tmp_path) as service:
        workers = service.workers
        (database,) = children_of(service.process.pid, "contactsvc.runtime.embedded")
        os.kill(database, signal.SIGKILL)
        code = await service.code()

    assert code == 1
    assert "contactsvc: the embedded database ended by signal SIGKILL" in service.log[-1]
    assert not any(map(alive, workers))


def serving_tls(folder: Path) -> tuple[Path, trustme.LeafCert, tuple[str, ...]]:
    """Return the file of a certificate, the certificate, and the flags to serve it."""
    key, certificate = folder / "tls.key", folder / "tls.crt"
    made = trustme.CA().issue_cert("localhost")
    made.private_key_pem.write_to_path(key)
    made.cert_chain_pems[0].write_to_path(certificate)
    return certificate, made, ("--tls-cert", str(certificate), "--tls-key", str(key))


async def test_workers_that_die_again_and_again_end_the_service_with_the_reason(tmp_path: Path) -> None:
    certificate, _, flags = serving_tls(tmp_path)
    async with two_workers(tmp_path / "data", *flags) as service:
        certificate.write_text("no certificate")
        for worker in service.workers:
            os.kill(worker, signal.SIGKILL)
        code = await service.code()

    assert code == 2
    assert service.log[-1].startswith("contactsvc: ")
    assert str(certificate) in service.log[-1]
    assert sum(line.startswith("contactsvc: ") for line in service.log) == 1


async def test_while_one_worker_serves_the_service_goes_on(tmp_path: Path) -> None:
    certificate, made, flags = serving_tls(tmp_path)
    async with two_workers(tmp_path / "data", *flags) as service:
        certificate.write_text("no certificate")
        dead, living = sorted(service.workers)
        os.kill(dead, signal.SIGKILL)
        await until(lambda: sum("starting it again" in line for line in service.log) > 6)
        assert alive(living)
        made.cert_chain_pems[0].write_to_path(certificate)
        await until(lambda: len(service.workers) == 2)
        code = await service.stopped()

    assert code == 0


async def test_what_keeps_one_process_from_starting_keeps_workers_as_well(tmp_path: Path) -> None:
    uri = "mongodb://user:hunter2@127.0.0.1:1/?serverSelectionTimeoutMS=100"
    gone = await refused("--workers", "2", CONTACTSVC_MONGODB_URI=uri)
    open_flags = ("--listen", "0.0.0.0:0", "--dangerously-serve-without-tls")
    no_keys = await refused("--workers", "2", "--data-dir", str(tmp_path), *open_flags)

    assert (gone[0], gone[1]) == (1, "")
    assert gone[2].splitlines() == [
        "contactsvc: the database does not answer; check that it runs and that mongodb_uri names it"
    ]
    assert (no_keys[0], no_keys[1]) == (2, "")
    assert no_keys[2].splitlines()[-1].startswith("contactsvc: --listen 0.0.0.0:")
    assert no_keys[2].count("contactsvc: --listen") == 1


async def test_no_password_shows_in_the_list_of_processes(tmp_path: Path) -> None:
    uri = "mongodb://user:hunter2@127.0.0.1:1/?serverSelectionTimeoutMS=60000"
    process = await launch("--workers", "2", CONTACTSVC_MONGODB_URI=uri)
    await until(lambda: len(children_of(process.pid, "worker")) == 2)
    shown = [commands(pid) for pid in children_of(process.pid, "worker")]
    process.send_signal(signal.SIGTERM)
    code, output, _ = await ended(process)

    assert (code, output) == (0, "")
    assert len(shown) == 2
    assert "hunter2" not in str(shown)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_second_service_on_the_port_is_refused(tmp_path: Path, workers: str) -> None:
    async with two_workers(tmp_path / "a") as service:
        flags = ("--data-dir", str(tmp_path / "b"), "--listen", service.address, "--workers", workers)
        code, output, log = await refused(*flags)

    assert (code, output) == (1, "")
    assert f"contactsvc: cannot listen on {service.address}" in log


async def test_promotions_of_one_slot_by_two_workers_leave_one_primary_and_never_none(tmp_path: Path) -> None:
    async with two_workers(tmp_path) as service, clients(service.address) as sdks:
        create = sdks[0].contact_methods.create
        records = [
            await create(client_id="c", type="email", value=f"a{number}@example.com", is_primary=number == 0)
            for number in range(8)
        ]
        finished = False

        async def promote(sdk: AsyncContactsClient, number: int) -> None:
            # One that loses too many races is told to try again.
            with suppress(ConflictError):
                await sdk.contact_methods.update(records[number % 8].id, is_primary=True, timeout=PATIENCE)

        async def watch(sdk: AsyncContactsClient) -> int:
            looks = 0
            while not finished:
                assert await sdk.contact_methods.get_primary("c", "email") is not None
                looks += 1
            return looks

        watcher = asyncio.create_task(watch(sdks[-1]))
        await asyncio.gather(*(promote(sdk, number) for number in range(6) for sdk in sdks))
        finished = True
        assert await watcher > 0
        primaries = await sdks[0].contact_methods.list(filter={"client_id": "c", "is_primary": True})

    assert len(primaries.data) == 1


async def test_a_worker_that_hangs_is_killed_and_another_one_takes_its_place(
    embedded_uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with port.held(ListenAddress("127.0.0.1", 0)) as address:
        # The same as of a service, with less patience.
        workers = WorkerPool(2, {"listen": str(address), "mongodb_uri": embedded_uri}, hangs=1)
        given_up = workers.start()
        try:
            async with asyncio.timeout(PATIENCE):
                await workers.all_serve()
            before = children_of(os.getpid(), "worker")
            os.kill(min(before), signal.SIGSTOP)
            await until(lambda: sum(worker.restarts for worker in workers.all) == 1)
            await until(lambda: all(worker.state == "serving" for worker in workers.all))
            after = children_of(os.getpid(), "worker")
            async with AsyncContactsClient(str(address)) as sdk:
                await sdk.contact_methods.list(limit=1)
            workers.tell_to_stop(1)
            await workers.end(PATIENCE)
        finally:
            await workers.kill()

    assert before - after == {min(before)}
    assert "has not answered for 1 s: killing it" in caplog.text
    assert not given_up.done()
    assert not any(map(alive, after))


@pytest.mark.parametrize("host", ["localhost", "[::]", "0.0.0.0"])  # noqa: S104
async def test_workers_share_every_kind_of_address(tmp_path: Path, host: str) -> None:
    flags = ("--listen", f"{host}:0", "--dangerously-serve-without-tls", "--dangerously-serve-without-keys")
    async with two_workers(tmp_path / "a", *flags) as service:
        port_number = service.address.rpartition(":")[2]
        async with clients(f"127.0.0.1:{port_number}") as sdks:
            for sdk in sdks:
                await sdk.contact_methods.list(limit=1)
        more = ("--data-dir", str(tmp_path / "b"), "--workers", "2", "--listen", f"127.0.0.1:{port_number}")
        second = await refused(*more)

    assert second[0] == 1
    assert "cannot listen" in second[2]


async def test_a_stranger_who_would_share_the_port_keeps_the_service_from_it(tmp_path: Path) -> None:
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        flags = ("--workers", "2", "--listen", f"127.0.0.1:{stranger.getsockname()[1]}", "--data-dir", str(tmp_path))
        code, output, log = await refused(*flags)

    assert (code, output) == (1, "")
    assert "cannot listen" in log


async def test_a_worker_that_an_operator_stops_drains_and_another_one_takes_its_place(tmp_path: Path) -> None:
    async with two_workers(tmp_path) as service, clients(service.address) as sdks:
        before = service.workers
        writers = Writers(sdks)
        await writers.have_written(20)
        os.kill(min(before), signal.SIGTERM)
        await service.logs("was stopped; starting it again in")
        await until(lambda: len(service.workers) == 2)
        await writers.have_written(20)
        await writers.stop()
        after = service.workers
        code = await service.stopped()

    assert code == 0
    assert before - after == {min(before)}


async def test_nobody_starts_a_worker_by_hand() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "contactsvc", "worker"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    code, output, errors = await ended(process)

    assert (code, output) == (2, "")
    assert "only `contactsvc serve` starts workers" in errors


async def test_what_a_worker_could_not_finish_saying_is_no_message() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(b'{"serving": true}\n{"answer": 1, "fami')
    reader.feed_eof()

    assert [await _line_of(reader), await _line_of(reader)] == [b'{"serving": true}\n', b""]


async def test_workers_that_have_not_begun_stop_at_once(embedded_uri: str) -> None:
    async with port.held(ListenAddress("127.0.0.1", 0)) as address:
        workers = WorkerPool(2, {"listen": str(address), "mongodb_uri": embedded_uri})
        workers.start()
        try:
            # WorkerProcess 1 waits for worker 0, which is held.
            await until(lambda: workers.all[1].state == "waiting")
            (first, _) = sorted(children_of(os.getpid(), "worker"))
            os.kill(first, signal.SIGSTOP)
            workers.tell_to_stop(2)
            await until(lambda: workers.all[1].state == "starting" or workers._lives[1].done())

            assert workers._lives[1].cancelled() or workers._lives[1].done()
            assert not workers._lives[0].done()
        finally:
            await workers.kill()
