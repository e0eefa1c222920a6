"""Which addresses may be fetched from, decided at the moment of connecting.

A feed's address comes from a stranger, or from a redirect that a stranger chose, and must never reach this machine, its network or a
cloud's metadata service. The name is resolved here, every address is judged, and the connection goes to the judged address itself:
resolving a second time would let the answer change in between (DNS rebinding). Knows nothing of HTTP beyond the socket.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

import httpcore2

from .base import FetchSettings
from .errors import AddressRefused, NotReachable, TimedOut

Address = IPv4Address | IPv6Address

EVERYWHERE = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))
_NAT64 = IPv6Network("64:ff9b::/96")
#: Upper half of an interface's identifier that says that the lower half is an IPv4 address (RFC 5214).
_ISATAP = (0x00005EFE, 0x02005EFE)
_COMPATIBLE = IPv6Network("::/96")
_GLOBAL_UNICAST = IPv6Network("2000::/3")
#: What `is_global` of Python 3.11 lets pass although nobody publishes from there.
_REFUSED: tuple[IPv4Network | IPv6Network, ...] = (
    IPv4Network("0.0.0.0/8"),
    IPv4Network("100.64.0.0/10"),  # carrier-grade NAT; one cloud keeps its metadata service here
    IPv4Network("168.63.129.16/32"),  # a public-looking address that answers only inside one cloud
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.31.196.0/24"),  # AS112, which swallows what it gets; 192.175.48.0/24 and 2620:4f:8000::/48 as well
    IPv4Network("192.52.193.0/24"),  # relays of automatic multicast tunnels
    IPv4Network("192.88.99.0/24"),  # the retired 6to4 relays
    IPv4Network("192.175.48.0/24"),
    IPv4Network("240.0.0.0/4"),
    IPv6Network("2001::/23"),
    IPv6Network("2001:db8::/32"),
    IPv6Network("2620:4f:8000::/48"),
    IPv6Network("3fff::/20"),
    IPv6Network("5f00::/16"),
)


def embedded_addresses(address: Address) -> tuple[Address, ...]:
    """The IPv4 addresses that an IPv6 address really leads to; the address itself when it hides none."""
    if isinstance(address, IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo  # server and client: both must be acceptable
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 0xFFFF):
        return (IPv4Address(int(address) & 0xFFFFFFFF),)
    if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
        return (address, IPv4Address(int(address) & 0xFFFFFFFF))
    return (address,)


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet, seen through every form that hides another address."""
    return all(_is_public_plain(inner) for inner in embedded_addresses(address))


def _is_public_plain(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    if any(address.version == network.version and address in network for network in _REFUSED):
        return False
    return address.is_global and not address.is_multicast


@dataclass(frozen=True, slots=True)
class AddressGuard:
    """Resolves a host and returns only the addresses that may be connected to."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    hosts: frozenset[str] = frozenset()

    @classmethod
    def of(cls, settings: FetchSettings) -> AddressGuard:
        return cls(settings.allowed_networks(), settings.allowed_hosts())

    def allows(self, host: str, address: Address) -> bool:
        if host.lower().rstrip(".") in self.hosts or is_public(address):
            return True
        inner = embedded_addresses(address)
        return all(any(one.version == network.version and one in network for network in self.networks) for one in inner)

    def judge_written(self, host: str) -> None:
        """Refuses a host that is a private address however it is spelt, without asking any resolver; for fetches through a proxy."""
        bare = host.rstrip(".").lower()
        written = _written_address(bare)
        private_name = bare == "localhost" or bare.endswith((".localhost", ".local", ".internal"))
        if (written is not None and not self.allows(host, written)) or (written is None and private_name and bare not in self.hosts):
            raise AddressRefused(host, f"this leads to {written or host}, which is not a public address")

    def resolve(self, host: str, port: int, *, timeout_s: float) -> tuple[str, ...]:
        """The addresses of `host` that may be connected to, in the resolver's order; refused when there is none."""
        found = _look_up(host, port, timeout_s=timeout_s)
        allowed = tuple(str(address) for address in found if self.allows(host, address))
        if not allowed:
            shown = ", ".join(str(address) for address in found[:3])
            raise AddressRefused(host, f"this leads to {shown}, which is not a public address")
        return allowed


def _written_address(host: str) -> Address | None:
    """The address that a host name is a spelling of: dotted, decimal, octal, hexadecimal or short; None for a real name."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeError):
        return None


def _look_up(host: str, port: int, *, timeout_s: float) -> list[Address]:
    """Ask the system's resolver, in a thread of its own because it keeps no time limit that we could set."""
    with contextlib.suppress(ValueError):
        return [ip_address(host)]  # nothing to ask: written as an address in its plain form
    answer: list[list[Address] | OSError | UnicodeError] = []

    def ask() -> None:
        try:
            rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answer.append(list(dict.fromkeys(ip_address(str(row[4][0])) for row in rows)))
        except (OSError, UnicodeError) as err:  # UnicodeError: a name that IDNA cannot write
            answer.append(err)

    thread = threading.Thread(target=ask, name=f"resolve-{host[:40]}", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if not answer:
        raise TimedOut(host, f"the name was not resolved within {timeout_s:.0f} s")
    result = answer[0]
    if isinstance(result, (OSError, UnicodeError)):
        raise NotReachable(host, f"the name could not be resolved ({_resolver_words(result)})") from result
    return result


def _resolver_words(err: OSError | UnicodeError) -> str:
    return str(err.strerror).lower() if isinstance(err, OSError) and err.strerror else "it is not a valid host name"


class GuardedBackend(httpcore2.NetworkBackend):
    """Opens TCP connections for the HTTP pool: resolve, judge, connect to the judged address, keep the overall deadline.

    The pool still believes it talks to the host by name, so the Host header, the TLS server name and the certificate check stay those of
    the name.
    """

    def __init__(self, guard: AddressGuard, deadline: float) -> None:
        self._guard = guard
        self._deadline = deadline
        self._sockets = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        failure: Exception | None = None
        for address in self._guard.resolve(host, port, timeout_s=_within(self._deadline, timeout)):
            try:
                stream = self._sockets.connect_tcp(address, port, _within(self._deadline, timeout), local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as err:
                failure = err  # the next address of the same name may answer: IPv6 is often announced and not routed
                continue
            return _DeadlineStream(stream, self._deadline)
        raise failure or httpcore2.ConnectError("no address to connect to")

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None
    ) -> httpcore2.NetworkStream:
        raise httpcore2.ConnectError("sources are never read over unix sockets")


class _DeadlineStream(httpcore2.NetworkStream):
    """A stream on which no single read may outlive the whole fetch: a server that drips one byte a second is cut off as well."""

    def __init__(self, stream: httpcore2.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _within(self._deadline, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _within(self._deadline, timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, _within(self._deadline, timeout))
        return _DeadlineStream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _within(deadline: float, timeout_s: float | None) -> float:
    """The smaller of a step's own limit and what is left of the whole; ends the fetch when nothing is left."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore2.ReadTimeout("the whole fetch took too long")
    return left if timeout_s is None else min(timeout_s, left)
