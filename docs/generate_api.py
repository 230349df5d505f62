"""Writes api.md from the comments of the proto; `--check` only compares. Run by `make docs`."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from generated import write_or_check
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

_TARGET = Path(__file__).with_name("api.md")
_PROTOS = Path(__file__).parents[1] / "protos"
_PROTO = "contactsvc/v1/contact_methods.proto"
_INTRODUCTION = f"""\
<!-- Generated from protos/{_PROTO} by `make docs`. -->

# API

Every call, message and field of `contactsvc.v1.ContactMethodsService`, from the comments of
[the proto](../protos/{_PROTO}). JSON names, as grpcurl uses them, are in camel case: `clientId`.
[errors-and-retries.md](errors-and-retries.md) compares the errors of all calls, and names the methods of the clients.
"""

# Numbers of fields in FileDescriptorProto, which the paths of source locations consist of.
_SYNTAX, _MESSAGE, _ENUM, _SERVICE = 12, 4, 5, 6
# In DescriptorProto a field, in EnumDescriptorProto a value, in ServiceDescriptorProto a method.
_MEMBER = 2

_LABEL = re.compile(r"(Atomicity|Order|Retry): (.*)")
_STATUS = re.compile(r"([A-Z_]+ [A-Z_]+): (.*)")


@dataclass(frozen=True)
class _Method:
    name: str
    comment: str
    request: str
    response: str


class _Proto:
    """The proto with its comments.

    Args:
        file: the compiled proto, with the locations of its source.
    """

    def __init__(self, file: FileDescriptorProto) -> None:
        self._comments = {tuple(at.path): at.leading_comments for at in file.source_code_info.location}
        self.conventions = self._comments[_SYNTAX,]
        self.messages = {message.name: (i, message) for i, message in enumerate(file.message_type)}
        self.enums = {enum.name: (i, enum) for i, enum in enumerate(file.enum_type)}
        (service,) = file.service
        self.methods = [
            _Method(
                method.name,
                self._comments[_SERVICE, 0, _MEMBER, i],
                _short(method.input_type),
                _short(method.output_type),
            )
            for i, method in enumerate(service.method)
        ]

    def comment(self, *path: int) -> str:
        """Return the comment before a part of the file, on one line."""
        return " ".join(self._comments[path].split())

    def messages_of(self, names: Iterable[str]) -> set[str]:
        """Return the names of the messages that these messages consist of, themselves included."""
        found: set[str] = set()
        left = list(names)
        while left:
            name = left.pop()
            if name in self.messages and name not in found and not self.messages[name][1].options.map_entry:
                found.add(name)
                left += [_short(field.type_name) for field in self.messages[name][1].field]
        return found


def api() -> str:
    """Return the text of the page."""
    proto = _Proto(_compiled())
    reachable = {method.name: proto.messages_of([method.request, method.response]) for method in proto.methods}
    ends = {name for method in proto.methods for name in (method.request, method.response)}
    lines = [_INTRODUCTION, *_conventions(proto.conventions), "## Calls\n", "| RPC | |", "|---|---|"]
    lines += [f"| {_link(method.name)} | {_summary(method.comment)} |" for method in proto.methods]
    documented: set[str] = set()
    for method in proto.methods:
        others = set().union(*(names for name, names in reachable.items() if name != method.name))
        own = [
            name
            for name in proto.messages
            if name in (method.request, method.response) or (name in reachable[method.name] - others - ends)
        ]
        documented.update(own)
        lines += ["", f"### {method.name}\n", *_method(method.comment)]
        for name in own:
            lines += ["", f"#### {name}\n", *_message(proto, name)]
    lines += ["", "## Messages of several calls"]
    for name in proto.messages:
        if name not in documented:
            lines += ["", f"### {name}\n", *_message(proto, name)]
    lines += ["", "## Enums"]
    for name in proto.enums:
        lines += ["", f"### {name}\n", *_enum(proto, name)]
    return "\n".join(lines) + "\n"


def _compiled() -> FileDescriptorProto:
    with tempfile.NamedTemporaryFile(suffix=".binpb") as descriptors:
        command = [sys.executable, "-m", "grpc_tools.protoc", "-I", str(_PROTOS), "--include_source_info"]
        command += [f"--descriptor_set_out={descriptors.name}", _PROTO]
        subprocess.run(command, check=True)  # noqa: S603 - no argument comes from outside
        (file,) = FileDescriptorSet.FromString(Path(descriptors.name).read_bytes()).file
    return file


def _conventions(comment: str) -> Iterator[str]:
    """Yield the list of conventions, without the indentation that it has in the proto."""
    _, found, conventions = comment.partition("Conventions for every call:\n")
    if not found:
        raise ValueError(f"{_PROTO} does not begin with the conventions for every call")
    yield "## Conventions\n"
    for line in conventions.strip("\n").splitlines():
        yield re.sub(r"^ {3}", "", line).rstrip()
    yield ""


def _method(comment: str) -> Iterator[str]:
    """Yield the paragraphs of a method's comment, its atomicity, order and retry safety, and its errors."""
    labels: list[str] = []
    statuses: list[str] = []
    for entry in _entries(comment):
        if found := _LABEL.fullmatch(entry):
            labels.append(f"- **{found[1]}**: {found[2]}")
        elif found := _STATUS.fullmatch(entry):
            statuses.append(f"| {found[1]} | {_cell(found[2])} |")
        else:
            yield f"{entry}\n"
    yield from labels
    if statuses:
        yield from ("", "| Error | Cause |", "|---|---|", *statuses)


