"""The command line: arguments, exit statuses and output."""

from __future__ import annotations

import io
import json
import logging
import sys
from pathlib import Path

import pytest

from ecr_image_replicator import errors
from ecr_image_replicator.cli.arguments import (
    Command,
    add_copy_parser,
    new_parser,
    option_name,
    parse_copy,
)
from ecr_image_replicator.cli.command import run
from ecr_image_replicator.cli.display import PlainLines, opened_display
from ecr_image_replicator.cli.exit_codes import Exit, exit_status
from ecr_image_replicator.cli.logs import shown_logs
from ecr_image_replicator.cli.report import size
from ecr_image_replicator.copy.ports import BlobOutcome
from ecr_image_replicator.copy.progress import ProgressCounter
from ecr_image_replicator.errors import (
    Assignment,
    AwsError,
    ReplicationError,
    Setting,
    Side,
    Term,
    TransientError,
)
from ecr_image_replicator.model.digests import Digest
from ecr_image_replicator.model.manifests import Descriptor
from ecr_image_replicator.request.properties import property_name

NAMED = ["nginx:1.27", "example.com/app:1"]


def _blob(content: bytes) -> Descriptor:
    return Descriptor("application/octet-stream", Digest.of(content), len(content))


def parse_arguments(arguments: list[str], environment: dict[str, str]) -> Command:
    parser = new_parser()
    add_copy_parser(parser.add_subparsers())
    return parse_copy(parser.parse_args(["copy", *arguments]), environment)


class FakeClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_arguments_are_parsed_into_a_request() -> None:
    command = parse_arguments(
        [*NAMED, "--platform", "linux/amd64", "--platform", "arm64", "--tag", "2", "--dry-run"],
        {"SRC_CREDS": "robot:hunter2"},
    )
    request = command.request()

    assert str(request.destination) == "example.com/app:1"
    assert [str(each) for each in request.platforms] == ["linux/amd64", "linux/arm64"]
    assert (request.tags, request.dry_run, command.prints_json) == (("2",), True, False)
    assert request.source_credentials == "robot:hunter2"
    assert "hunter2" not in repr(request)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["nginx:1.27", "example.com/App:1"], "DESTINATION: "),
        (["UPPER", "example.com/app:1"], "SOURCE: "),
        (["--referrers", "UPPER", "example.com/app:1"], "SOURCE: "),
        ([*NAMED, "--tag", "a b"], "invalid --tag: 'a b' is not a tag"),
        ([*NAMED, "--platform", "plan 9"], "--platform: "),
        ([*NAMED, "--platform", "linux"], "--platform: invalid platform 'linux'"),
        (["containers-storage:a", NAMED[1]], "invalid SOURCE: unsupported transport"),
        (["oci:image:1", NAMED[1]], "invalid SOURCE: unsupported transport oci:"),
        (["nginx", "oci-archive:a.tar"], "invalid DESTINATION: unsupported transport"),
        (["nginx", "localhost:5002"], "invalid DESTINATION: 'localhost:5002' is not host/"),
        (["nginx", "s3://builds/app.tar"], "invalid DESTINATION: 's3://builds/app.tar' is an arch"),
        (["nginx", "example.com/app@sha256:" + "0" * 64], "invalid DESTINATION: 'example.com/app@"),
    ],
)
def test_a_message_names_the_option_instead_of_the_property(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["copy", *arguments], {}) == Exit.USAGE
    assert capsys.readouterr().err.startswith(f"error: {named}")


def test_the_message_for_invalid_credentials_does_not_quote_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["copy", *NAMED], {"DEST_CREDS": "hunter2:"}) == Exit.USAGE
    shown = capsys.readouterr().err
    assert shown.startswith(
        "error: invalid --dest-creds or DEST_CREDS: the value is not user:password"
    )
    assert "hunter2" not in shown


