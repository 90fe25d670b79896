from __future__ import annotations

import hashlib
import http.client
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from local.aws import LoopbackAws
from local.images import build_artifact, build_index
from local.registry.digests import digest_of
from tests.local.ecr_client import (
    REPOSITORY,
    EcrClient,
    repository_in,
    small_image,
    upload_target,
)
from tests.local.wire_client import FakeClock, WireClient

ClientFactory = Callable[[str], WireClient]
HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
STORAGE = "prod-eu-west-1-starport-layer-bucket.s3.eu-west-1.amazonaws.com"
LAYER = "application/vnd.oci.image.layer.v1.tar"


@pytest.fixture
def ecr(aws: LoopbackAws, client_for: ClientFactory) -> EcrClient:
    return EcrClient(client_for(HOST), aws.authorization())


def test_an_image_is_pushed_and_pulled_through_the_proxy(
    aws: LoopbackAws, ecr: EcrClient, client_for: ClientFactory
) -> None:
    image = small_image()
    aws.ecr().create_repository(REPOSITORY)
    ecr.push_blobs(image)
    pushed = ecr.put_manifest(image, "1")
    assert (pushed.status, pushed.headers["docker-content-digest"]) == (201, image.digest)
    pulled = ecr.send("GET", "manifests/1")
    assert (pulled.status, pulled.body) == (200, image.manifest)
    assert pulled.headers["docker-content-digest"] == image.digest
    redirect = ecr.send("GET", f"blobs/{digest_of(image.config)}")
    assert redirect.status == 307
    storage = urlsplit(redirect.headers["location"])
    assert storage.hostname == STORAGE
    served = client_for(STORAGE).send("GET", f"{storage.path}?{storage.query}")
    assert served.body == image.config


def test_the_layers_bucket_rejects_authorization_and_serves_ranges(
    aws: LoopbackAws, ecr: EcrClient, client_for: ClientFactory
) -> None:
    image = repository_in(aws.ecr())
    location = urlsplit(ecr.send("GET", f"blobs/{digest_of(image.config)}").headers["location"])
    target = f"{location.path}?{location.query}"
    storage = client_for(STORAGE)
    assert storage.send("GET", target, Authorization=ecr.authorization).status == 400
    part = storage.send("GET", target, Range="bytes=2-5")
    assert (part.status, part.body) == (206, image.config[2:6])
    assert storage.send("GET", location.path).status == 403
    assert storage.send("GET", target.replace("/123456789012/", "/999999999999/")).status == 404


def test_a_blob_without_a_manifest_exists_but_cannot_be_downloaded(
    aws: LoopbackAws, ecr: EcrClient
) -> None:
    repository_in(aws.ecr())
    blob = b"unreferenced"
    assert ecr.push_blob(blob).status == 201
    head = ecr.send("HEAD", f"blobs/{digest_of(blob)}")
    assert (head.status, head.headers["content-length"]) == (200, str(len(blob)))
    rejected = ecr.send("GET", f"blobs/{digest_of(blob)}")
    assert (rejected.status, rejected.error_code) == (404, "BLOB_UNKNOWN")


@pytest.mark.parametrize(
    ("mutability", "filters", "tag", "kept"),
    [
        ("MUTABLE", [], "1", False),
        ("IMMUTABLE", [], "1", True),
        ("IMMUTABLE_WITH_EXCLUSION", ["latest*"], "latest-eu", False),
        ("IMMUTABLE_WITH_EXCLUSION", ["latest*"], "1", True),
        ("MUTABLE_WITH_EXCLUSION", ["v*.*"], "v1.2", True),
        ("MUTABLE_WITH_EXCLUSION", ["v*.*"], "1", False),
    ],
)
@pytest.mark.parametrize("same_digest", [True, False])
def test_pushing_an_immutable_tag_is_rejected_for_any_digest(
    aws: LoopbackAws,
    ecr: EcrClient,
    mutability: str,
    filters: list[str],
    tag: str,
    *,
    kept: bool,
    same_digest: bool,
) -> None:
    old, new = small_image(1), small_image(2)
    exclusions = [{"filterType": "WILDCARD", "filter": each} for each in filters]
    aws.ecr().create_repository(
        REPOSITORY, imageTagMutability=mutability, imageTagMutabilityExclusionFilters=exclusions
    )
    aws.ecr().put(old, REPOSITORY, tag)
    aws.ecr().put(new, REPOSITORY)
    response = ecr.put_manifest(old if same_digest else new, tag)
    if not kept:
        assert response.status == 201
        return
    assert (response.status, response.error_code) == (400, "TAG_INVALID")
    assert response.error_message.startswith(
        f"The image tag '{tag}' already exists in the '{REPOSITORY}' repository and cannot be "
        "overwritten because the "
    )
    assert aws.ecr().store.tags(REPOSITORY) == {tag: old.digest}
    assert ecr.put_manifest(old).status == 201, "a push by digest changes no tag"
    assert ecr.put_manifest(new, "another").status == 201


