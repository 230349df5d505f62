"""Generate the stubs from the proto: `make protos`.

protoc names Python packages after folders of protos. The stubs are a package of the client's distribution instead, so
that no package belongs to two distributions; only their imports differ from what protoc writes. The proto keeps its
name, which reflection reports.

With `--check`, write nothing and fail if a committed file differs from what would be generated.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_PROTO = "contactsvc/v1/contact_methods.proto"
_TARGET = Path(__file__).parent / "contactsvc_stubs" / "v1"

# What protoc writes -> what the stubs have. Each occurs in one file or more.
_REPLACEMENTS = {
    "from contactsvc.v1 import": "from contactsvc_stubs.v1 import",
    "'contactsvc.v1.contact_methods_pb2'": "'contactsvc_stubs.v1.contact_methods_pb2'",
    "in contactsvc/v1/contact_methods_pb2_grpc.py": "in contactsvc_stubs/v1/contact_methods_pb2_grpc.py",
}


def stubs() -> dict[Path, str]:
    """Return the text of each generated file."""
    with tempfile.TemporaryDirectory() as folder:
        outputs = [f"--{kind}_out={folder}" for kind in ("python", "pyi", "grpc_python")]
        command = [sys.executable, "-m", "grpc_tools.protoc", "-I", "protos", *outputs, _PROTO]
        # The project's own proto and its pinned compiler.
        subprocess.run(command, cwd=_ROOT, check=True)  # noqa: S603
        written = {path.name: path.read_text() for path in sorted(Path(folder, _PROTO).parent.iterdir())}
    for before, after in _REPLACEMENTS.items():
        if not any(before in text for text in written.values()):
            raise SystemExit(f"protoc wrote no {before!r}; update {Path(__file__).name}")
        written = {name: text.replace(before, after) for name, text in written.items()}
    return {_TARGET / name: text for name, text in written.items()}


def main() -> None:
    """Write the files, or check them."""
    generated = stubs()
    if "--check" not in sys.argv:
        for path, text in generated.items():
            path.write_text(text)
        return
    stale = [path.name for path, text in generated.items() if not path.exists() or path.read_text() != text]
    if stale:
        raise SystemExit(f"stale files in {_TARGET}: {', '.join(stale)}; run `make protos`")


if __name__ == "__main__":
    main()
