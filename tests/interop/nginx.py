"""nginx on loopback as a reverse proxy of a registry, with common misconfigurations."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from local.ports import ReservedPort
from tests.interop.zuul_registry import wait_for_http
from tests.programs import find_program

_CONFIGURATION: Final = """\
daemon off;
master_process off;
pid {directory}/pid;
error_log {directory}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  server {{
    listen 127.0.0.1:{port}{tls};
    {server}
    location /v2/ {{
      {location}
      proxy_pass http://{upstream};
    }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Misconfiguration:
    """Directives of nginx and whether it terminates TLS."""

    server: str = "client_max_body_size 0;"
    location: str = "proxy_set_header Host $http_host;"
    is_tls: bool = False


MISCONFIGURATIONS: Final = {
    "no X-Forwarded-Proto": Misconfiguration(is_tls=True),
    "plain ProxyPass": Misconfiguration(location="proxy_redirect off;"),
    "HTTP/1.0 to the upstream": Misconfiguration(
        location="proxy_http_version 1.0; proxy_set_header Host $http_host;"
    ),
    "307 on the upload": Misconfiguration(
        server="client_max_body_size 0; location ~ /blobs/uploads/ "
        "{{ return 307 http://{upstream}$request_uri; }}"
    ),
    "1 MiB body limit": Misconfiguration(server=""),
}


class Nginx:
    """A reverse proxy of a registry that runs while the context is open.

    Parameters
    ----------
    upstream
        ``host:port`` of the registry.
    misconfiguration
        Directives of the proxy.
    certificate
        PEM file with the key and the certificates, for TLS.
    """

    def __init__(
        self, upstream: str, misconfiguration: Misconfiguration, certificate: Path | None = None
    ) -> None:
        self._upstream = upstream
        self._misconfiguration = misconfiguration
        self._certificate = certificate
        self._directory = Path()
        self._process: subprocess.Popen[bytes] | None = None
        self._port: ReservedPort | None = None
        self.host = ""

    def __enter__(self) -> Self:
        program = find_program("nginx")
        self._directory = Path(tempfile.mkdtemp(prefix="nginx-"))
        self._port = ReservedPort()
        port = self._port.number
        server = self._misconfiguration.server.format(upstream=self._upstream)
        if self._misconfiguration.is_tls:
            server += f" ssl_certificate {self._certificate};"
            server += f" ssl_certificate_key {self._certificate};"
        configuration = self._directory / "nginx.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                directory=self._directory,
                port=port,
                tls=" ssl" if self._misconfiguration.is_tls else "",
                server=server,
                location=self._misconfiguration.location,
                upstream=self._upstream,
            )
        )
        self._process = subprocess.Popen(
            [program, "-c", configuration, "-p", self._directory],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.host = f"127.0.0.1:{port}"
        try:
            wait_for_http(self.host, self._process, self._directory / "error.log")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._port is not None:
            self._port.close()
        shutil.rmtree(self._directory, ignore_errors=True)