def test_the_error_for_a_missing_repository_has_its_name(ecr: EcrClient) -> None:
    for method, path in (
        ("POST", "blobs/uploads/"),
        ("GET", "manifests/1"),
        ("GET", f"blobs/{digest_of(b'x')}"),
        ("GET", "tags/list"),
    ):
        response = ecr.send(method, path)
        assert (response.status, response.error_code) == (404, "NAME_UNKNOWN")
        assert response.error_message == (
            f"The repository with name '{REPOSITORY}' does not exist in the registry with id "
            "'123456789012'"
        )


def test_an_upload_to_a_missing_repository_can_drop_the_connection(
    aws: LoopbackAws, ecr: EcrClient
) -> None:
    aws.ecr().quirks.drops_uploads_to_missing_repositories = True
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        ecr.send("POST", "blobs/uploads/")
    assert [entry.status for entry in aws.requests_to(HOST)] == [0]


def test_a_push_creates_repositories_that_match_a_creation_template(
    aws: LoopbackAws, ecr: EcrClient
) -> None:
    aws.ecr().quirks.creates_on_push = "other/"
    assert ecr.send("POST", "blobs/uploads/").status == 404
    aws.ecr().quirks.creates_on_push = "team/"
    assert ecr.send("GET", "manifests/1").error_code == "NAME_UNKNOWN"
    assert ecr.send("POST", "blobs/uploads/").status == 202
    assert [each.name for each in aws.ecr().repositories] == [REPOSITORY]


def test_blobs_are_mounted_if_the_account_setting_is_on_and_a_manifest_refers_to_them(
    aws: LoopbackAws, ecr: EcrClient
) -> None:
    image = repository_in(aws.ecr())
    aws.ecr().create_repository("team/other")
    aws.ecr().create_repository(
        "team/encrypted", encryptionConfiguration={"encryptionType": "KMS", "kmsKey": "key"}
    )
    unreferenced = b"unreferenced"
    ecr.push_blob(unreferenced)

    def mount(content: bytes, target: str = "team/other", source: str = REPOSITORY) -> int:
        query = f"mount={digest_of(content)}&from={source}"
        return ecr.send("POST", f"/v2/{target}/blobs/uploads/?{query}").status

    assert mount(image.config) == 202
    aws.ecr().account_settings["BLOB_MOUNTING"] = "ENABLED"
    assert mount(unreferenced) == 202
    assert mount(image.config, "team/encrypted") == 202
    assert mount(image.config, source="team/missing") == 202
    assert mount(image.config) == 201
    assert aws.ecr().store.blobs("team/other") == {digest_of(image.config)}


def test_manifest_pushes_are_throttled_at_ten_per_second(
    aws: LoopbackAws, ecr: EcrClient, clock: FakeClock
) -> None:
    image = repository_in(aws.ecr())
    statuses = [ecr.put_manifest(image, f"t{number}").status for number in range(12)]
    assert statuses == [201] * 10 + [429] * 2
    rejected = ecr.put_manifest(image, "more")
    assert (rejected.error_code, rejected.error_message) == ("TOOMANYREQUESTS", "Rate exceeded")
    clock.now += 0.25
    assert [ecr.put_manifest(image, "more").status for _ in range(3)] == [201, 201, 429]
    aws.ecr().quirks.put_images_per_second = None
    assert [ecr.put_manifest(image, "more").status for _ in range(12)] == [201] * 12


def test_an_empty_blob_is_rejected(aws: LoopbackAws, ecr: EcrClient) -> None:
    aws.ecr().create_repository(REPOSITORY)
    response = ecr.push_blob(b"")
    assert (response.status, response.error_code) == (400, "BLOB_UPLOAD_INVALID")
    assert response.error_message.endswith("cannot be completed because it does not have any parts")
    assert aws.ecr().store.open_uploads == ()


