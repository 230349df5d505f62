"""No value keeps the server busy: reading one runs in its only thread, and a regular expression holds even the GIL.

Each kind of value is read in a process of its own, since nothing inside a process could break off a reading that does
not end. For the same reason the fuzzers do not send such values.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

# All readings of one kind together, with the start of the interpreter, on a busy machine.
PATIENCE = 8.0

READ_ALL = """
import sys
from contactsvc.domain.kinds import ContactMethodType
from contactsvc.domain.normalization import InvalidValue, ValueRules

start = sys.argv[1]
for part in ["a", "ab.", "a-", "ab-", "1", "1.", " ", "-", "(", "+", ".", "x", "ext", "\\u0301", "\\uff11", "xn--"]:
    for end in ["", "!", "\\u243b", "@", ".", "1", "@example.com", "x1"]:
        text = (start + part * 512)[: 512 - len(end)] + end
        for value in (text, (start + part * 250)[: 250 - len(end)] + end):
            for type_ in ContactMethodType:
                for region in (None, "MX"):
                    try:
                        ValueRules(region).normalize(type_, value.strip())
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
        "1;phone-context=",
        "1;PHONE-CONTEXT=",
        "tel:1;isub=1;phone-context=",
        "tel:+52-55-1234-5678;isub=",
        "a@",
        "a@xn--",
        "a@example.",
        '"',
        "a.",
    ],
)
def test_a_value_is_read_in_no_time(start: str) -> None:
    try:
        subprocess.run([sys.executable, "-c", READ_ALL, start], check=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        pytest.fail(f"some values that begin with {start!r} take too long")