@pytest.mark.parametrize("content", ["", " \n"])
def test_an_empty_key_file_does_not_turn_verification_off(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "cosign.pub"
    key.write_text(content)

    assert run(["copy", *NAMED, "--verify-key", str(key)], {}) == Exit.USAGE
    assert capsys.readouterr().err == f"error: invalid --verify-key: '{key}' is empty\n"


def test_an_invalid_environment_variable_is_a_usage_error() -> None:
    assert run(["copy", *NAMED], {"PARALLEL_STREAMS": "many"}) == Exit.USAGE


@pytest.mark.parametrize("arguments", [["one"], [*NAMED, "--unknown"], [*NAMED, "--plat", "all"]])
def test_invalid_arguments_are_a_usage_error(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(["copy", *arguments], {})
    assert caught.value.code == Exit.USAGE


@pytest.mark.parametrize(
    ("arguments", "usage", "message"),
    [
        (
            ["copy", *NAMED, "--plaform", "all"],
            "copy [",
            "unknown argument --plaform. Did you mean ",
        ),
        (["copy", *NAMED, "--all"], "copy [", "unknown argument --all. Did you mean --all-pl"),
        (["copy", *NAMED, "third"], "copy [", "unknown argument third\n"),
        (
            ["copy", *NAMED, "--retries", "-1"],
            "copy [",
            "'-1': expected a whole number from 0 to 19",
        ),
        (["copy", *NAMED, "--retries=20"], "copy [", "'20': expected a whole number from 0 to 19"),
        (["mirror", "m.yaml", "--repot=r"], "mirror [", "--repot=r. Did you mean --report?"),
    ],
)
def test_an_invalid_argument_prints_the_usage_of_its_command(
    arguments: list[str], usage: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(arguments, {})
    assert caught.value.code == Exit.USAGE
    shown = capsys.readouterr().err
    assert shown.startswith(f"usage: ecr-image-replicator {usage}")
    assert message in shown


def test_a_hint_renders_a_setting_and_its_value_as_an_option() -> None:
    flag = Assignment(Setting.CREATE_REPOSITORY, "true")
    value = Assignment(Setting.COPY_REFERRERS, "required")
    error = ReplicationError("no", hint=(Term.RETRY, " with ", flag, " or ", value, "."))

    assert error.render(option_name) == (
        "no. Run the command again with --create-repository or --referrers=required."
    )
    assert error.render(property_name) == (
        "no. Deploy again with CreateRepository: true or CopyReferrers: required."
    )


def test_the_usage_shows_that_a_value_of_referrers_follows_an_equals_sign(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        run(["copy", "--help"], {})
    shown = capsys.readouterr().out
    assert "[--referrers[=required]]" in shown
    assert "--referrers [" not in shown


def test_the_help_lists_every_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(["copy", "--help"], {})
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    for status in Exit:
        assert f"  {status.value:<4}{status.meaning}" in shown


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("RequestError", Exit.USAGE),
        ("InvalidReferenceError", Exit.USAGE),
        ("NotAllowedError", Exit.USAGE),
        ("PlatformNotFoundError", Exit.NOT_FOUND),
        ("ImageNotFoundError", Exit.NOT_FOUND),
        ("NotFoundError", Exit.NOT_FOUND),
        ("DeniedError", Exit.DENIED),
        ("SecretError", Exit.DENIED),
        ("RoleError", Exit.DENIED),
        ("ThrottledError", Exit.TEMPORARY_FAILURE),
        ("UnavailableError", Exit.TEMPORARY_FAILURE),
        ("LostUploadError", Exit.TEMPORARY_FAILURE),
        ("OutOfTimeError", Exit.TEMPORARY_FAILURE),
        ("ImmutableTagError", Exit.IMMUTABLE_TAG),
        ("UntrustedHostError", Exit.UNTRUSTED_HOST),
        ("DigestMismatchError", Exit.INVALID_CONTENT),
        ("SignatureError", Exit.INVALID_CONTENT),
        ("ReferrersError", Exit.INVALID_CONTENT),
        ("ProtocolError", Exit.FAILED),
    ],
)
def test_the_error_class_determines_the_exit_status(name: str, status: Exit) -> None:
    kind = getattr(errors, name)
    is_registry_s = issubclass(kind, errors.RegistryError)
    error = kind("a message", side=Side.SOURCE) if is_registry_s else kind("a message")
    assert exit_status(error) is status


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("AccessDenied", Exit.DENIED),
        ("ExpiredToken", Exit.DENIED),
        ("InvalidAccessKeyId", Exit.DENIED),
        ("UnrecognizedClientException", Exit.DENIED),
        ("SSOError", Exit.DENIED),
        ("NoSuchKey", Exit.NOT_FOUND),
        ("NoSuchBucket", Exit.NOT_FOUND),
        ("ResourceNotFoundException", Exit.NOT_FOUND),
        ("SlowDown", Exit.TEMPORARY_FAILURE),
        ("ThrottlingException", Exit.TEMPORARY_FAILURE),
        ("InternalError", Exit.TEMPORARY_FAILURE),
        ("ServiceUnavailable", Exit.TEMPORARY_FAILURE),
        ("ConnectTimeoutError", Exit.TEMPORARY_FAILURE),
        ("EndpointConnectionError", Exit.TEMPORARY_FAILURE),
        ("ProxyConnectionError", Exit.TEMPORARY_FAILURE),
        ("NoCredentialsError", Exit.USAGE),
        ("NoRegionError", Exit.USAGE),
        ("ProfileNotFound", Exit.USAGE),
        ("SSLError", Exit.UNTRUSTED_HOST),
    ],
)
def test_the_code_of_an_aws_error_determines_the_exit_status(code: str, status: Exit) -> None:
    rejection = AwsError("no", action="s3:GetObject", code=code)
    secret = errors.SecretError("no")
    secret.__cause__ = rejection
    assert exit_status(rejection) is status
    assert exit_status(secret) is status


