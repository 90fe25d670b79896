from __future__ import annotations

import json

import pytest
from local.images import Image, build_artifact, build_image, build_index, build_layer, push
from local.registry import RegistryServer
from tests.local.wire_client import WireClient

OCI = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def image(registry: RegistryServer) -> Image:
    built = build_image([build_layer(1000)])
    for blob in built.blobs.values():
        registry.store.put_blob("app", blob)
    return built


def put(client: WireClient, image: Image, reference: str, content: bytes | None = None) -> int:
    body = image.manifest if content is None else content
    target = f"/v2/app/manifests/{reference}"
    return client.send("PUT", target, body, Content_Type=image.media_type).status


def test_a_manifest_is_returned_unchanged_by_tag_and_by_digest(
    client: WireClient, image: Image
) -> None:
    assert put(client, image, "1.0") == 201
    for reference in ("1.0", image.digest):
        response = client.send("GET", f"/v2/app/manifests/{reference}", Accept="text/plain")
        assert (response.status, response.body) == (200, image.manifest)
        assert response.headers["content-type"] == image.media_type
        assert response.headers["docker-content-digest"] == image.digest
    head = client.send("HEAD", "/v2/app/manifests/1.0")
    assert (head.body, head.headers["content-length"]) == (b"", str(len(image.manifest)))


def test_a_manifest_with_missing_blobs_is_rejected(client: WireClient, image: Image) -> None:
    target = "/v2/other/manifests/1.0"
    response = client.send("PUT", target, image.manifest, Content_Type=image.media_type)
    assert (response.status, response.error_code) == (400, "MANIFEST_BLOB_UNKNOWN")
    missing = {each["digest"] for each in response.document["errors"][0]["detail"]}
    assert missing == set(image.blobs)


def test_an_index_with_missing_children_is_rejected(client: WireClient, image: Image) -> None:
    index = build_index([image])
    target = "/v2/app/manifests/all"
    response = client.send("PUT", target, index.manifest, Content_Type=index.media_type)
    assert (response.status, response.error_code) == (400, "MANIFEST_BLOB_UNKNOWN")
    assert put(client, image, image.digest) == 201
    response = client.send("PUT", target, index.manifest, Content_Type=index.media_type)
    assert response.status == 201


def test_foreign_layers_may_be_missing(registry: RegistryServer) -> None:
    foreign = build_layer(100, seed=1, urls=("https://example.com/layer",))
    for format_ in ("oci", "docker"):
        built = build_image([build_layer(100), foreign], format=format_)
        assert foreign.digest not in built.blobs
        push(built, registry.host, "windows", format_)


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"not json", OCI),
        (b"[]", OCI),
        (b'{"schemaVersion": 1}', OCI),
        (b'{"schemaVersion": 2}', OCI),
        (b'{"schemaVersion": 2, "config": {"digest": "sha256:1"}, "layers": []}', OCI),
        (b'{"schemaVersion": 2, "mediaType": "application/json"}', OCI),
        (b'{"schemaVersion": 2}', "application/json"),
    ],
)
def test_an_invalid_manifest_is_rejected(
    client: WireClient, content: bytes, content_type: str
) -> None:
    response = client.send("PUT", "/v2/app/manifests/1.0", content, Content_Type=content_type)
    assert (response.status, response.error_code) == (400, "MANIFEST_INVALID")


def test_a_manifest_of_4_mib_is_accepted_and_one_byte_more_is_not(
    client: WireClient, image: Image
) -> None:
    padded = image.manifest + b" " * (4 * 1024 * 1024 - len(image.manifest))
    assert put(client, image, "1.0", padded) == 201
    assert put(client, image, "1.0", padded + b" ") == 413


def test_a_manifest_with_a_digest_mismatch_is_rejected(client: WireClient, image: Image) -> None:
    target = "/v2/app/manifests/sha256:" + "0" * 64
    response = client.send("PUT", target, image.manifest, Content_Type=image.media_type)
    assert (response.status, response.error_code) == (400, "DIGEST_INVALID")


