"""The command line in real processes: output streams and exit codes."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from local.aws import LoopbackAws
from local.certificates import CertificateAuthority
from local.images import Image, build_image, build_layer, push
from local.registry import BasicAuthentication, RegistryServer
from tests.functional.cosign_fixtures import sbom
from tests.functional.test_rejected_referrers import RejectedReferrersPolicy

from ecr_image_replicator.cli.exit_codes import Exit

Start = Callable[..., RegistryServer]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command without a terminal, as a script does."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-m", "ecr_image_replicator", "copy", *arguments],
        env={**kept, **paths, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def image() -> Image:
    return build_image([build_layer(200_000 + each, seed=each) for each in range(3)])


def test_an_image_is_copied_and_the_next_run_reports_it_up_to_date(
    registries: Start, image: Image
) -> None:
    source, destination = registries(), registries()
    push(image, source.host, "team/app", "1")
    named = f"{source.host}/team/app:1", f"docker://{destination.host}/mirror/app:1"

    first = run(*named, "--tag", "latest")
    again = run(*named, "--tag", "latest")

    assert (first.returncode, again.returncode) == (0, 0), first.stderr
    assert destination.store.tags("mirror/app") == dict.fromkeys(("1", "latest"), image.digest)
    name = f"{destination.host}/mirror/app:1@{image.digest}"
    assert first.stdout.startswith(f"{name}: 4 blobs, 5")
    assert again.stdout == f"{name} is up to date\n"
    lines = first.stderr.splitlines()
    assert len(lines) == 4
    assert all(" copied, " in line and line.startswith("sha256:") for line in lines)
    assert lines[-1].endswith("(4 of 4)")
    assert again.stderr == ""


def test_a_secret_without_a_region_is_an_error_that_names_the_variable(
    registries: Start, image: Image, tmp_path: Path
) -> None:
    source, destination = registries(), registries(authentication=BasicAuthentication({"ann": "x"}))
    push(image, source.host, "team/app", "1")

    finished = run(
        f"{source.host}/team/app:1",
        f"{destination.host}/mirror/app:1",
        DEST_CREDS="alice",
        HOME=str(tmp_path),
    )

    assert finished.returncode != 0
    assert "no AWS region is set. Set AWS_REGION." in finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_registry_on_loopback_is_not_reached_through_a_proxy(
    registries: Start, image: Image
) -> None:
    source, destination, proxy = registries(), registries(), registries()
    push(image, source.host, "team/app", "1")
    names = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy")

    finished = run(
        f"{source.host}/team/app:1",
        f"{destination.host}/mirror/app:1",
        **dict.fromkeys(names, proxy.url),
    )

    assert finished.returncode == 0, finished.stderr
    assert proxy.accepted_connections == 0


def test_json_prints_the_resource_attributes_only(registries: Start, image: Image) -> None:
    source, destination = registries(), registries()
    push(image, source.host, "team/app", "1")
    push(sbom(image), source.host, "team/app")

    done = run(
        f"{source.host}/team/app:1", f"{destination.host}/mirror/app:1", "--json", "--referrers"
    )

    values = json.loads(done.stdout)
    assert values["ImageDigest"] == image.digest
    assert (values["Changed"], values["ReferrersCopied"]) == ("true", "1")
    assert int(values["BytesCopied"]) > 600_000


def test_boto3_and_rich_are_imported_only_if_needed(registries: Start, image: Image) -> None:
    server = registries()
    push(image, server.host, "team/app", "1")

    done = run(f"{server.host}/team/app:1", f"{server.host}/a:1", PYTHONPROFILEIMPORTTIME="1")

    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}
    assert done.returncode == 0
    assert "ecr_image_replicator.replicate" in loaded
    assert not loaded & {"boto3", "botocore", "rich", "aws_lambda_powertools", "crhelper"}


@pytest.mark.parametrize("prints_json", [False, True])
def test_a_dry_run_prints_the_plan_and_changes_nothing(
    registries: Start, image: Image, prints_json: bool
) -> None:
    source, destination = registries(), registries()
    push(image, source.host, "team/app", "1")
    old = build_image([build_layer(200_000, seed=0)])
    push(old, destination.host, "mirror/app", "1")
    destination.clear_requests()
    flags = ["--json"] if prints_json else []

    done = run(
        f"{source.host}/team/app:1",
        f"{destination.host}/mirror/app:1",
        "--tag",
        "2",
        "--dry-run",
        *flags,
    )

    assert done.returncode == 0, done.stderr
    assert {each.method for each in destination.requests} <= {"GET", "HEAD"}
    plan = (done.stderr if prints_json else done.stdout).splitlines()
    assert [line.split()[0] for line in plan[:-1]] == ["copy"] * 3 + ["skip", "push", "tag", "tag"]
    assert plan[3].startswith("skip   1 blob, ")
    assert plan[4] == f"push   {image.digest}"
    assert plan[5:7] == [
        f"tag    1  {old.digest} -> {image.digest}",
        f"tag    2  none -> {image.digest}",
    ]
    assert plan[7].startswith("3 blobs, ")
    if prints_json:
        values = json.loads(done.stdout)
        assert (values["Changed"], values["BlobsCopied"]) == ("true", "3")
    assert destination.store.tags("mirror/app") == {"1": old.digest}


def test_each_kind_of_error_has_its_exit_code(registries: Start, image: Image) -> None:
    source, private = registries(), registries(authentication=BasicAuthentication({"ann": "pass"}))
    push(image, source.host, "team/app", "1")
    existing, destination = f"{source.host}/team/app:1", f"{private.host}/mirror/app:1"

    missing = run(f"{source.host}/team/app:2", destination, DEST_CREDS="ann:pass")
    platform = run(existing, destination, "--platform", "linux/s390x", DEST_CREDS="ann:pass")
    denied = run(existing, destination, "--json", DEST_CREDS="ann:hunter2")
    usage = run(existing, f"{private.host}/Mirror:1")

    statuses = [each.returncode for each in (missing, platform, denied, usage)]
    assert statuses == [3, 3, 4, 2]
    for each in (missing, platform, denied, usage):
        assert each.stdout == ""
        assert each.stderr.startswith("error: ")
        assert each.stderr.count("\n") == 1
    assert "DEST_CREDS" in denied.stderr
    assert "hunter2" not in denied.stderr
    assert run(existing, destination, DEST_CREDS="ann:pass").returncode == 0


def test_create_repository_creates_the_ecr_repository(aws: LoopbackAws, image: Image) -> None:
    host = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
    aws.docker_hub.put(image, "library/nginx", "1.27")
    arguments = ["nginx:1.27", f"{host}/mirror/app:1"]

    missing = run(*arguments, **aws.environment)
    planned = run(*arguments, "--create-repository", "--dry-run", **aws.environment)
    done = run(*arguments, "--create-repository", **aws.environment)

    assert missing.returncode == 3
    assert "mirror/app" in missing.stderr
    assert planned.stdout.splitlines()[0] == f"create {host}/mirror/app"
    assert done.returncode == 0, done.stderr
    assert aws.ecr().store.tags("mirror/app") == {"1": image.digest}


def test_a_rejected_referrer_is_a_warning(registries: Start, image: Image) -> None:
    source, destination = registries(), registries(policy=RejectedReferrersPolicy())
    push(image, source.host, "team/app", "1")
    push(sbom(image), source.host, "team/app")

    done = run(f"{source.host}/team/app:1", f"{destination.host}/mirror/app:1", "--referrers")

    assert done.returncode == 0
    assert "warning: a referrer was not copied, referrer sha256:" in done.stderr


def test_credentials_in_dockers_config_json_are_used(
    registries: Start, image: Image, tmp_path: Path
) -> None:
    source = registries()
    private = registries(authentication=BasicAuthentication({"ann": "hunter2"}))
    push(image, source.host, "team/app", "1")
    auth = base64.b64encode(b"ann:hunter2").decode()
    config = tmp_path / ".docker" / "config.json"
    config.parent.mkdir()
    config.write_text(json.dumps({"auths": {private.host: {"auth": auth}}}))
    images = f"{source.host}/team/app:1", f"{private.host}/mirror/app:1"

    without = run(*images, HOME=str(tmp_path / "nobody"))
    done = run(*images, HOME=str(tmp_path))
    option = run(*images, "--tag", "2", "--authfile", str(config), HOME="/nowhere")
    config.write_text(json.dumps({"auths": {private.host: {"auth": "YW5uOndyb25n"}}}))
    wrong = run(*images, HOME=str(tmp_path))

    assert (without.returncode, wrong.returncode) == (Exit.DENIED, Exit.DENIED)
    assert "`docker login`" in without.stderr
    assert f"with the credentials in the auth file {config}" in wrong.stderr
    assert "`docker login`" not in wrong.stderr
    assert (done.returncode, option.returncode) == (0, 0), done.stderr + option.stderr
    assert private.store.tags("mirror/app") == dict.fromkeys(("1", "2"), image.digest)
    assert "hunter2" not in done.stderr


def test_the_credentials_option_overrides_the_environment_variable(
    registries: Start, image: Image
) -> None:
    source = registries()
    private = registries(authentication=BasicAuthentication({"ann": "hunter2"}))
    push(image, source.host, "team/app", "1")

    done = run(
        f"{source.host}/team/app:1",
        f"{private.host}/mirror/app:1",
        "--dest-creds",
        "ann:hunter2",
        DEST_CREDS="bob:wrong",
    )

    assert done.returncode == 0, done.stderr


def test_an_immutable_tag_and_an_unknown_host_have_their_own_exit_codes(
    aws: LoopbackAws, image: Image
) -> None:
    host = aws.ecr().host
    aws.docker_hub.put(image, "library/nginx", "1.27")
    aws.docker_hub.put(build_image([build_layer(1000, seed=9)]), "library/nginx", "1.28")
    aws.ecr().create_repository("mirror/app", imageTagMutability="IMMUTABLE")
    destination = f"{host}/mirror/app:1"

    first = run("nginx:1.27", destination, **aws.environment)
    moved = run("nginx:1.28", destination, **aws.environment)
    unknown = run("registry.invalid/a:1", "registry.invalid/b:1", "--retries", "0")

    assert first.returncode == 0, first.stderr
    assert moved.returncode == Exit.IMMUTABLE_TAG, moved.stderr
    assert "immutable" in moved.stderr
    assert unknown.returncode == Exit.UNTRUSTED_HOST, unknown.stderr


def test_quiet_prints_only_the_result_and_verbose_prints_the_log(
    registries: Start, image: Image
) -> None:
    source, destination = registries(), registries()
    push(image, source.host, "team/app", "1")
    named = f"{source.host}/team/app:1"

    quiet = run(named, f"{destination.host}/quiet:1", "--quiet")
    verbose = run(named, f"{destination.host}/verbose:1", "--verbose")

    assert (quiet.returncode, quiet.stderr) == (0, "")
    assert quiet.stdout.count("\n") == 1
    assert f"info: copying, digest {image.digest}" in verbose.stderr.splitlines()


def test_an_untrusted_certificate_is_accepted_only_with_tls_verify_false(
    registries: Start, image: Image, authority: CertificateAuthority
) -> None:
    source = registries()
    push(image, source.host, "team/app", "1")
    private = registries(tls=authority.server_context())
    images = f"{source.host}/team/app:1", f"{private.host}/mirror/app:1"

    default = run(*images)
    source_only = run(*images, "--src-tls-verify=false")
    done = run(*images, "--dest-tls-verify=false")

    assert default.returncode == source_only.returncode == Exit.UNTRUSTED_HOST, default.stderr
    assert "certificate" in default.stderr
    assert (done.returncode, done.stderr.count("Warning")) == (0, 0), done.stderr
    assert private.store.tags("mirror/app") == {"1": image.digest}