def test_the_exit_status_of_other_errors_is_1_and_of_invalid_secrets_4() -> None:
    rejection = AwsError("no", action="s3:GetObject", code="InvalidRequest")
    secret = errors.SecretError("no")
    secret.__cause__ = rejection
    assert exit_status(rejection) is Exit.FAILED
    assert exit_status(secret) is Exit.DENIED
    assert exit_status(ReplicationError("no")) is Exit.FAILED


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (12.3 * 1024**2, "12.3 MiB"),
        (5 * 1024**5, "5120.0 TiB"),
    ],
)
def test_sizes_are_formatted_with_units(count: float, text: str) -> None:
    assert size(count) == text


def test_a_summary_omits_existing_blobs_and_counts_a_restart_once() -> None:
    clock = FakeClock()
    tally = ProgressCounter(clock=clock)
    new, old = _blob(b"x" * 100), _blob(b"y" * 50)
    tally.plan([new, old])
    tally.finish(old, BlobOutcome.SKIPPED)
    tally.start(new)
    tally.advance(new, 60)
    tally.start(new)
    clock.now += 2.0
    assert tally.advance(new, 40) == 40

    totals = tally.totals()
    assert (totals.done_bytes, totals.total_bytes) == (40, 100)
    assert (totals.done_blobs, totals.total_blobs) == (1, 2)
    assert totals.bytes_per_second == 50
    assert totals.seconds_left == 60 / 50


def test_plain_output_has_a_line_per_blob_and_a_periodic_progress_line() -> None:
    clock, stream = FakeClock(), io.StringIO()
    display = PlainLines(stream, clock=clock)
    stored, made, old = _blob(b"x" * 4096), _blob(b"y" * 2048), _blob(b"z" * 10)
    display.plan([stored])
    display.start(stored)
    display.advance(stored, 1024)
    clock.now += 6.0
    display.advance(stored, 1024)
    display.advance(stored, 2048)
    display.make(stored, made)
    display.finish(stored, BlobOutcome.COPIED)
    display.plan([made, old])
    display.finish(made, BlobOutcome.SKIPPED)
    display.finish(old, BlobOutcome.SKIPPED)

    assert stream.getvalue().splitlines() == [
        "2.0 KiB of 4.0 KiB, 341 B/s, 6 s left",
        f"{str(stored.digest)[:19]} copied, 4.0 KiB (1 of 1)",
        f"{str(old.digest)[:19]} there already, 10 B (2 of 2)",
    ]


@pytest.mark.parametrize(
    ("after_seconds", "line"),
    [
        (None, "retrying: cannot pull app: 503 with --src-creds or SRC_CREDS"),
        (30.0, "retrying in 30 s: cannot pull app: 503 with --src-creds or SRC_CREDS"),
    ],
)
def test_a_retry_is_printed_with_its_wait_and_without_a_hint(
    after_seconds: float | None, line: str
) -> None:
    stream = io.StringIO()
    PlainLines(stream).retry(
        TransientError(
            "cannot pull app: 503 with ",
            Setting.SOURCE_CREDENTIALS,
            retry_after_seconds=after_seconds,
            hint="Check the host.",
        )
    )
    assert stream.getvalue() == f"{line}\n"


def test_an_error_in_a_log_record_uses_option_names() -> None:
    shown: list[str] = []
    logger = logging.getLogger("ecr_image_replicator.tests")
    with shown_logs(shown.append, logging.INFO, option_name):
        logger.info("continuing without: %s", ReplicationError("no ", Setting.SOURCE_CREDENTIALS))
        logger.info("plain 100%")
        logger.info("layer %s", "\x1b[2J\nerror")
        logger.debug("not shown")
    assert shown == [
        "info: continuing without: no --src-creds or SRC_CREDS",
        "info: plain 100%",
        "info: layer  [2J error",
    ]


class FakeTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("terminal", ["dumb", "xterm"])
def test_a_dumb_terminal_or_one_without_rich_gets_plain_lines(
    terminal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", terminal)
    if terminal != "dumb":
        monkeypatch.delitem(sys.modules, "ecr_image_replicator.cli.progress_bars", raising=False)
        monkeypatch.setitem(sys.modules, "rich.console", None)
    with opened_display(FakeTerminal()) as display:
        assert isinstance(display, PlainLines)


def test_an_internal_error_is_reported_without_its_message(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        json.loads("https://bucket?X-Amz-Signature=secret")

    monkeypatch.setattr("ecr_image_replicator.replicate.Replicator.replicate", fail)
    assert run(["copy", *NAMED], {}) == Exit.FAILED
    shown = capsys.readouterr().err
    assert "defect in ecr-image-replicator: JSONDecodeError at decoder.py:" in shown
    assert "secret" not in shown
