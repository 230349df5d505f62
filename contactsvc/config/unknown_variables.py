"""Unknown environment variables with the prefix of the settings, such as misspelt ones."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping

ENVIRONMENT_PREFIX = "CONTACTSVC_"

# The clients read these, perhaps in the same environment.
_CLIENT_VARIABLES = frozenset({"TARGET", "API_KEY"})
# The tests and the benchmarks read these.
_TOOL_PREFIXES = ("TEST_", "BENCH_")
# Kubernetes sets these for each service of a namespace, such as `contactsvc` and `contactsvc-admin`.
_KUBERNETES = re.compile(r"(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
_KUBERNETES_PORT = re.compile(r"(\w+_)?PORT")


def describe_unknown(environ: Mapping[str, str], settings: Collection[str]) -> list[str]:
    """Return a sentence for each unknown variable, with the most similar setting; values are not quoted.

    Args:
        environ: the environment variables.
        settings: the variables of the settings.
    """
    known = [name.removeprefix(ENVIRONMENT_PREFIX) for name in settings]
    sentences = []
    for variable, value in environ.items():
        name = variable.removeprefix(ENVIRONMENT_PREFIX)
        if name == variable or name in known or _belongs_to_others(name, value):
            continue
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {ENVIRONMENT_PREFIX}{near[0]}?" if near else "docs/configuration.md lists the settings"
        sentences.append(f"unknown environment variable {variable}; {hint}")
    return sentences


def _belongs_to_others(name: str, value: str) -> bool:
    if name in _CLIENT_VARIABLES or name.startswith(_TOOL_PREFIXES) or _KUBERNETES.fullmatch(name):
        return True
    # CONTACTSVC_PORT=tcp://10.96.0.7:50051 comes from Kubernetes; CONTACTSVC_PORT=50051 is a mistake.
    return _KUBERNETES_PORT.fullmatch(name) is not None and "://" in value
