"""docs/verification.md: its form signs a user up, and its snippets print what the page shows."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import threading
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

from tests.integration.service_process import running_service
from tests.verifier import other_than

PAGE = (Path(__file__).parents[2] / "docs" / "verification.md").read_text()
ADDRESS, PORT = "localhost:50051", "8000"
SERVE = ".serve_forever()"
_BLOCKS = re.findall(r"^```(python|text)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
FORM, MESSAGES, SERVER, PHONE = (text for language, text in _BLOCKS if language == "python")
(SHOWN,) = (text for language, text in _BLOCKS if language == "text")


class Browser:
    """A visitor of the form, with a session of its own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

    def get(self) -> str:
        return self._text(None)

    def post(self, **form: str) -> str:
        return self._text(urllib.parse.urlencode(form).encode())

    def _text(self, body: bytes | None) -> str:
        with self._opener.open(self._url, body, timeout=60) as response:
            return str(response.read().decode())


def visit(url: str, sent: list[tuple[str, str]]) -> None:
    """Sign up, with mistakes on the way."""
    visitor, stranger = Browser(url), Browser(url)
    assert "Your address:" in visitor.get()
    refused = visitor.post(value="nonsense")
    assert "check your input" in refused
    assert 'name="value"' in refused
    assert "sent you a code" in visitor.post(value="juan@example.com")
    ((value, code),) = sent
    assert value == "juan@example.com"
    # To look at the page again sends nothing.
    assert "The code that we have sent you" in visitor.get()
    # The session stands before the check.
    assert "Your address:" in stranger.post(code=code)
    typo = visitor.post(code="12")
    assert "check your input" in typo
    assert 'name="code"' in typo
    assert "That is not the code." in visitor.post(code=other_than(code))
    assert "sent you a code" in visitor.post(code="")
    assert sent == [(value, code)] * 2
    assert visitor.post(code=f" {code[:3]} {code[3:]}") == "<p>Welcome!</p>"

    for _ in range(5):
        assert "That is not the code." in stranger_with_code(stranger, sent)
    assert "Too many wrong codes." in stranger.post(code=sent[-1][1])
    codes = {stranger.post(code="") and sent[-1][1] for _ in range(5)}
    assert len(codes) == 1
    assert "Too many codes were sent." in stranger.post(code="")


def stranger_with_code(stranger: Browser, sent: list[tuple[str, str]]) -> str:
    if sent[-1][0] != "eva@example.com":
        stranger.post(value="eva@example.com")
    return stranger.post(code=other_than(sent[-1][1]))


async def test_the_form_signs_a_user_up(tmp_path: Path) -> None:
    sent: list[tuple[str, str]] = []
    namespace: dict[str, Any] = {}
    async with running_service(tmp_path) as service:
        for block in (FORM, MESSAGES, SERVER.replace(PORT, "0").replace("make_server(", "server = make_server(")):
            code = compile(block.replace(ADDRESS, service.address).replace(SERVE, ""), "docs/verification.md", "exec")
            exec(code, namespace)  # noqa: S102 - our own page
        namespace["send"] = lambda value, code: sent.append((value, code))
        server = namespace["server"]
        # Serves one visitor after the other, as on the page; its log of requests is not of interest.
        with contextlib.redirect_stderr(io.StringIO()):
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            try:
                await asyncio.to_thread(visit, f"http://localhost:{server.server_port}/", sent)
            finally:
                await asyncio.to_thread(server.shutdown)
                thread.join()
                server.server_close()

    assert f"{PORT}, page){SERVE}" in SERVER


async def test_the_snippet_for_a_phone_prints_what_the_page_shows(tmp_path: Path) -> None:
    printed = io.StringIO()

    def asked(question: str) -> str:
        assert question == "Code: "
        return printed.getvalue().split()[-1]

    namespace: dict[str, Any] = {"input": asked}
    async with running_service(tmp_path) as service:
        with contextlib.redirect_stdout(printed):
            for block in (FORM, PHONE):
                code = compile(block.replace(ADDRESS, service.address), "docs/verification.md", "exec")
                await asyncio.to_thread(exec, code, namespace)

    assert re.sub(r"\d{6}$", "CODE", printed.getvalue(), flags=re.MULTILINE) == re.sub(
        r"\d{6}$", "CODE", SHOWN, flags=re.MULTILINE
    )


def test_the_form_has_thirty_lines() -> None:
    lines = [line for line in FORM.splitlines() if line and not line.startswith(("import ", "from "))]

    assert len(lines) <= 35
