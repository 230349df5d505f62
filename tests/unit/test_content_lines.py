from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contactsvc.transfer.content_lines import ContentLine, content_line, read_content_lines
from contactsvc.transfer.sources import UnreadableFile

_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=200)


def read(content: bytes, wanted: tuple[str, ...] = ("TEL", "EMAIL", "X-ABLABEL")) -> list[ContentLine]:
    return list(read_content_lines(io.BytesIO(content), wanted))


def one(content: str) -> ContentLine:
    (line,) = read(content.encode())
    return line


@given(_TEXTS)
def test_a_value_survives_escapes_and_folding(text: str) -> None:
    written = content_line("TEL", text, types=["work", "fax"], group="item1")

    (line,) = read(written)

    assert (line.text, set(line.types), line.group) == (text, {"work", "fax"}, "item1")
    assert all(len(physical) <= 75 for physical in written.split(b"\r\n"))
    assert written.decode()


@pytest.mark.parametrize(
    ("written", "types"),
    [
        ("TEL:1", set()),
        ("tel;type=Work:1", {"work"}),
        ("TEL;TYPE=CELL,VOICE:1", {"cell", "voice"}),
        ("TEL;type=CELL;type=VOICE;type=pref:1", {"cell", "voice", "pref"}),
        ('TEL;TYPE="voice,home":1', {"voice", "home"}),
        ("TEL;HOME;FAX:1", {"home", "fax"}),
        ('TEL;X-NOTE="a;b:c,TYPE=x";TYPE=home:1', {"home"}),
        ("TEL;TYPE=:1", {""}),
        ("TEL ;TYPE=home:1", {"home"}),
    ],
)
def test_types_are_read_in_every_notation(written: str, types: set[str]) -> None:
    line = one(written)

    assert (line.name, set(line.types), line.value) == ("TEL", types, "1")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (r"a\, b\; c\\d", "a, b; c\\d"),
        (r"a\nb\Nc", "a\nb\nc"),
        ("a:b;c,d", "a:b;c,d"),
        ("tel:+1-650-253-0000;ext=12", "tel:+1-650-253-0000;ext=12"),
        ("ends with \\", "ends with \\"),
        ("", ""),
    ],
)
def test_escapes_are_read(value: str, text: str) -> None:
    assert one(f"TEL:{value}").text == text


def test_folded_lines_are_joined_within_a_character() -> None:
    content = "é".encode()

    (line,) = read(b"EMAIL:a\r\n b" + content[:1] + b"\n\t" + content[1:] + b"\r\n  c\r\n")

    assert (line.number, line.text) == (1, "abé c")


@pytest.mark.parametrize(
    ("charset", "encoded"), [("", "caf=C3=A9 =\n=3D1"), (";CHARSET=ISO-8859-1", "caf=E9 =\r\n=3D1")]
)
def test_quoted_printable_is_decoded_and_joined(charset: str, encoded: str) -> None:
    lines = read(f"X-ABLabel;ENCODING=QUOTED-PRINTABLE{charset}:{encoded}\nTEL:1\n".encode())

    assert [line.text for line in lines] == ["café =1", "1"]


def test_properties_that_are_not_wanted_are_skipped_whatever_they_hold() -> None:
    photo = b"PHOTO;ENCODING=b:" + b"\r\n ".join([b"A" * 74] * 2_000) + b"\r\n"
    long = b"LOGO:" + b"B" * 300_000 + b"\r\n"
    note = b"NOTE;ENCODING=QUOTED-PRINTABLE:not a property=\r\nnor this=\r\nnor this\r\n"
    latin = b"FN:\xe9\r\n"

    lines = read(photo + long + note + latin + b"\r\nTEL:1\r\n")

    assert [(line.number, line.name, line.value) for line in lines] == [
        (1, "PHOTO", ""),
        (2_001, "LOGO", ""),
        (2_002, "NOTE", ""),
        (2_005, "FN", ""),
        (2_007, "TEL", "1"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"just text\n", "line 1 is not a vCard property"),
        (b"TEL:1\nAAAA\n", "line 2 is not a vCard property"),
        (b"TEL;TYPE=home\n", "line 1: TEL is not a valid vCard property"),
        (b'TEL;TYPE="home:1\n', "line 1: TEL is not a valid vCard property"),
        (b"TEL:\xff\n", "line 1 is not UTF-8"),
        (b"\xff\xfeB\0E\0", "line 1 is not a vCard property"),
        (b"TEL:1\rTEL:2\r", "bare carriage return"),
        (b"TEL:" + b"1" * 70_000, "line 1: TEL is longer than 65,536 bytes"),
        (b"TEL:1\r\n" + b" 1\r\n" * 70_000, "line 1: TEL is longer than 65,536 bytes"),
        (b"TEL;ENCODING=QUOTED-PRINTABLE:=FF\n", "line 1 is not quoted-printable text of its CHARSET"),
        (b"TEL;QUOTED-PRINTABLE;CHARSET=zip:1\n", "line 1 is not quoted-printable text of its CHARSET"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(content: bytes, message: str) -> None:
    with pytest.raises(UnreadableFile, match=message):
        read(content)


@pytest.mark.parametrize(
    "line",
    [
        b"TEL;TYPE=a" + b",b" * 30_000,
        b"TEL" + b";A=,," * 12_000,
        b"TEL;A=" + b'"b"' * 20_000 + b'"',
        b"TEL" + b";" * 60_000,
        b"TEL;A" + b" " * 60_000,
        b"T" * 65_000,
    ],
)
def test_a_malformed_line_takes_no_longer_than_another(line: bytes) -> None:
    # Exponential or quadratic time would end in the time limit of the test run.
    with pytest.raises(UnreadableFile):
        read(line)
