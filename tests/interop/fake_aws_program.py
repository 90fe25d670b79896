"""An `aws` or `curl` program for scripts: canned output, and a record of each call as a line."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import sys
from pathlib import Path

RUN = "0" * 32 + "/first"
OUTPUTS = {
    "FunctionName": "replicator",
    "ServiceToken": "arn:aws:lambda:eu-west-1:123456789012:function:replicator",
    "MirrorStateMachine": "arn:aws:states:eu-west-1:123456789012:stateMachine:stack-mirrors",
    "Counts": "chosen 3, copied 3, unchanged 0, failed 0",
    "ExecutionArn": "arn:aws:states:eu-west-1:123456789012:execution:stack-mirrors:first",
    "Id": RUN.partition("/")[0],
    "ReportUri": f"s3://bucket/mirrors/{RUN}/report.json",
}
_SUMMARY = {"Copied": "0", "Unchanged": "3", "Failed": "0", "BytesCopied": "0"}
_SESSION = {"AccessKeyId": "id", "SecretAccessKey": "key", "SessionToken": "session"}
_TEXTS = {
    "sts get-caller-identity": "123456789012",
    "sts assume-role": json.dumps({"Credentials": _SESSION}),
    "ecr get-login-password": "hunter2",
    "ecr list-images": "3",
    "ecr-public get-authorization-token": "token",
    "stepfunctions list-executions": OUTPUTS["ExecutionArn"],
    "stepfunctions list-map-runs": "1",
    "scheduler list-schedules": "0",
    "s3 cp": json.dumps({"Summary": _SUMMARY}),
    "cloudformation describe-stack-events": "the mirror's run was stopped",
}


def _describe_stacks(query: str) -> str:
    found = re.search(r"OutputKey=='(\w+)'", query)
    if found:
        return OUTPUTS[found[1]]
    return "LogLevel\tTimeout" if "!=" in query else ""


def _aws(arguments: list[str]) -> str:
    name = " ".join(arguments[:2])
    options = dict(itertools.pairwise(arguments))
    if name == "cloudformation describe-stacks":
        return _describe_stacks(options["--query"])
    if name == "cloudformation deploy":
        shutil.copy(options["--template-file"], os.environ["FAKE_TEMPLATE"])
    if name == "lambda invoke":
        Path(arguments[-1]).write_text("{}")
    return _TEXTS.get(name, "")


def _main() -> None:
    program, arguments = Path(sys.argv[0]).name, sys.argv[1:]
    with Path(os.environ["FAKE_LOG"]).open("a") as log:
        log.write(json.dumps([program, *arguments]) + "\n")
    text = "Location: /v2/upload" if program == "curl" else _aws(arguments)
    if text:
        print(text)


if __name__ == "__main__":
    _main()
