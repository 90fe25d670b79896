"""A registry on a loopback port."""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path
from typing import Self

from local.registry.application import RegistryApplication
from local.registry.authentication import Authentication, NoAuthentication
from local.registry.context import RegistryContext
from local.registry.policy import Policy, SpecificationPolicy
from local.registry.quirks import Application, Quirks, QuirkyApplication
from local.registry.redirects import BlobRedirects, SignedBlobStorage
from local.registry.store import Store
from local.running import Running
from local.web import AccessLogEntry, LoopbackServer


class RegistryServer(Running):
    """An OCI registry (distribution specification 1.1) served from `start` (or `with`) to `close`.

    Port 0 is a free port. `tls` enables HTTPS. With `referrers_api=False` it responds with 404
    there, as registries before 1.1 do. `blob_redirects` redirects GETs of blobs to signed URLs
    (307, see `BlobRedirects`). `absolute_locations` writes Location and Link with scheme and
    host. Content is stored in `directory`, by default a temporary one which `close` removes.
    `quirks` are those of real registries.

    Raises
    ------
    OSError
        The port is in use.
    """

    def __init__(  # noqa: PLR0913 - the settings of a server
        self,
        port: int = 0,
        *,
        tls: ssl.SSLContext | None = None,
        authentication: Authentication | None = None,
        policy: Policy | None = None,
        referrers_api: bool = True,
        blob_redirects: BlobRedirects | None = None,
        absolute_locations: bool = False,
        directory: Path | None = None,
        quirks: Quirks | None = None,
    ) -> None:
        with contextlib.ExitStack() as opened:
            self.store = Store(directory)
            opened.callback(self.store.close)
            self._storage_server: LoopbackServer | None = None
            storage: SignedBlobStorage | None = None
            storage_origin = ""
            if blob_redirects is not None:
                elsewhere = blob_redirects != "path"
                storage = SignedBlobStorage(self.store, rejects_authorization=elsewhere)
                if elsewhere:
                    self._storage_server = LoopbackServer(storage.handle, tls=tls)
                    opened.callback(self._storage_server.close)
                    scheme = (
                        ""
                        if blob_redirects == "network-path"
                        else f"{self._storage_server.scheme}:"
                    )
                    storage_origin = f"{scheme}//{self._storage_server.host}"
            context = RegistryContext(
                store=self.store,
                policy=policy or SpecificationPolicy(),
                referrers_api=referrers_api,
                absolute_locations=absolute_locations,
                blob_storage=storage,
                storage_origin=storage_origin,
                requires_foreign_layers=quirks is not None and quirks.requires_foreign_layers,
            )
            application: Application = RegistryApplication(
                context, authentication or NoAuthentication()
            )
            if quirks is not None:
                application = QuirkyApplication(application, quirks, self.store)
            self._server = LoopbackServer(application, port=port, tls=tls)
            opened.callback(self._server.close)
            self._opened = opened.pop_all()
        self.port = self._server.port
        self.host = self._server.host
        self.url = self._server.url

    @property
    def requests(self) -> tuple[AccessLogEntry, ...]:
        """A snapshot of the registry's requests, in the order of their responses."""
        return self._server.requests

    @property
    def storage_requests(self) -> tuple[AccessLogEntry, ...]:
        """A snapshot of the requests to the storage that blobs are redirected to."""
        return self._storage_server.requests if self._storage_server else ()

    @property
    def accepted_connections(self) -> int:
        """The number of connections to the registry so far."""
        return self._server.accepted_connections

    def end_connections(self) -> None:
        """Shut down the open connections, as a server does after its keep-alive timeout."""
        self._server.end_connections()

    def clear_requests(self) -> None:
        """Clear the log of requests."""
        self._server.access_log.clear()
        if self._storage_server is not None:
            self._storage_server.access_log.clear()

    def start(self) -> Self:
        """Start accepting connections."""
        if self._storage_server is not None:
            self._storage_server.start()
        self._server.start()
        return self

    def close(self) -> None:
        """Stop serving and remove the temporary directory, if there is one. Can be called twice."""
        self._opened.close()
