"""The proxies that the environment names, and the hosts that are reached without them."""

from __future__ import annotations

import base64
import ipaddress
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import urllib3.exceptions
import urllib3.util

from ecr_image_replicator.registry.http.addresses import is_loopback_name

if TYPE_CHECKING:
    from ecr_image_replicator.registry.http.urls import Url

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy.

    `str()` is its host and port, without the login.
    """

    url: urllib3.util.Url = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Proxy | None:
        """Parse ``[http[s]://][user:password@]host[:port]``; None for another scheme."""
        named = text if "://" in text else f"http://{text}"
        try:
            url = urllib3.util.parse_url(named)
        except urllib3.exceptions.LocationParseError:
            return None
        scheme = (url.scheme or "").lower()
        if scheme not in _DEFAULT_PORTS or not url.host:
            return None
        return cls(url._replace(scheme=scheme, port=url.port or _DEFAULT_PORTS[scheme]))

    @property
    def is_tls(self) -> bool:
        """Whether the connection to the proxy itself is TLS."""
        return self.url.scheme == "https"

    @property
    def has_login(self) -> bool:
        """Whether a user name is sent to it."""
        return bool(self.url.auth)

    @property
    def headers(self) -> dict[str, str]:
        """Proxy-Authorization (RFC 9110, section 11.7), when there is a login."""
        if not self.url.auth:
            return {}
        login = base64.b64encode(unquote(self.url.auth).encode()).decode()
        return {"Proxy-Authorization": f"Basic {login}"}

    def __str__(self) -> str:
        return f"{self.url.host}:{self.url.port}"


def find_proxy(url: Url) -> Proxy | None:
    """Return the proxy for a URL; None for a direct connection.

    HTTPS_PROXY, HTTP_PROXY and ALL_PROXY are read by the scheme of the URL, in lower case first.
    NO_PROXY lists exceptions; loopback addresses never go through a proxy.
    """
    if is_loopback_name(url.host):
        return None
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    import urllib.request  # noqa: PLC0415 - few use a proxy

    import requests.utils  # noqa: PLC0415 - the same

    named = requests.utils.select_proxy(str(url), urllib.request.getproxies_environment())
    if not named or _is_exempt(url, os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""):
        return None
    return Proxy.parse(named)


def _is_exempt(url: Url, no_proxy: str) -> bool:
    entries = [entry.strip().lower() for entry in no_proxy.replace(" ", ",").split(",")]
    return any(entry and _matches(url, entry) for entry in entries)


def _matches(url: Url, entry: str) -> bool:
    """Return whether an entry of NO_PROXY names a URL's host.

    An entry is ``*``, a host, ``.domain``, ``*.domain``, an address or a CIDR block of addresses,
    each but the last with a port or without.
    """
    if entry == "*":
        return True
    address = _parse_address(url.host)
    if address is not None and (network := _parse_network(entry)) is not None:
        return address in network
    name, colon, port = entry.rpartition(":")
    if colon and port.isdecimal() and (":" not in name or name.startswith("[")):
        if int(port[:6]) != url.port:
            return False
    else:
        name = entry
    name = name.strip("[]").removesuffix(".")
    if address is not None:
        return _parse_address(name) == address
    domain = name.removeprefix("*").removeprefix(".")
    return bool(domain) and (url.host == domain or url.host.endswith(f".{domain}"))


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
