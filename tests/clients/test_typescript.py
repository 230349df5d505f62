"""The TypeScript client: its own tests, and the freshness of its generated code. They need Node and npm."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import trustme

from contactsvc import __version__
from tests.conftest import Api
from tests.integration.example_runs import EXAMPLES, expected, output_of

PACKAGE = Path(__file__).parents[2] / "clients" / "typescript"
# The client runs on any Node 20; its tests use import.meta.dirname.
MIN_NODE = (20, 11)
# Of one test file. Far above what it takes: a machine may be busy.
TIMEOUT_SECONDS = 900


def missing_tools() -> str | None:
    """Return why the tests cannot run here, or None."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return "the TypeScript client is tested with Node and npm, which are not installed"
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.match(r"v(\d+)\.(\d+)\.", version)
    if found is None or (int(found[1]), int(found[2])) < MIN_NODE:
        least = ".".join(map(str, MIN_NODE))
        return f"the TypeScript client is tested with Node {least} or newer; this is {version.strip()}"
    return None


reason = missing_tools()
pytestmark = pytest.mark.skipif(reason is not None, reason=reason or "")


def run(*command: str, environ: Mapping[str, str] | None = None) -> str:
    """Run a command in the package; return its output, or fail with it."""
    result = subprocess.run(
        command,
        cwd=PACKAGE,
        env={**os.environ, **(environ or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    if result.returncode != 0:
        pytest.fail(f"{' '.join(command)} ended with {result.returncode}:\n{result.stdout}", pytrace=False)
    return result.stdout


@pytest.fixture(scope="module")
def installed() -> None:
    """Install the packages of the lock file, unless they are there."""
    marker = PACKAGE / "node_modules" / ".package-lock.json"
    if not marker.exists() or marker.stat().st_mtime < (PACKAGE / "package-lock.json").stat().st_mtime:
        run("npm", "ci", "--no-progress")
        marker.touch()


@pytest.fixture(scope="module")
def built(installed: None) -> None:
    """Compile the package, its tests and the snippets of the guide; strict type errors fail here."""
    run("npm", "run", "build:test")


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Make the certificates that the tests of TLS use, and name them and this interpreter."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    for name, certificate in (
        ("server", authority.issue_cert("127.0.0.1")),
        ("client", authority.issue_cert("client.example")),
    ):
        certificate.private_key_pem.write_to_path(folder / f"{name}.key")
        for pem in certificate.cert_chain_pems:
            pem.write_to_path(folder / f"{name}.pem", append=True)
    return {"CONTACTSVC_TEST_PYTHON": sys.executable, "CONTACTSVC_TEST_CERTIFICATES": str(folder)}


def test_its_version_is_that_of_the_service() -> None:
    assert json.loads((PACKAGE / "package.json").read_text())["version"] == __version__


def test_the_generated_code_is_fresh(installed: None, tmp_path: Path) -> None:
    run(str(Path(sys.executable).parent / "buf"), "generate", "--output", str(tmp_path))

    generated, committed = tmp_path / "src" / "gen", PACKAGE / "src" / "gen"
    paths = sorted(path.relative_to(generated) for path in generated.rglob("*.ts"))
    assert paths == sorted(path.relative_to(committed) for path in committed.rglob("*.ts"))
    for path in paths:
        assert (generated / path).read_bytes() == (committed / path).read_bytes(), f"{path} is stale: make protos"


@pytest.mark.parametrize("name", sorted(path.name for path in PACKAGE.glob("test/*.test.ts")))
def test_typescript(name: str, built: None, environ: Mapping[str, str]) -> None:
    script = PACKAGE / "test" / "build" / name.replace(".ts", ".js")

    output = run("node", "--test", "--test-reporter=tap", str(script), environ=environ)

    passed = re.search(r"^# pass (\d+)$", output, re.MULTILINE)
    assert passed is not None
    assert int(passed[1]) > 0
    assert re.search(r"^# skipped 0$", output, re.MULTILINE), output


async def test_the_example_prints_what_it_promises(built: None, embedded_api: Api, tmp_path: Path) -> None:
    # As `npm install` would lay it out, without a second download.
    shutil.copytree(
        EXAMPLES / "typescript", tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules")
    )
    (tmp_path / "node_modules" / "@types").mkdir(parents=True)
    for name, folder in (
        ("contactsvc-client", PACKAGE),
        ("typescript", PACKAGE / "node_modules" / "typescript"),
        ("@types/node", PACKAGE / "node_modules" / "@types" / "node"),
    ):
        (tmp_path / "node_modules" / name).symlink_to(folder)
    await output_of("node", str(tmp_path / "node_modules/typescript/bin/tsc"), "-p", str(tmp_path), environ={})

    output = await output_of(
        "node", str(tmp_path / "build" / "quickstart.js"), environ={"CONTACTSVC_TARGET": embedded_api.target}
    )

    assert output == expected("INVALID_ARGUMENT")