def _entries(comment: str) -> list[str]:
    """Return the paragraphs, labels and errors of a method's comment, each on one line."""
    entries: list[str] = []
    goes_on = False
    for line in map(str.strip, comment.splitlines()):
        if not line or line.startswith("buf:lint"):
            goes_on = False
        elif goes_on and not _LABEL.match(line) and not _STATUS.match(line):
            entries[-1] += f" {line}"
        else:
            entries.append(line)
            goes_on = True
    return entries


def _summary(comment: str) -> str:
    """Return the first sentence of a comment."""
    return _cell(re.split(r"(?<=\.) ", _entries(comment)[0])[0])


def _message(proto: _Proto, name: str) -> Iterator[str]:
    index, message = proto.messages[name]
    yield proto.comment(_MESSAGE, index)
    yield from ("", "| Field | Type | Meaning |", "|---|---|---|")
    for i, field in enumerate(message.field):
        meaning = proto.comment(_MESSAGE, index, _MEMBER, i)
        yield f"| `{field.name}` | {_type(message, field)} | {_cell(meaning)} |"


def _type(message: DescriptorProto, field: FieldDescriptorProto) -> str:
    entries = {entry.name: entry for entry in message.nested_type if entry.options.map_entry}
    named = _short(field.type_name)
    if named in entries:
        key, value = entries[named].field
        return f"map of {_scalar(key)} to {_scalar(value)}"
    text = _scalar(field)
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"repeated {text}"
    if field.proto3_optional:
        return f"optional {text}"
    if field.HasField("oneof_index"):
        return f"{text}, one of `{message.oneof_decl[field.oneof_index].name}`"
    return text


def _scalar(field: FieldDescriptorProto) -> str:
    if not field.type_name:
        return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    if field.type_name.startswith(".google."):
        return field.type_name.removeprefix(".")
    return _link(_short(field.type_name))


def _enum(proto: _Proto, name: str) -> Iterator[str]:
    index, enum = proto.enums[name]
    yield proto.comment(_ENUM, index)
    yield from ("", "| Value | Number | Meaning |", "|---|---|---|")
    yield from _values(proto, index, enum)


def _values(proto: _Proto, index: int, enum: EnumDescriptorProto) -> Iterator[str]:
    for i, value in enumerate(enum.value):
        yield f"| `{value.name}` | {value.number} | {_cell(proto.comment(_ENUM, index, _MEMBER, i))} |"


def _link(name: str) -> str:
    return f"[{name}](#{name.lower()})"


def _short(type_name: str) -> str:
    return type_name.rpartition(".")[2]


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


if __name__ == "__main__":
    write_or_check(_TARGET, api())
