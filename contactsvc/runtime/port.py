"""A port for several processes of ours, and for nobody else."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from contactsvc.config import ListenAddress
from contactsvc.errors import StartupError

# Seconds for the workers of a supervisor that was killed to leave the port: they notice at once.
_PATIENCE = 3.0
_POLL = 0.05
# What says that an address is not of this machine.
_FOREIGN = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


@asynccontextmanager
async def held(listen: ListenAddress) -> AsyncIterator[ListenAddress]:
    """Hold an address until the end of the block, so that processes of this user can listen there with SO_REUSEPORT.

    Nothing listens yet; port 0 is replaced by a free one.

    Raises:
        StartupError: somebody else has the port, also a service that would share it, or the host is not of this
            machine.
    """
    with ExitStack() as sockets:
        port, held_ones, foreign = listen.port, 0, None
        for family, address in await _addresses(listen):
            try:
                holder = sockets.enter_context(await _bound(family, address, port))
            except OSError as error:
                if error.errno not in _FOREIGN:
                    raise _refusal(listen) from error
                # gRPC serves on those addresses of a name that are this machine's.
                foreign = error
            else:
                port = holder.getsockname()[1]
                held_ones += 1
        if not held_ones:
            raise _refusal(listen) from foreign
        yield ListenAddress(listen.host, port)


async def _addresses(listen: ListenAddress) -> list[tuple[socket.AddressFamily, str]]:
    """Return the addresses that gRPC will listen on."""
    if listen.host in {"0.0.0.0", "::"}:  # noqa: S104 - the user has said so, and gRPC takes either for both
        return [(socket.AF_INET6, "::") if socket.has_dualstack_ipv6() else (socket.AF_INET, "0.0.0.0")]  # noqa: S104
    try:
        found = await asyncio.get_running_loop().getaddrinfo(listen.host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise _refusal(listen) from error
    return [(family, str(address[0])) for family, _, _, _, address in found]


async def _bound(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    deadline = asyncio.get_running_loop().time() + _PATIENCE
    while True:
        holder = socket.socket(family)
        try:
            if family == socket.AF_INET6:
                holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address != "::"))
            # Alone first: an address that anybody has, also one who shares it, cannot be bound. What closed connections
            # leave behind does not count.
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind((address, port))
            # Only then open to those who share, and closed to the next one who comes alone, already before any worker
            # listens.
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        except OSError as error:
            holder.close()
            if error.errno != errno.EADDRINUSE or asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(_POLL)
        else:
            return holder


def _refusal(listen: ListenAddress) -> StartupError:
    return StartupError(
        f"cannot listen on {listen}: the port is in use, or the host is not of this machine; name another --listen"
    )
