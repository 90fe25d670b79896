"""Runs one command of the oras client: `oras_client.py push|pull REQUEST`, REQUEST as JSON.

It runs with the Python of the environment that has the client.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any


def main(command: str, request: dict[str, Any]) -> None:
    oras: Any = importlib.import_module("oras.client")
    oci: Any = importlib.import_module("oras.oci")
    user, _, password = request["login"].partition(":")
    client = oras.OrasClient(hostname=request["host"], insecure=True)
    if user:
        client.auth.set_basic_auth(user, password)
    name = request["name"]
    if command == "push":
        subject = request["subject"]
        client.push(
            name,
            files=request["files"],
            manifest_config=request["config"],
            subject=oci.Subject(**subject) if subject else None,
            disable_path_validation=True,
            quiet=True,
        )
    else:
        client.pull(name, outdir=request["directory"])
        # pull unpacks the layers of an image
        for layer in client.get_manifest(name)["layers"]:
            file = Path(request["blobs"]) / layer["digest"].partition(":")[2]
            client.download_blob(name, layer["digest"], str(file))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
