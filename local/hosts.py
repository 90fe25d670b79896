"""One server for many host names."""

from __future__ import annotations

from collections.abc import Callable

from local.web import Application, Request, Response

HostRule = Callable[[str], Application | None]
"""Returns the application for a host name (lower case, no port), None for other hosts."""


class Hosts:
    """Applications by host name; the first matching rule wins."""

    def __init__(self) -> None:
        self._rules: list[HostRule] = []

    def add(self, rule: HostRule) -> None:
        """Append a rule."""
        self._rules.append(rule)

    def add_names(self, application: Application, *names: str) -> None:
        """Serve an application at some host names."""
        self.add(lambda host: application if host in names else None)

    def find(self, host: str) -> Application | None:
        """Return the application for a host, or None."""
        return next((found for rule in self._rules if (found := rule(host)) is not None), None)

    def __call__(self, request: Request) -> Response:
        """Serve a request by its Host; 421 for an unknown one (RFC 9110, section 15.5.20)."""
        host = request.headers.get("host", "").partition(":")[0].lower()
        application = self.find(host)
        return application(request) if application is not None else Response(421)
