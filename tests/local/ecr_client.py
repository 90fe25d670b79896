"""A signed-in client of one ECR registry."""

from __future__ import annotations

import base64
from typing import Any

from local.aws import DEFAULT_REGION, LoopbackAws
from local.ecr import EcrRegistry
from local.images import Image, build_image, build_layer
from local.registry.digests import digest_of
from tests.local.wire_client import WireClient, WireResponse, with_digest

REPOSITORY = "team/app"


def sign_in(aws: LoopbackAws, *, region: str = DEFAULT_REGION, role: str | None = None) -> str:
    """Return the Authorization header of a new token."""
    response = aws.client("ecr", region=region, role=role).get_authorization_token()
    return "Basic " + str(response["authorizationData"][0]["authorizationToken"])


def password_of(authorization: str) -> str:
    return base64.b64decode(authorization.partition(" ")[2]).decode().partition(":")[2]


def small_image(seed: int = 0, **options: Any) -> Image:
    return build_image([build_layer(1000, seed)], **options)


class EcrClient:
    """One signed-in connection to a registry's host."""

    def __init__(
        self, client: WireClient, authorization: str, repository: str = REPOSITORY
    ) -> None:
        self.client = client
        self.authorization = authorization
        self.repository = repository

    def send(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> WireResponse:
        target = path if path.startswith("/v2/") else f"/v2/{self.repository}/{path}"
        headers["Authorization"] = self.authorization
        return self.client.send(method, target, body, chunked=False, **headers)

    def push_blob(self, content: bytes) -> WireResponse:
        started = self.send("POST", "blobs/uploads/")
        assert started.status == 202, started.body
        return self.send("PUT", upload_target(started, digest_of(content)), content)

    def push_blobs(self, image: Image) -> None:
        for content in image.blobs.values():
            assert self.push_blob(content).status == 201

    def put_manifest(self, image: Any, reference: str | None = None) -> WireResponse:
        path = f"manifests/{reference or image.digest}"
        return self.send("PUT", path, image.manifest, Content_Type=image.media_type)


def upload_target(response: WireResponse, digest: str | None = None) -> str:
    """Return the path of an upload's Location, which is an absolute URL in ECR."""
    location = response.headers["location"]
    assert location.startswith("https://")
    path = "/" + location.split("/", 3)[3]
    return with_digest(path, digest) if digest else path


def repository_in(registry: EcrRegistry, image: Image | None = None, **settings: Any) -> Image:
    """Create the repository, push an image with the tag `1` and return the image."""
    registry.create_repository(REPOSITORY, **settings)
    content = image or small_image()
    registry.put(content, REPOSITORY, "1")
    return content
