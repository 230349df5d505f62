"""No value keeps the server busy: values are normalized on its only thread, and a regular expression holds the GIL.

Values with a common start are normalized in a process of their own, since nothing inside a process can interrupt a
regular expression. For the same reason the fuzz tests do not send such values.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

# CPU time, so that a busy machine makes no difference: for about 3,200 values and the start of the interpreter.
MAX_CPU_SECONDS = 20

NORMALIZE_ALL = r"""
import resource
import sys
from contactsvc.domain.kinds import ContactMethodType
from contactsvc.domain.normalization import InvalidValue, ValueRules, trim, written_form

start = sys.argv[1]
resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[2]), int(sys.argv[2])))
parts = ["a", "ab.", "a-", "ab-", "1", "1.", " ", "-", "(", "+", ".", "x", "ext", "\u0301", "\uff11", "xn--", "\u200b"]
parts += [",", ";", "#", "~", "@,", "<", "%20", "\u3164", "x1", "ext1", " #", "A", "\u0130", "\u0660", "@ ", "int"]
for part in parts:
    for end in ["", "!", "\u243b", "@", ".", "1", "@example.com", "x1", "#", ">", "ext", "\u200b"]:
        text = (start + part * 512)[: 512 - len(end)] + end
        for value in (text, (start + part * 250)[: 250 - len(end)] + end):
            written_form(value)
            for type_ in ContactMethodType:
                for region in (None, "MX"):
                    try:
                        ValueRules(region).normalize(type_, trim(value))
                    except InvalidValue:
                        pass
"""


@pytest.mark.parametrize(
    "start",
    [
        "",
        "+",
        "+52 55 1234 5678",
        "+52 55 1234 5678 ext",
        "+52 55 1234 5678;ext=",
        "1-800-",
        "2024-",
        "1;phone-context=",
        "1;PHONE-CONTEXT=",
        "tel:1;isub=1;phone-context=",
        "tel:+52-55-1234-5678;isub=",
        "tel:%",
        "a@",
        "a@xn--",
        "a@example.",
        '"',
        "a.",
        "a <",
        "mailto:",
        "\u200b",
        "\u0391\u0301",
    ],
)
def test_no_value_takes_long_to_normalize(start: str) -> None:
    process = subprocess.run([sys.executable, "-c", NORMALIZE_ALL, start, str(MAX_CPU_SECONDS)], check=False)

    assert process.returncode == 0, f"values that start with {start!r} take too long"
