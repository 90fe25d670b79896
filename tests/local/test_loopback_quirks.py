from __future__ import annotations

import dataclasses
import http.client
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from local.registry import Quirks
from local.registry.__main__ import parse_quirks

ROOT = Path(__file__).parents[2]


def test_quirks_are_parsed_by_name_and_value() -> None:
    settings = ["gitlab_fallback_tag", "mount_status=404", "location_fragment=#part"]
    assert parse_quirks(settings) == Quirks(
        gitlab_fallback_tag=True, mount_status=404, location_fragment="#part"
    )


@pytest.mark.parametrize("setting", ["no_such_quirk", "mount_status=many"])
def test_an_unknown_quirk_is_an_error(setting: str) -> None:
    with pytest.raises(ValueError, match=r"unknown quirk|many"):
        parse_quirks([setting])


def test_the_page_lists_every_quirk_once() -> None:
    page = (ROOT / "docs" / "local.md").read_text()
    table = page.partition("## Registries with quirks\n")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| `(\w+)", table, re.MULTILINE)
    assert sorted(listed) == sorted(each.name for each in dataclasses.fields(Quirks))


def test_the_program_serves_a_registry_with_its_quirks_until_a_signal() -> None:
    program = [sys.executable, "-m", "local.registry", "--port", "0", "is_web_server"]
    with subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        host = process.stdout.readline().split()[-1]
        connection = http.client.HTTPConnection(host, timeout=60)
        connection.request("GET", "/v2/")
        assert connection.getresponse().getheader("Content-Type") == "text/html"
        connection.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
