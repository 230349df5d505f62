"""Reserves a listening port for several processes of one service."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from contactsvc.config import ListenAddress
from contactsvc.errors import StartupError

# Workers of a killed supervisor notice its end at once and release the port.
_RELEASE_TIMEOUT_SECONDS = 3.0
_POLL_SECONDS = 0.05
# Errors of an address that does not belong to this machine.
_FOREIGN_ERRORS = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


@asynccontextmanager
async def held(
    listen: ListenAddress, *, release_timeout: float = _RELEASE_TIMEOUT_SECONDS
) -> AsyncIterator[ListenAddress]:
    """Reserve an address inside the block; processes of this user can listen there with SO_REUSEPORT.

    Opens no listening socket itself. Replaces port 0 with a free port.

    Args:
        listen: the address.
        release_timeout: seconds to wait for a port that is in use.

    Raises:
        StartupError: the port is in use, even by a process that would share it, or the host is not on this machine.
    """
    with ExitStack() as sockets:
        port, reserved, foreign = listen.port, 0, None
        for family, address in await _addresses(listen):
            try:
                holder = sockets.enter_context(await _bound(family, address, port, release_timeout))
            except OSError as error:
                if error.errno not in _FOREIGN_ERRORS:
                    raise cannot_listen(listen) from error
                # gRPC listens on those addresses of a host name that belong to this machine.
                foreign = error
            else:
                port = holder.getsockname()[1]
                reserved += 1
        if not reserved:
            raise cannot_listen(listen) from foreign
        yield ListenAddress(listen.host, port)


async def _addresses(listen: ListenAddress) -> list[tuple[socket.AddressFamily, str]]:
    """Return the addresses that gRPC listens on for a host."""
    if listen.host in {"0.0.0.0", "::"}:  # noqa: S104 - requested by the user; gRPC reads either as both
        return [(socket.AF_INET6, "::") if socket.has_dualstack_ipv6() else (socket.AF_INET, "0.0.0.0")]  # noqa: S104
    try:
        found = await asyncio.get_running_loop().getaddrinfo(listen.host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise cannot_listen(listen) from error
    return [(family, str(address[0])) for family, _, _, _, address in found]


async def _bound(family: socket.AddressFamily, address: str, port: int, timeout: float) -> socket.socket:
    deadline = asyncio.get_running_loop().time() + timeout
    while True:
        holder = socket.socket(family)
        try:
            if family == socket.AF_INET6:
                holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address != "::"))
            # Bind exclusively first: that fails while any process has the address, even one that shares it. REUSEADDR
            # ignores closed connections in TIME_WAIT.
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind((address, port))
            # Then allow sharing. An exclusive bind of another process fails from now on, before any worker listens.
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        except OSError as error:
            holder.close()
            if error.errno != errno.EADDRINUSE or asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(_POLL_SECONDS)
        else:
            return holder


def cannot_listen(listen: ListenAddress) -> StartupError:
    """Return the error of an address that cannot be bound."""
    return StartupError(
        f"cannot listen on {listen}: the port is in use, or the host is not on this machine; choose another --listen"
    )