def test_a_manifest_with_missing_layers_or_children_is_rejected(
    aws: LoopbackAws, ecr: EcrClient
) -> None:
    aws.ecr().create_repository(REPOSITORY)
    image = small_image()
    ecr.push_blob(image.config)
    layer = next(digest for digest in image.blobs if digest != digest_of(image.config))
    for content, kind, missing in (
        (image, "Layers", layer),
        (build_index([image]), "Images", image.digest),
    ):
        response = ecr.put_manifest(content, "1")
        assert (response.status, response.error_code) == (400, "MANIFEST_BLOB_UNKNOWN")
        assert response.error_message == (
            f"{kind} with digests '[{missing}]' required for pushing image into repository with "
            f"name '{REPOSITORY}' in the registry with id '123456789012' do not exist"
        )
    assert aws.ecr().store.tags(REPOSITORY) == {}


def test_a_manifest_without_media_type_can_be_rejected(aws: LoopbackAws, ecr: EcrClient) -> None:
    image = repository_in(aws.ecr(), small_image(media_type_in_body=False))
    assert ecr.put_manifest(image, "2").status == 201
    aws.ecr().quirks.rejects_bodies_without_media_type = True
    response = ecr.put_manifest(image, "3")
    assert (response.status, response.error_code) == (405, "UNSUPPORTED")
    assert "Invalid JSON syntax" in response.error_message


def test_tags_are_listed_in_pages_of_at_most_1000(aws: LoopbackAws, ecr: EcrClient) -> None:
    repository_in(aws.ecr())
    assert ecr.send("GET", "tags/list?n=1000").document["tags"] == ["1"]
    assert ecr.send("GET", "tags/list").document["tags"] == ["1"]
    rejected = ecr.send("GET", "tags/list?n=1001")
    assert (rejected.status, rejected.error_code) == (405, "UNSUPPORTED")


def test_an_image_has_at_most_1000_tags(aws: LoopbackAws, ecr: EcrClient) -> None:
    image = repository_in(aws.ecr())
    for number in range(999):
        aws.ecr().store.put_manifest(REPOSITORY, f"t{number}", image.manifest, image.media_type)
    rejected = ecr.put_manifest(image, "one-too-many")
    assert (rejected.status, rejected.error_code) == (403, "DENIED")
    assert ecr.put_manifest(image, "t0").status == 201, "pushing the same tag again changes nothing"


def test_every_chunk_returns_201_with_the_range_of_the_first(
    aws: LoopbackAws, ecr: EcrClient
) -> None:
    aws.ecr().create_repository(REPOSITORY)
    content = b"0123456789"
    location = upload_target(ecr.send("POST", "blobs/uploads/"))
    for first, last in ((0, 3), (4, 7), (8, 9)):
        chunk = content[first : last + 1]
        response = ecr.send("PATCH", location, chunk, Content_Range=f"{first}-{last}")
        assert (response.status, response.headers["range"]) == (201, "0-3")
        location = upload_target(response)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert ecr.send("PUT", f"{location}&digest={digest}").status == 201
    assert aws.ecr().store.read_blob(REPOSITORY, digest) == content


def test_the_digest_header_can_be_omitted(aws: LoopbackAws, ecr: EcrClient) -> None:
    image = repository_in(aws.ecr())
    aws.ecr().quirks.sends_digests = False
    for response in (
        ecr.send("HEAD", "manifests/1"),
        ecr.send("GET", "manifests/1"),
        ecr.put_manifest(image, "2"),
    ):
        assert response.status in {200, 201}
        assert "docker-content-digest" not in response.headers


def test_delete_requests_are_unsupported(aws: LoopbackAws, ecr: EcrClient) -> None:
    image = repository_in(aws.ecr())
    assert ecr.send("DELETE", "manifests/1").status == 404
    assert ecr.send("DELETE", f"manifests/{image.digest}").status == 404
    assert ecr.send("DELETE", f"blobs/{digest_of(image.config)}").status == 404
    assert aws.ecr().store.tags(REPOSITORY) == {"1": image.digest}


def test_referrers_are_listed(aws: LoopbackAws, ecr: EcrClient) -> None:
    image = repository_in(aws.ecr())
    signature = build_artifact("application/x-signature", [(LAYER, b"signed")], subject=image)
    ecr.push_blobs(signature)
    assert ecr.put_manifest(signature).headers["oci-subject"] == image.digest
    listed = ecr.send("GET", f"referrers/{image.digest}").document["manifests"]
    assert [each["digest"] for each in listed] == [signature.digest]


def test_used_actions_lists_the_iam_actions_of_a_push(aws: LoopbackAws, ecr: EcrClient) -> None:
    image = small_image()
    aws.ecr().create_repository(REPOSITORY)
    ecr.push_blobs(image)
    ecr.put_manifest(image, "1")
    assert aws.ecr().used_actions == {
        "ecr:InitiateLayerUpload",
        "ecr:CompleteLayerUpload",
        "ecr:PutImage",
    }
