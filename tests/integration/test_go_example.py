"""The Go program in examples/go: its generated code is fresh, and it runs. Needs Go and the modules of go.mod."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from tests.conftest import Api
from tests.integration.example_runs import EXAMPLES, expected, guarded_service, output_of

FOLDER = EXAMPLES / "go"
BUF = str(Path(sys.executable).parent / "buf")
# How Go reports that it cannot get the modules, and that it is too old.
OFFLINE = re.compile(r"dial tcp|no such host|i/o timeout|connection refused|network is unreachable|GOPROXY=off")
TOO_OLD = re.compile(r"requires go >= ")

pytestmark = pytest.mark.skipif(shutil.which("go") is None, reason="Go is not installed")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=FOLDER, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


@pytest.fixture(scope="module")
def modules() -> None:
    """Have the modules of go.sum, from the cache of Go or over the network."""
    downloaded = run("go", "mod", "download")
    if downloaded.returncode != 0:
        if OFFLINE.search(downloaded.stdout):
            pytest.skip("the modules of examples/go are neither in the cache of Go nor to be downloaded")
        if TOO_OLD.search(downloaded.stdout):
            pytest.skip("Go is older than examples/go requires")
        pytest.fail(downloaded.stdout)


@pytest.fixture(scope="module")
def program(modules: None, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Build the program."""
    path = tmp_path_factory.mktemp("go") / "quickstart"
    built = run("go", "build", "-o", str(path), ".")
    assert built.returncode == 0, built.stdout
    return str(path)


@pytest.mark.long
def test_the_generated_code_is_fresh(modules: None, tmp_path: Path) -> None:
    # Go compiles the generators first, which takes a minute on a new machine.
    generated = run(BUF, "generate", "--output", str(tmp_path))

    assert generated.returncode == 0, generated.stdout
    paths = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.go"))
    assert paths == sorted(path.relative_to(FOLDER) for path in FOLDER.rglob("*.pb.go"))
    for path in paths:
        assert (tmp_path / path).read_bytes() == (FOLDER / path).read_bytes(), f"{path} is stale; run `make protos`"


async def test_the_example_prints_what_it_promises(program: str, embedded_api: Api) -> None:
    output = await output_of(program, environ={"CONTACTSVC_TARGET": embedded_api.target})

    assert output == expected("InvalidArgument")


async def test_the_example_calls_a_service_with_tls_and_keys(program: str, embedded_uri: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "tls.pem")
    tls = ("--tls-cert", str(tmp_path / "tls.pem"), "--tls-key", str(tmp_path / "tls.pem"))

    async with guarded_service(embedded_uri, tmp_path / "data", *tls) as environ:
        output = await output_of(program, environ={**environ, "CONTACTSVC_TLS_CA": str(tmp_path / "ca.crt")})

    assert output == expected("InvalidArgument")
