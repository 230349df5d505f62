"""Lists as spreadsheets save them, and files that are broken."""

from __future__ import annotations

import codecs
import csv
import io
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contactsvc.domain.kinds import ContactMethodType
from contactsvc.transfer.csv_rows import CsvSource
from contactsvc.transfer.sources import MAX_LINE_BYTES, Row, UnreadableFile
from tests.unit.transfer_records import NOON, RULES

HEADER = "client_id,type,value\n"
LIST = "client_id,type,value\nc1,other,Zoë\nc2,other,b\n"


def values_of(content: bytes) -> list[str]:
    rows = [numbered.row for numbered in CsvSource(io.BytesIO(content)).rows(RULES, NOON)]
    return [row.record.value.text for row in rows if isinstance(row, Row)]


def notes_of(content: bytes) -> list[str]:
    return CsvSource(io.BytesIO(content)).notes


def refusal_of(content: bytes) -> str:
    with pytest.raises(UnreadableFile) as raised:
        values_of(content)
    assert "secret" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("mark", "codec", "title"),
    [
        (codecs.BOM_UTF8, "utf-8", "UTF-8 with a byte order mark"),
        (codecs.BOM_UTF8 * 2, "utf-8", "UTF-8 with a byte order mark"),
        (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16 (little-endian)"),
        (codecs.BOM_UTF16_LE * 2, "utf-16-le", "UTF-16 (little-endian)"),
        (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16 (big-endian)"),
        (b"", "utf-16-le", "UTF-16 (little-endian)"),
        (b"", "utf-16-be", "UTF-16 (big-endian)"),
    ],
)
def test_an_encoding_is_recognized_and_reported(mark: bytes, codec: str, title: str) -> None:
    content = mark + LIST.encode(codec)

    assert values_of(content) == ["Zoë", "b"]
    assert notes_of(content) == [f"the list is read as {title}, separated by commas"]


@pytest.mark.parametrize(("separator", "title"), [(";", "semicolons"), ("\t", "tabs")])
def test_a_separator_is_recognized_and_reported(separator: str, title: str) -> None:
    content = LIST.replace(",", separator).replace("Zoë", '"a, b"').encode()

    assert values_of(content) == ["a, b", "b"]
    assert notes_of(content) == [f"the list is read as UTF-8, separated by {title}"]


def test_plain_utf_8_with_commas_needs_no_note() -> None:
    assert notes_of(LIST.encode()) == []


@pytest.mark.parametrize("line", ["sep=;", "SEP=;", '"sep=;"', "\ufeffsep=;"])
def test_the_separator_line_of_excel_is_understood(line: str) -> None:
    content = f"{line}\r\n" + LIST.replace(",", ";")

    assert values_of(content.encode()) == ["Zoë", "b"]
    assert "not UTF-8: line 5" in refusal_of(content.encode() + b"c3;other;\xff\r\n")


@given(
    rows=st.lists(
        st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=30).filter(
            lambda text: text.strip("\u200b \u00a0") and text[0].isalnum() and text[-1].isalnum()
        ),
        max_size=5,
    ),
    separator=st.sampled_from([",", ";", "\t"]),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_a_list_reads_alike_however_it_was_saved(
    rows: list[str], separator: str, end: str, encoding: str, quoting: int
) -> None:
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=separator, lineterminator=end, quoting=quoting)  # type: ignore[arg-type]
    writer.writerow([" Client_ID", "TYPE ", "Value", ""])
    for text in rows:
        writer.writerow(["c1", ContactMethodType.OTHER, text, ""])

    assert values_of(file.getvalue().encode(encoding)) == rows


@given(st.binary(max_size=200), st.integers(0, 60))
def test_any_bytes_are_read_or_refused(noise: bytes, place: int) -> None:
    content = LIST.encode()

    for broken in (noise, content[:place] + noise + content[place:], content[:place]):
        with suppress(UnreadableFile):
            list(CsvSource(io.BytesIO(broken)).rows(RULES, NOON))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"\n\n", "missing column client_id, type, value"),
        (codecs.BOM_UTF8, "the file is empty"),
        (codecs.BOM_UTF16_LE, "the file is empty"),
        (codecs.BOM_UTF32_LE + b"c\0\0\0", "UTF-32"),
        (b"sep=a\nclient_id,type,value\n", "declares a separator that cannot be one"),
        (HEADER.encode() + b'c1,other,"secret\nc2,other,secret\n', "lines 2 to 3 is not valid CSV"),
        (HEADER.encode() + b'c1,other,"secret"s\n', "line 2 is not valid CSV: unbalanced quotes"),
        (HEADER.encode() + b"c1,other,secret\0\n", "line 2 contains a NUL character"),
        (HEADER.encode() + b"c1,other,a\nc1,other\nc1,other,secret,d\n", "the first row, which has 3: lines 3, 4"),
        (HEADER.encode() + b"c1,other\n" * 30, "which has 3: lines 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13,"),
        (HEADER.encode() + b"c1,other\n" * 30, "20, 21 and 10 more"),
        (HEADER.encode() + b"c1,other,\xe9\nc1,other,a\nc1,other,\xff\n", "not UTF-8: lines 2, 4; save"),
        (b"client_id,type,value,\xe9\n", "line 1 is not UTF-8; save the file as UTF-8"),
        (HEADER.encode() + b"c1,other,\xe9\nc1,other\n", "the first row, which has 3: line 3"),
        (LIST.encode("utf-16-le")[:-1], "line 3 is not UTF-16 (little-endian): a character is cut"),
        ((HEADER + "c1,other,").encode("utf-16-be") + b"\xd8\x00\x00a", "line 2 is not UTF-16 (big-endian)"),
        (HEADER.encode() + b"c1,other," + b"x" * MAX_LINE_BYTES + b"\n", "line 2 is longer than 1,048,576 bytes"),
        ((HEADER + "c1,other," + "x" * MAX_LINE_BYTES).encode("utf-16"), "line 2 is longer than 1,048,576 characters"),
        (LIST.replace("\n", "\r").encode(), "LF or CRLF line endings"),
        (LIST.replace("\n", "\r").encode("utf-16"), "LF or CRLF line endings"),
        (b"client_id,Client_ID ,type,value\n", "columns 1, 2 have the same name: client_id"),
        (b"client_id,type,value,metadata.secret,METADATA.secret\n", "columns 4, 5 have the same name: metadata.KEY"),
        (b"client_id,type,value,metadata.secret key\n", "column 4: a metadata key must have"),
        (b"client_id;type,value\n", "missing column client_id, type"),
    ],
)  # fmt: skip
def test_a_broken_file_is_refused_with_its_line(content: bytes, reason: str) -> None:
    assert reason in refusal_of(content)


def test_a_header_alone_is_an_empty_list() -> None:
    assert values_of(HEADER.encode()) == []
    assert values_of(HEADER.strip().encode("utf-16")) == []


def test_the_keys_of_metadata_columns_keep_their_case() -> None:
    (numbered,) = CsvSource(io.BytesIO(b"Client ID,TYPE,vaLue,MetaData.crmId\nc1,other,a,7\n")).rows(RULES, NOON)

    assert isinstance(numbered.row, Row)
    assert numbered.row.record.metadata == {"crmId": "7"}


def test_a_row_has_the_number_of_its_first_line() -> None:
    rows = CsvSource(io.BytesIO(HEADER.encode() + b'\nc1,other,a\nc1,"other\n",b\nc1,other,c\n')).rows(RULES, NOON)

    assert [numbered.line for numbered in rows] == [3, 4, 6]