def test_unknown_repositories_and_unknown_manifests_have_different_codes(
    client: WireClient,
    image: Image,  # noqa: ARG001 - makes the repository
) -> None:
    assert client.send("GET", "/v2/none/manifests/1").error_code == "NAME_UNKNOWN"
    assert client.send("GET", "/v2/app/manifests/1").error_code == "MANIFEST_UNKNOWN"
    assert client.send("GET", "/v2/App/manifests/1").error_code == "NAME_INVALID"
    assert client.send("GET", "/v2/app/manifests/.1").error_code == "TAG_INVALID"


def test_deleting_a_tag_leaves_the_manifest(
    registry: RegistryServer, client: WireClient, image: Image
) -> None:
    put(client, image, "1.0")
    put(client, image, "1.1")
    assert client.send("DELETE", "/v2/app/manifests/1.0").status == 202
    assert registry.store.tags("app") == {"1.1": image.digest}
    assert client.send("DELETE", f"/v2/app/manifests/{image.digest}").status == 202
    assert registry.store.tags("app") == {}
    assert client.send("DELETE", "/v2/app/manifests/1.1").status == 404


def test_tags_are_listed_in_pages_by_link(registry: RegistryServer, client: WireClient) -> None:
    image = build_image([])
    for tag in ("c", "a", "b", "d", "e"):
        registry.store.put_manifest("app", tag, image.manifest, image.media_type)
    pages, target = [], "/v2/app/tags/list?n=2"
    while target:
        response = client.send("GET", target)
        pages.append(response.document["tags"])
        target = response.headers.get("link", "").partition(">")[0].lstrip("<")
    assert pages == [["a", "b"], ["c", "d"], ["e"]]
    assert client.send("GET", "/v2/app/tags/list?last=c").document["tags"] == ["d", "e"]
    assert client.send("GET", "/v2/app/tags/list?n=0").document["tags"] == []
    assert client.send("GET", "/v2/app/tags/list?n=x").status == 400
    assert client.send("GET", "/v2/none/tags/list").error_code == "NAME_UNKNOWN"


def test_referrers_are_listed_and_filtered_by_type(
    registry: RegistryServer, client: WireClient, image: Image
) -> None:
    put(client, image, "1.0")
    signature = build_artifact("application/x.signature", subject=image, annotations={"by": "me"})
    document = build_artifact("x", config=("application/x.sbom", b"{}"), subject=image)
    push(signature, registry.host, "app")
    push(document, registry.host, "app")
    target = f"/v2/app/referrers/{image.digest}"
    listed = client.send("GET", target)
    assert listed.headers["content-type"] == "application/vnd.oci.image.index.v1+json"
    assert [each["artifactType"] for each in listed.document["manifests"]] == [
        "application/x.signature",
        "application/x.sbom",
    ]
    assert listed.document["manifests"][0]["annotations"] == {"by": "me"}
    filtered = client.send("GET", f"{target}?artifactType=application/x.sbom")
    assert [each["digest"] for each in filtered.document["manifests"]] == [document.digest]
    assert filtered.headers["oci-filters-applied"] == "artifactType"
    nothing = client.send("GET", f"/v2/app/referrers/{signature.digest}")
    assert (nothing.status, nothing.document["manifests"]) == (200, [])


def test_a_put_with_a_subject_returns_oci_subject(client: WireClient, image: Image) -> None:
    referrer = build_image([], subject=image)
    document = json.loads(referrer.manifest) | {"config": json.loads(image.manifest)["config"]}
    response = client.send(
        "PUT", "/v2/app/manifests/r", json.dumps(document).encode(), Content_Type=OCI
    )
    assert (response.status, response.headers["oci-subject"]) == (201, image.digest)


def test_without_the_referrers_api_its_endpoint_is_not_found() -> None:
    with RegistryServer(referrers_api=False) as old:
        client = WireClient(old)
        subject = build_image([])
        push(build_artifact("application/x", subject=subject), old.host, "app", "a")
        assert client.send("GET", f"/v2/app/referrers/{subject.digest}").status == 404
        client.close()
