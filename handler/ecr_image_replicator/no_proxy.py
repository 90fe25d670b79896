"""Hosts that are reached without a proxy: loopback addresses, and those of NO_PROXY."""

from __future__ import annotations

import ipaddress
import os
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
#: Translates the whole of IPv4 (RFC 6052, section 2.1).
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def names_proxies(variables: Iterable[str]) -> bool:
    """Return whether one of the environment's variables may name a proxy."""
    return any(name.lower().endswith("_proxy") for name in variables)


def is_exempt(host: str, port: int) -> bool:
    """Return whether a host of a URL is reached without a proxy."""
    if is_loopback_name(host):
        return True
    no_proxy = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    entries = [entry.strip().lower() for entry in no_proxy.replace(" ", ",").split(",")]
    return any(entry and _matches(host, port, entry) for entry in entries)


@lru_cache(maxsize=256)
def is_loopback_name(host: str) -> bool:
    """Return whether a URL's host can only be this machine, by its name alone."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return embedded_ipv4(ipaddress.ip_address(host)).is_loopback
    except ValueError:
        return False


def embedded_ipv4(ip: _Address) -> _Address:
    """Return the IPv4 address that an IPv6 address stands for, else the address itself."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    translated = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None
    return ip.ipv4_mapped or ip.sixtofour or translated or ip


def _matches(host: str, port: int, entry: str) -> bool:
    """Return whether an entry of NO_PROXY names a host.

    An entry is ``*``, a host, ``.domain``, ``*.domain``, an address or a CIDR block of addresses,
    each but the last with a port or without.
    """
    if entry == "*":
        return True
    address = _parse_address(host)
    if address is not None and (network := _parse_network(entry)) is not None:
        return address in network
    name, colon, named_port = entry.rpartition(":")
    if colon and named_port.isdecimal() and (":" not in name or name.startswith("[")):
        if int(named_port[:6]) != port:
            return False
    else:
        name = entry
    name = name.strip("[]").removesuffix(".")
    if address is not None:
        return _parse_address(name) == address
    domain = name.removeprefix("*").removeprefix(".")
    return bool(domain) and (host == domain or host.endswith(f".{domain}"))


def _parse_network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    if "/" not in entry:
        return None
    try:
        return ipaddress.ip_network(entry.replace("[", "").replace("]", ""), strict=False)
    except ValueError:
        return None


def _parse_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
