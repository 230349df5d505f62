"""Server reflection that includes the comments of the proto.

The descriptors in Python's generated code lack comments, so `grpcurl describe` would show bare names. These come from a
descriptor set with source info.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_reflection.v1alpha import reflection

from contactsvc.v1 import contact_methods_pb2 as pb

_DESCRIPTOR_SET = "contact_methods.binpb"


def enable(server: Any, service_names: tuple[str, ...]) -> None:
    """Serve the descriptors of the services, with the comments of contact_methods.proto."""
    reflection.enable_server_reflection((*service_names, reflection.SERVICE_NAME), server, pool=_CommentedPool())


class _CommentedPool:
    """The part of DescriptorPool that the reflection servicer uses."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()
        raw = resources.files("contactsvc.v1").joinpath(_DESCRIPTOR_SET).read_bytes()
        (self._commented,) = descriptor_pb2.FileDescriptorSet.FromString(raw).file

    def FindFileByName(self, name: str) -> Any:  # noqa: N802 - the pool's name
        return self._with_comments(self._pool.FindFileByName(name))

    def FindFileContainingSymbol(self, symbol: str) -> Any:  # noqa: N802 - the pool's name
        try:
            file = self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            # Python's pool does not index methods: look up the service of the method.
            file = self._pool.FindFileContainingSymbol(symbol.rpartition(".")[0])
        return self._with_comments(file)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def _with_comments(self, file: Any) -> Any:
        return _CommentedFile(file, self._commented) if file.name == pb.DESCRIPTOR.name else file


class _CommentedFile:
    """A FileDescriptor that serializes with comments."""

    def __init__(self, file: Any, commented: descriptor_pb2.FileDescriptorProto) -> None:
        self.name = file.name
        self.dependencies = file.dependencies
        self._commented = commented

    def CopyToProto(self, proto: descriptor_pb2.FileDescriptorProto) -> None:  # noqa: N802 - the descriptor's name
        proto.CopyFrom(self._commented)
