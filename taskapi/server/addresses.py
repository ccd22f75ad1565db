"""Addresses of the server and its clients where one IPv6 socket serves IPv4, too (dual stack)."""

from __future__ import annotations

import socket

MAPPED_PREFIX = "::ffff:"
"""Beginning of an IPv4-mapped IPv6 address, such as `::ffff:203.0.113.9` (RFC 4291, section 2.5.5.2)."""


def listen_addresses(port: int) -> list[str]:
    """Return the addresses for gunicorn's `bind`: one IPv6 socket, which also serves IPv4; an IPv4 socket without IPv6.

    Returns both where the kernel lets IPv6 sockets serve IPv6 only (the sysctl `net.ipv6.bindv6only`).
    """
    ipv4, ipv6 = f"0.0.0.0:{port}", f"[::]:{port}"
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
            serves_ipv6_only = probe.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    except OSError:
        return [ipv4]
    return [ipv4, ipv6] if serves_ipv6_only else [ipv6]


def unmapped(address: str) -> str:
    """Return the IPv4 address of an IPv4-mapped IPv6 address such as `::ffff:203.0.113.9`; other text unchanged."""
    return address.removeprefix(MAPPED_PREFIX) if "." in address else address


def unmapped_peer(address: object) -> object:
    """Return (IPv4 address, port) of a client with an IPv4-mapped IPv6 address; any other socket address unchanged."""
    if isinstance(address, tuple) and str(address[0]).startswith(MAPPED_PREFIX):
        return unmapped(address[0]), address[1]
    return address
