"""No value keeps the server busy: values are normalized on its only thread, and a regular expression holds the GIL.

Values with a common start are normalized in a process of their own, since nothing inside a process can interrupt a
regular expression. For the same reason the fuzz tests do not send such values.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

# CPU time, so that a busy machine makes no difference: for about 1,000 values and the start of the interpreter.
MAX_CPU_SECONDS = 8

NORMALIZE_ALL = """
import resource
import sys
from contactsvc.domain.kinds import ContactMethodType
from contactsvc.domain.normalization import InvalidValue, ValueRules

start = sys.argv[1]
resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[2]), int(sys.argv[2])))
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
def test_no_value_takes_long_to_normalize(start: str) -> None:
    process = subprocess.run([sys.executable, "-c", NORMALIZE_ALL, start, str(MAX_CPU_SECONDS)], check=False)

    assert process.returncode == 0, f"values that start with {start!r} take too long"
