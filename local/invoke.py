"""`python -m local.invoke EVENT`: send an event to the function, under Lambda's emulator.

The function uses the local cloud that `make cloud` runs. Docker is not needed.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from local.cloud import DESTINATION_PORT, SOURCE_PORT
from local.emulator import EmulatorError, FunctionError, FunctionTimeoutError, LambdaEmulator

_HANDLER = Path(__file__).parent.parent / "handler"
_DESCRIPTION = Path(".cloud/cloud.json")


def main(arguments: Sequence[str] | None = None) -> int:
    """Invoke the function once. Return 0 for SUCCESS or a result, 1 for a failure."""
    options = _parser().parse_args(arguments)
    try:
        cloud = json.loads(options.cloud.read_text())
        event = _relocated(options.event.read_text(), cloud)
    except OSError as error:
        hint = (
            " Run `make cloud` in another terminal." if error.filename == str(options.cloud) else ""
        )
        sys.stderr.write(f"error: cannot read {error.filename}: {error.strerror}.{hint}\n")
        return 2
    except ValueError as error:
        sys.stderr.write(f"error: invalid JSON in {options.event}: {error}\n")
        return 2
    if not _is_listening(cloud["source"]):
        sys.stderr.write(
            f"error: cannot connect to the local cloud at {cloud['source']}. "
            "Run `make cloud` in another terminal.\n"
        )
        return 2
    environment = {**cloud["environment"], "AWS_SAM_LOCAL": "true", **dict(options.variable)}
    with LambdaEmulator(_HANDLER, environment=environment, timeout_seconds=900) as emulator:
        try:
            result = emulator.invoke(event)
        except FunctionError as error:
            _print_log(emulator, options)
            sys.stdout.write(f"\nThe function raised {error}\n")
            return 1
        except (EmulatorError, FunctionTimeoutError) as error:
            sys.stderr.write(f"error: {error}\n")
            return 1
        _print_log(emulator, options)
    sys.stdout.write(f"\n{_readable(result)}\n")
    return 1 if isinstance(result, dict) and result.get("Status") == "FAILED" else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local.invoke", description=__doc__)
    parser.add_argument("event", type=Path, help="a JSON file, such as events/delete.json")
    parser.add_argument(
        "--logs", action="store_true", help="print the function's log lines as JSON"
    )
    parser.add_argument(
        "--variable",
        action="append",
        default=[],
        type=_variable,
        metavar="NAME=VALUE",
        help="an environment variable of the function; may be repeated",
    )
    parser.add_argument("--cloud", type=Path, default=_DESCRIPTION, help=argparse.SUPPRESS)
    return parser


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"invalid variable {text!r}: expected NAME=VALUE")
    return name, value


def _relocated(text: str, cloud: Mapping[str, Any]) -> dict[str, Any]:
    """Parse an event, with the registries' usual ports replaced by those in use."""
    for port, host in ((SOURCE_PORT, cloud["source"]), (DESTINATION_PORT, cloud["destination"])):
        text = text.replace(f"localhost:{port}", f"localhost:{host.rpartition(':')[2]}")
    event = json.loads(text)
    if not isinstance(event, dict):
        raise ValueError("an event is a JSON object")
    return event


def _is_listening(host: str) -> bool:
    name, _, port = host.rpartition(":")
    try:
        with socket.create_connection((name, int(port)), timeout=2):
            return True
    except OSError:
        return False


def _print_log(emulator: LambdaEmulator, options: argparse.Namespace) -> None:
    """Print the function's log as JSON, or only its messages, without repeated ones."""
    previous = ""
    for line in emulator.log.splitlines():
        if not line.startswith("{"):
            continue
        if options.logs:
            sys.stdout.write(f"{line}\n")
            continue
        record = json.loads(line)
        is_shown = record.get("level") in {"INFO", "WARNING", "ERROR"} and "message" in record
        if is_shown and record["message"] != "stage":
            reason = f": {record['reason']}" if "reason" in record else ""
            shown = f"{record['level'].lower():8}{record['message']}{reason}\n"
            if shown != previous:
                sys.stdout.write(shown)
            previous = shown


def _readable(result: Any) -> str:
    """Render a response with one line for the status and each value."""
    if not isinstance(result, dict):
        return json.dumps(result, indent=2)
    values = result.get("Data", result)
    lines = []
    if "Status" in result:
        lines += [f"Status              {result['Status']}"]
        lines += [f"Reason              {result['Reason']}"] if "Reason" in result else []
        lines += [f"PhysicalResourceId  {result['PhysicalResourceId']}"]
    lines += [f"{name:<20}{value}" for name, value in values.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
