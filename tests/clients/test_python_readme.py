"""The README of the Python client: its snippet runs."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.conftest import Api

README = Path(__file__).parents[2] / "clients" / "python" / "README.md"


async def test_the_snippet_prints_the_contacts_of_the_client(
    embedded_api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)

    # In a thread: the blocking client would stop the event loop.
    await asyncio.to_thread(exec, snippet.replace("localhost:50051", embedded_api.target), {})

    assert capsys.readouterr().out == "email: juan@example.com\n"
