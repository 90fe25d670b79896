"""The proxies that the environment names."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import urllib3.exceptions
import urllib3.util

from ecr_image_replicator.errors import RequestError
from ecr_image_replicator.no_proxy import is_exempt, names_proxies

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
    def parse(cls, text: str, variable: str) -> Proxy:
        """Parse an environment variable's ``[http[s]://][user:password@]host[:port]``.

        Raises
        ------
        RequestError
            The text is something else. The message names the variable and does not quote the text,
            which may contain a login.
        """
        named = text if "://" in text else f"http://{text}"
        try:
            url = urllib3.util.parse_url(named)
        except urllib3.exceptions.LocationParseError:
            url = urllib3.util.Url()
        scheme = (url.scheme or "").lower()
        if scheme.startswith("socks"):
            raise RequestError(f"invalid {variable}: SOCKS proxies are not supported")
        if scheme not in _DEFAULT_PORTS or not url.host:
            raise RequestError(f"invalid {variable}: the value is not http://host:port")
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

    Raises
    ------
    RequestError
        The variable does not name an HTTP proxy.
    """
    if not names_proxies(os.environ) or is_exempt(url.host, url.port):
        return None
    import urllib.request  # noqa: PLC0415 - few use a proxy

    import requests.utils  # noqa: PLC0415 - the same

    proxies = urllib.request.getproxies_environment()
    named = requests.utils.select_proxy(str(url), proxies)
    variable = f"{url.scheme if url.scheme in proxies else 'all'}_proxy".upper()
    return Proxy.parse(named, variable) if named else None
