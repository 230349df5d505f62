"""No value keeps the server busy: values are read in its only thread, and a regular expression holds even the GIL.

Each kind of value is read in a process of its own, since nothing inside a process could interrupt a reading that does
not end. For the same reason the fuzzers do not send such values.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

# For all readings of one kind together, with the start of the interpreter, on a busy machine.
_TIMEOUT_SECONDS = 30.0

READ_ALL = r"""
import sys
from contactsvc.domain.kinds import ContactMethodType
from contactsvc.domain.normalization import InvalidValue, ValueRules, trim, written_form

start = sys.argv[1]
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
def test_every_value_is_read_in_bounded_time(start: str) -> None:
    try:
        subprocess.run([sys.executable, "-c", READ_ALL, start], check=True, timeout=_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        pytest.fail(f"some values that begin with {start!r} take too long")
