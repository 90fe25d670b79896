"""Every stack of `examples/cloudformation`: its images are copied and its references resolve."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from local.archives import SavedImage, build_docker_save
from local.images import Index, build_artifact, build_layer
from tests.examples.conftest import ROOT
from tests.examples.indexes import (
    AMD64,
    ARM64,
    build_platforms,
    build_two_platforms,
    digest_of,
)
from tests.examples.resolver import ACCOUNT, Stack, load_template
from tests.examples.simulated_cloud import SimulatedCloud
from tests.functional.cosign_fixtures import cosign_tag, payload, signatures

EXAMPLES = ROOT / "examples" / "cloudformation"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/replicator"
#: Exports of the replicator's stack, by the names in its template.
EXPORTS = {
    "ecr-image-replicator-ServiceToken": f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:replicator",
    "ecr-image-replicator-RoleArn": ROLE,
    "ecr-image-replicator-RoleName": "replicator",
}
HOST = f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com"
BUILD, PRODUCTION = "111111111111", "222222222222"
PARAMETERS: dict[str, dict[str, Any]] = {
    "ecs-service-by-digest": {"Vpc": "vpc-1", "Subnets": ["subnet-1", "subnet-2"]},
    "lambda-container-function": {},
    "eks-without-pull-through-cache": {},
    "s3-archive": {"Bucket": "builds", "VersionId": "1"},
    "private-registry": {"Username": "ann", "Password": "hunter2"},
    "multi-account": {
        "BuildAccount": BUILD,
        "ProductionAccount": PRODUCTION,
        "ExternalId": "between-us",
    },
    "multi-account-role": {
        "ReplicatorRoleArn": ROLE,
        "ExternalId": "between-us",
        "Side": "destination",
    },
    "helm-chart": {},
    "mirror-docker-hub": {"Secret": f"arn:aws:secretsmanager:eu-west-1:{ACCOUNT}:secret:hub-1"},
    "mirror-eks-add-ons": {},
    "mirror-promotion": {
        "BuildAccount": BUILD,
        "BuildRoleArn": f"arn:aws:iam::{BUILD}:role/pull",
        "ExternalId": "between-us",
    },
    "several-regions": {},
    "sagemaker-model": {
        "SourceImage": "registry.example.com/ml/server:1.0",
        "ExecutionRoleArn": f"arn:aws:iam::{ACCOUNT}:role/sagemaker",
    },
    "signed-images-only": {
        "SourceImage": "registry.example.com/team/app:2.4",
        "SigningKeyArn": f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/1",
    },
}


@pytest.fixture
def stack(cloud: SimulatedCloud) -> Callable[..., Stack]:
    def open_stack(name: str, **parameters: Any) -> Stack:
        return Stack(
            load_template(EXAMPLES / f"{name}.yaml"),
            cloud,
            parameters={**PARAMETERS[name], **parameters},
            imports=EXPORTS,
        )

    return open_stack


def test_every_example_has_its_parameters() -> None:
    assert {file.stem for file in EXAMPLES.glob("*.yaml")} == PARAMETERS.keys()


def test_the_template_has_all_exports_that_the_examples_import() -> None:
    outputs = load_template(ROOT / "template.yaml")["Outputs"].values()
    names = {each["Export"]["Name"]["Fn::Sub"] for each in outputs if "Export" in each}
    exported = {name.replace("${AWS::StackName}", "ecr-image-replicator") for name in names}
    assert EXPORTS.keys() <= exported


def test_ecs_runs_the_image_by_digest(
    stack: Callable[..., Stack], cloud: SimulatedCloud, index: Index
) -> None:
    cloud.push_image("nginx:1.29.3", index)
    example = stack("ecs-service-by-digest")

    task = example.properties("TaskDefinition")

    uri = f"{HOST}/example-repository@{digest_of(index, ARM64)}"
    assert task["ContainerDefinitions"][0]["Image"] == uri
    assert example.outputs() == {"ImageUri": uri}
    assert cloud.manifest(uri) == cloud.manifest(f"{HOST}/example-repository:1.29.3")
    resolve_all(example)


def test_new_image_content_changes_the_code_of_the_lambda_function(
    stack: Callable[..., Stack], cloud: SimulatedCloud, index: Index
) -> None:
    newer = build_two_platforms(80)
    name = "public.ecr.aws/lambda/python:3.13"
    cloud.push_image(name, index)
    example = stack("lambda-container-function")
    first = example.properties("Function")["Code"]["ImageUri"]

    cloud.push_image(name, newer)
    again = stack("lambda-container-function", Release="2")
    second = again.properties("Function")["Code"]["ImageUri"]

    assert first == f"{HOST}/example-repository@{digest_of(index, ARM64)}"
    assert second == f"{HOST}/example-repository@{digest_of(newer, ARM64)}"
    assert cloud.manifest(first) != cloud.manifest(second)
    resolve_all(example)


def test_source_and_destination_in_other_accounts_use_their_roles(
    stack: Callable[..., Stack], cloud: SimulatedCloud, index: Index
) -> None:
    source = f"{BUILD}.dkr.ecr.eu-west-1.amazonaws.com/team/app:2.4.1"
    cloud.push_image(source, index)
    cloud.aws.ecr(PRODUCTION, "eu-central-1").create_repository("team/app")
    for account in (BUILD, PRODUCTION):
        cloud.aws.add_role(f"arn:aws:iam::{account}:role/ImageReplicator", external_id="between-us")
    example = stack("multi-account")

    uri = example.outputs()["ImageUri"]

    assert uri.startswith(f"{PRODUCTION}.dkr.ecr.eu-central-1.amazonaws.com/team/app@sha256:")
    assert cloud.manifest(uri).content == index.manifest
    assumed = [
        call.parameters["RoleArn"]
        for call in cloud.aws.services.calls
        if call.action == "sts:AssumeRole"
    ]
    assert sorted(assumed) == sorted(
        example.properties("AssumeTheRoles")["PolicyDocument"]["Statement"][0]["Resource"]
    )
    resolve_all(example)


@pytest.mark.parametrize(("side", "policies"), [("source", 2), ("destination", 3)])
def test_the_role_has_the_policies_of_its_side(
    stack: Callable[..., Stack], side: str, policies: int
) -> None:
    role = stack("multi-account-role", Side=side).properties("Role")

    assert role["RoleName"] == stack("multi-account").resolve({"Ref": "RoleName"})
    assert len(role["Policies"]) == policies
    trusted = role["AssumeRolePolicyDocument"]["Statement"][0]
    assert trusted["Principal"] == {"AWS": ROLE}
    assert trusted["Condition"] == {"StringEquals": {"sts:ExternalId": "between-us"}}


def test_a_private_registry_is_authenticated_with_the_secret(
    stack: Callable[..., Stack], cloud: SimulatedCloud, index: Index
) -> None:
    cloud.require_login("registry.example.com", "ann", "hunter2")
    cloud.push_image("registry.example.com/team/app:2.4", index)
    example = stack("private-registry")

    outputs = example.outputs()

    repository = f"{HOST}/example-repository"
    assert outputs == {
        "ImageUri": f"{repository}@{index.digest}",
        "Amd64Digest": digest_of(index, AMD64),
    }
    assert cloud.manifest(f"{repository}:2.4").content == index.manifest
    assert cloud.manifest(f"{repository}:2.4-amd64").digest == digest_of(index, AMD64)
    assert cloud.manifest(f"{repository}:2.4-arm64").digest == digest_of(index, ARM64)
    resolve_all(example)


def test_images_of_a_cluster_are_copied_to_created_repositories(
    stack: Callable[..., Stack], cloud: SimulatedCloud
) -> None:
    several = build_platforms(90, AMD64, "linux/arm/v7", ARM64, "linux/s390x")
    cloud.push_image("registry.k8s.io/pause:3.10", several)
    cloud.push_image("busybox:1.37.0", several)
    controller = "quay.io/jetstack/cert-manager-controller"
    cloud.push_image(f"{controller}:v1.19.1", several)
    signature = build_artifact("application/vnd.example.signature", subject=several)
    cloud.push_image(f"{controller}:signature", signature)
    example = stack("eks-without-pull-through-cache")

    outputs = example.outputs()

    for output in ("PauseImageUri", "BusyboxImageUri"):
        chosen = json.loads(cloud.manifest(outputs[output]).content)["manifests"]
        assert [each["digest"] for each in chosen] == [
            digest_of(several, AMD64),
            digest_of(several, ARM64),
        ]
    assert outputs["ControllerDigest"] == several.digest
    copied = cloud.manifest(f"{outputs['ControllerRepository']}@{signature.digest}")
    assert copied.content == signature.manifest
    made = cloud.aws.ecr().repositories
    assert [repository.name for repository in made] == [
        "platform/busybox",
        "platform/cert-manager-controller",
        "platform/pause",
    ]
    resolve_all(example)


def test_only_signed_images_are_copied(
    stack: Callable[..., Stack], cloud: SimulatedCloud, index: Index
) -> None:
    name = PARAMETERS["signed-images-only"]["SourceImage"]
    kms = cloud.aws.client("kms")
    key = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    cloud.push_image(name, index)
    unsigned = stack("signed-images-only", SigningKeyArn=key).deploy("Image")
    claim = payload(index.digest)
    made = kms.sign(KeyId=key, Message=claim, MessageType="RAW", SigningAlgorithm="ECDSA_SHA_256")
    signature = signatures([(claim, base64.b64encode(made["Signature"]).decode())])
    cloud.push_image(f"{name.partition(':')[0]}:{cosign_tag(index.digest)}", signature)
    example = stack("signed-images-only", SigningKeyArn=key)

    uri = example.outputs()["ImageUri"]

    assert unsigned["Status"] == "FAILED"
    assert uri == f"{HOST}/example-repository@{index.digest}"
    there = f"{HOST}/example-repository:{cosign_tag(index.digest)}"
    assert cloud.manifest(there).digest == signature.digest
    resolve_all(example)


def test_an_object_version_of_a_tarball_is_copied(
    stack: Callable[..., Stack], cloud: SimulatedCloud, tmp_path: Path
) -> None:
    saved = SavedImage([build_layer(50_000, 95, "none")], ["app:1.0"])
    tarball = gzip.compress(build_docker_save(tmp_path / "app.tar", [saved]).read_bytes())
    version = cloud.put_object("builds", "builds/app.tar.gz", tarball)
    cloud.put_object("builds", "builds/app.tar.gz", b"of a later build")
    example = stack("s3-archive", VersionId=version)

    outputs = example.outputs()

    manifest = json.loads(cloud.manifest(outputs["ImageUri"]).content)
    assert [layer["mediaType"] for layer in manifest["layers"]] == [
        "application/vnd.oci.image.layer.v1.tar+zstd"
    ]
    for tag in ("latest", "1.0"):
        there = cloud.manifest(f"{HOST}/example-repository:{tag}")
        assert outputs["ImageUri"].endswith(f"@{there.digest}")
    resolve_all(example)


def test_a_helm_chart_is_copied_unchanged(
    stack: Callable[..., Stack], cloud: SimulatedCloud
) -> None:
    chart = build_artifact(
        "",
        [("application/vnd.cncf.helm.chart.content.v1.tar+gzip", gzip.compress(b"chart", mtime=0))],
        config=("application/vnd.cncf.helm.config.v1+json", b'{"name":"nginx-ingress"}'),
    )
    cloud.push_image("ghcr.io/nginx/charts/nginx-ingress:2.3.1", chart)
    example = stack("helm-chart")

    outputs = example.outputs()

    assert outputs["Digest"] == chart.digest
    copied = cloud.manifest(f"{HOST}/charts/nginx-ingress:2.3.1")
    assert copied.content == chart.manifest
    assert outputs["Install"].split() == [
        *("helm", "install", "ingress", f"oci://{HOST}/charts/nginx-ingress"),
        *("--version", "2.3.1"),
    ]
    resolve_all(example)


def test_the_second_region_copies_from_the_first(
    stack: Callable[..., Stack], cloud: SimulatedCloud, index: Index
) -> None:
    cloud.push_image("public.ecr.aws/docker/library/nginx:1.27", index)
    example = stack("several-regions")

    outputs = example.outputs()

    frankfurt = f"{ACCOUNT}.dkr.ecr.eu-central-1.amazonaws.com/mirror/nginx"
    assert outputs == {
        "ImageUri": f"{HOST}/mirror/nginx@{index.digest}",
        "SecondImageUri": f"{frankfurt}@{index.digest}",
    }
    assert cloud.manifest(f"{frankfurt}:1.27").content == index.manifest
    pulls = cloud.aws.requests_to("public.ecr.aws")
    assert sum("/manifests/" in each.path and each.method == "GET" for each in pulls) == 3
    resolve_all(example)


def test_the_sagemaker_model_uses_a_docker_manifest(
    stack: Callable[..., Stack], cloud: SimulatedCloud, index: Index
) -> None:
    cloud.push_image("registry.example.com/ml/server:1.0", index)
    example = stack("sagemaker-model")

    uri = example.properties("Model")["PrimaryContainer"]["Image"]

    converted = cloud.manifest(uri)
    assert converted.media_type == "application/vnd.docker.distribution.manifest.v2+json"
    resolve_all(example)


def resolve_all(example: Stack) -> None:
    """Resolve all resources and outputs, which fails for missing references."""
    for name in example.resources:
        example.properties(name)
    example.outputs()
