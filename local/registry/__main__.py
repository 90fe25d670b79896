"""A registry with quirks on a loopback port: ``python -m local.registry QUIRK[=VALUE] …``."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from typing import Any

from local import stop_signals
from local.registry.authentication import BasicAuthentication
from local.registry.quirks import Quirks
from local.registry.server import RegistryServer


def parse_quirks(settings: Sequence[str]) -> Quirks:
    """Return the quirks of ``NAME`` and ``NAME=VALUE``.

    Raises
    ------
    ValueError
        A name is unknown, or a value is not of its type.
    """
    known: dict[str, Any] = {each.name: each.default for each in dataclasses.fields(Quirks)}
    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if name not in known:
            message = f"unknown quirk {name!r}; known are {', '.join(known)}"
            raise ValueError(message)
        kind = type(known[name])
        values[name] = kind(value) if equals and kind is not bool else True
    return Quirks(**values)


def main(arguments: Sequence[str]) -> int:
    """Serve until a signal and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m local.registry", description=__doc__)
    parser.add_argument("quirks", nargs="*", metavar="QUIRK[=VALUE]")
    parser.add_argument("--port", type=int, default=5010)
    parser.add_argument("--login", metavar="USER:PASSWORD", help="require it (HTTP Basic)")
    options = parser.parse_args(arguments)
    try:
        quirks = parse_quirks(options.quirks)
    except ValueError as error:
        parser.error(str(error))
    user, colon, password = (options.login or "").partition(":")
    authentication = BasicAuthentication({user: password}) if colon else None
    stop_signals.block()
    with RegistryServer(options.port, authentication=authentication, quirks=quirks) as server:
        print(f"serving {server.host}", flush=True)
        stop_signals.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
