"""The warning about normal forms that were written under other rules, in the log of a service."""

from __future__ import annotations

from pathlib import Path

import pytest
from contactsvc_client import AsyncContactsClient

from tests.integration.doctor_patient import run_doctor
from tests.integration.service_process import ended, launch
from tests.operations.workers import linux_only, on_database, two_workers


@linux_only
@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_a_service_of_two_workers_warns_once_until_doctor_has_renewed(
    embedded_uri: str, tmp_path: Path, log_format: str
) -> None:
    flags = on_database(embedded_uri)
    in_mexico = (*flags, "--default-region", "MX", "--log-format", log_format)
    async with two_workers(tmp_path, *in_mexico) as service:
        async with AsyncContactsClient(service.address) as sdk:
            made = await sdk.contact_methods.create(client_id="c", type="phone", value="(551) 234-5678")
        assert await service.stopped() == 0
        first = service.log
    in_america = (*flags, "--default-region", "US", "--log-format", log_format)
    async with two_workers(tmp_path, *in_america) as service:
        assert await service.stopped() == 0
        second = service.log

    code, out, _ = await run_doctor("--fix", "--yes", *flags, "--default-region", "US")
    process = await launch(*in_america)
    assert process.stdout is not None
    await process.stdout.readline()
    process.terminate()
    _, _, third = await ended(process)

    assert made.normalized_value == "+525512345678"
    assert not [line for line in first if "doctor" in line]
    (warning,) = (line for line in second if "doctor" in line)
    assert "default region MX" in warning
    assert "default region US" in warning
    assert "`contactsvc doctor --fix`" in warning
    assert code == 0, out
    assert "doctor" not in third
