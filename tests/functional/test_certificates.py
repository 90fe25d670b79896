"""Certificates of private authorities, created as in OpenSSL's examples."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from local.aws import LoopbackAws
from local.cloudformation import CloudFormationEndpoint
from local.images import build_image, build_layer
from local.registry import RegistryServer
from tests.functional.conftest import Function

from custom_resource.response import CustomResourceResponse, deliver
from ecr_image_replicator.cli.exit_codes import Exit, exit_status
from ecr_image_replicator.copy.progress import LoggedProgress
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import CredentialsError
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.parsing import parse_request
from ecr_image_replicator.request.settings import Settings
from ecr_image_replicator.trust_store import VARIABLES


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """The certificate of an authority without keyUsage, which VERIFY_X509_STRICT rejects."""
    subject = ["-subj", "/CN=Authority", "-addext", "basicConstraints=critical,CA:TRUE"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    _openssl(tmp_path, "req", "-x509", *key, *subject, "-keyout", "ca.key", "-out", "ca.pem")
    names = ["-subj", "/CN=server", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    _openssl(tmp_path, "req", *key, *names, "-keyout", "server.key", "-out", "server.csr")
    signed = ["-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-copy_extensions", "copy"]
    _openssl(tmp_path, "x509", "-req", *signed, "-out", "server.pem")
    return tmp_path / "ca.pem"


def _openssl(folder: Path, *arguments: str) -> None:
    configuration = folder / "openssl.cnf"
    configuration.write_text("[req]\ndistinguished_name = name\n[name]\n")
    more = ["-config", "openssl.cnf"] if arguments[0] == "req" else []
    subprocess.run(
        ["openssl", arguments[0], *more, *arguments[1:]],
        cwd=folder,
        check=True,
        capture_output=True,
    )


@pytest.fixture
def tls(bundle: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(bundle.parent / "server.pem", bundle.parent / "server.key")
    return context


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"])
def test_a_ca_bundle_without_key_usage_is_trusted_for_registries_and_the_response(
    function: Function,
    registries: Callable[..., RegistryServer],
    bundle: Path,
    tls: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    for each in VARIABLES:
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(variable, str(bundle))
    source, destination = registries(tls=tls), registries(tls=tls)
    image = build_image([build_layer(1000)])
    for content in image.blobs.values():
        source.store.put_blob("team/app", content)
    source.store.put_manifest("team/app", "1", image.manifest, image.media_type)
    properties = {
        "SrcImage": f"{source.host}/team/app:1",
        "DestImage": f"{destination.host}/team/app:1",
    }
    with CloudFormationEndpoint(tls) as endpoint:
        monkeypatch.setenv("RESPONSE_HOSTS", endpoint.url.removeprefix("https://"))
        function.send(endpoint.event("Create", properties))
        (response,) = endpoint.responses
    assert response.status == "SUCCESS"
    assert destination.store.tags("team/app") == {"1": image.digest}


def test_the_responder_trusts_a_ca_bundle_without_key_usage(
    bundle: Path, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    with CloudFormationEndpoint(tls) as endpoint:
        event = endpoint.event("Create", {})
        ids = event["StackId"], event["RequestId"], "Image"
        body = CustomResourceResponse("FAILED", "id", *ids, "no").body()
        assert deliver(event["ResponseURL"], body, budget_seconds=60)


def test_the_message_names_a_ca_bundle_that_does_not_exist(
    function: Function,
    registries: Callable[..., RegistryServer],
    tls: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    response = function.create(f"{registries(tls=tls).host}/a:1", f"{registries().host}/a:1")
    assert response["Status"] == "FAILED"
    assert "none.pem in SSL_CERT_FILE: no such file or directory" in response["Reason"]


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "AWS_CA_BUNDLE"])
def test_the_error_of_an_aws_call_names_a_ca_bundle_that_does_not_exist(
    aws: LoopbackAws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    for each in VARIABLES:
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(variable, str(tmp_path / "missing.pem"))
    properties = {
        "SrcImage": f"{aws.ecr().host}/team/app:1",
        "DestImage": "registry.invalid/mirror/app:1",
        "RetryConfigs": {"numAttempts": 1},
    }
    with pytest.raises(CredentialsError) as caught:
        Replicator(Settings()).replicate(
            parse_request(properties), deadline=Deadline(30), progress=LoggedProgress()
        )

    found = f"invalid certificate bundle {tmp_path / 'missing.pem'} in {variable}: no such file"
    assert f"ecr:GetAuthorizationToken failed: {found} or directory. Correct" in str(caught.value)
    assert exit_status(caught.value) is Exit.UNTRUSTED_HOST


def test_aws_calls_trust_the_certificates_in_ssl_cert_dir(
    aws: LoopbackAws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copy(aws.authority.ca_file, tmp_path / "authority.pem")
    subprocess.run(["openssl", "rehash", str(tmp_path)], check=True)
    for each in VARIABLES:
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    ecr = aws.ecr()
    ecr.put(build_image([build_layer(1000)]), "team/app", "1")
    request = parse_request(
        {"SrcImage": f"{ecr.host}/team/app:1", "DestImage": f"{ecr.host}/team/app:2"}
    )
    replicator = Replicator(Settings(propagation_seconds=0))
    replicator.replicate(request, deadline=Deadline(120), progress=LoggedProgress())
    replicator.close()
    assert "api.ecr.eu-west-1.amazonaws.com" in {tunnel.host for tunnel in aws.tunnels}
