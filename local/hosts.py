"""One server for many hosts: who answers is decided by the host's name."""

from __future__ import annotations

from collections.abc import Callable

from local.web import Application, Request, Response

HostRule = Callable[[str], Application | None]
"""Gives what answers at a host's name (lower case, no port), None when the host is not its own."""


class Hosts:
    """Finds the application of a host; the first rule that knows the host has it."""

    def __init__(self) -> None:
        self._rules: list[HostRule] = []

    def add(self, rule: HostRule) -> None:
        """Append a rule."""
        self._rules.append(rule)

    def add_names(self, application: Application, *names: str) -> None:
        """Have an application answer at some names."""
        self.add(lambda host: application if host in names else None)

    def find(self, host: str) -> Application | None:
        """Return what answers at a host, or None."""
        return next((found for rule in self._rules if (found := rule(host)) is not None), None)

    def __call__(self, request: Request) -> Response:
        """Answer a request by its Host, 421 when that is nobody's (RFC 9110, section 15.5.20)."""
        host = request.headers.get("host", "").partition(":")[0].lower()
        application = self.find(host)
        return application(request) if application is not None else Response(421)
