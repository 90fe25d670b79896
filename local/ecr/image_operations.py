"""Operations on images (ECR API Reference)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local.ecr.errors import EcrError, invalid_parameter
from local.ecr.pages import page
from local.ecr.registry import EcrRegistry, descriptors_of
from local.registry import Manifest
from local.registry.digests import DigestError, parse_digest
from local.registry.routes import is_tag

_BATCH_LIMIT = 100
_REFERRERS_LIMIT = 50


def batch_get_image(registry: EcrRegistry, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return at most 100 manifests unchanged, and ignore the accepted media types."""
    repository = registry.repository(str(parameters.get("repositoryName"))).name
    images, failures = [], []
    for image_id in _image_ids(parameters):
        found = _find(registry, repository, image_id)
        if isinstance(found, dict):
            failures.append(found)
            continue
        identified = {"imageDigest": str(found.digest)}
        if "imageTag" in image_id:
            identified["imageTag"] = image_id["imageTag"]
        images.append(
            {
                "registryId": registry.account,
                "repositoryName": repository,
                "imageId": identified,
                "imageManifest": found.content.decode(),
                "imageManifestMediaType": found.media_type,
            }
        )
    return {"images": images, "failures": failures}


def describe_images(registry: EcrRegistry, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the details of the named images, or one page of all."""
    repository = registry.repository(str(parameters.get("repositoryName"))).name
    if parameters.get("imageIds"):
        details = []
        for image_id in _image_ids(parameters):
            found = _find(registry, repository, image_id)
            if isinstance(found, dict):
                raise EcrError("ImageNotFoundException", _not_found(image_id, repository, registry))
            details.append(_details(registry, repository, found))
        return {"imageDetails": details}
    wanted = (parameters.get("filter") or {}).get("tagStatus", "ANY")
    manifests = [
        each
        for each in registry.store.manifests(repository)
        if wanted == "ANY"
        or (wanted == "TAGGED") == bool(_tags_of(registry, repository, each.digest))
    ]
    return page(
        "imageDetails", [_details(registry, repository, each) for each in manifests], parameters
    )


def list_images(registry: EcrRegistry, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return one page of a repository's image IDs: one for each tag and each untagged digest."""
    repository = registry.repository(str(parameters.get("repositoryName"))).name
    tag_status = (parameters.get("filter") or {}).get("tagStatus", "ANY")
    if tag_status not in {"ANY", "TAGGED", "UNTAGGED"}:
        raise invalid_parameter("filter.tagStatus", "one of ANY, TAGGED, UNTAGGED")
    tags = registry.store.tags(repository)
    image_ids = [{"imageDigest": str(to), "imageTag": tag} for tag, to in sorted(tags.items())]
    untagged = [
        {"imageDigest": str(each.digest)}
        for each in registry.store.manifests(repository)
        if each.digest not in tags.values()
    ]
    wanted = {"ANY": image_ids + untagged, "TAGGED": image_ids, "UNTAGGED": untagged}[tag_status]
    return page("imageIds", wanted, parameters)


def batch_delete_image(registry: EcrRegistry, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Remove tags, and images by digest; an image is deleted together with its last tag.

    The last tag of an image that is also in an index cannot be removed (containers-roadmap#1567).
    """
    repository = registry.repository(str(parameters.get("repositoryName"))).name
    removed: list[dict[str, str]] = []
    failures: list[dict[str, Any]] = []
    for image_id in _image_ids(parameters):
        found = _find(registry, repository, image_id)
        if isinstance(found, dict):
            failures.append(found)
            continue
        by_tag = image_id.get("imageTag")
        parents = _parents(registry, repository, found.digest)
        tags = _tags_of(registry, repository, found.digest)
        is_last = by_tag is None or tags == [by_tag]
        if parents and is_last:
            reason = f"Requested image referenced by manifest list: {parents}"
            failures.append(_failure(image_id, "ImageReferencedByManifestList", reason))
        elif by_tag is not None:
            registry.store.delete_tag(repository, by_tag)
            removed.append({"imageDigest": str(found.digest), "imageTag": by_tag})
            if is_last:
                registry.store.delete_manifest(repository, found.digest)
        else:
            registry.store.delete_manifest(repository, found.digest)
            digest = str(found.digest)
            removed += [{"imageDigest": digest, "imageTag": tag} for tag in tags]
            removed += [{"imageDigest": digest}] if not tags else []
    return {"imageIds": removed, "failures": failures}


def list_image_referrers(registry: EcrRegistry, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return one page of the manifests whose subject is a digest."""
    repository = registry.repository(str(parameters.get("repositoryName"))).name
    digest = (parameters.get("subjectId") or {}).get("imageDigest")
    if not digest:
        raise EcrError("ValidationException", "subjectId.imageDigest is required")
    wanted = (parameters.get("filter") or {}).get("artifactTypes")
    referrers = [
        _referrer(each)
        for each in registry.store.manifests(repository)
        if (each.document.get("subject") or {}).get("digest") == digest
    ]
    chosen = [each for each in referrers if not wanted or each.get("artifactType") in wanted]
    return page("referrers", chosen, parameters, _REFERRERS_LIMIT)


def _image_ids(parameters: Mapping[str, Any]) -> list[dict[str, str]]:
    image_ids: list[dict[str, str]] = parameters.get("imageIds") or []
    if not 1 <= len(image_ids) <= _BATCH_LIMIT:
        raise invalid_parameter("imageIds", f"between 1 and {_BATCH_LIMIT} image ids")
    return image_ids


def _find(
    registry: EcrRegistry, repository: str, image_id: Mapping[str, str]
) -> Manifest | dict[str, Any]:
    """Return an image, or the failure that the API reports."""
    tag, digest = image_id.get("imageTag"), image_id.get("imageDigest")
    if tag is None and digest is None:
        return _failure(image_id, "MissingDigestAndTag", "an image id has a tag or a digest")
    if tag is not None and not is_tag(tag):
        return _failure(image_id, "InvalidImageTag", "Invalid image tag")
    try:
        reference = str(parse_digest(digest)) if digest is not None else str(tag)
    except DigestError:
        return _failure(image_id, "InvalidImageDigest", "Invalid image digest")
    found = registry.store.find_manifest(repository, reference)
    if found is None:
        return _failure(image_id, "ImageNotFound", "Requested image not found")
    if tag is not None and registry.store.tags(repository).get(tag) != found.digest:
        return _failure(image_id, "ImageTagDoesNotMatchDigest", "The tag is of another image")
    return found


def _failure(image_id: Mapping[str, str], code: str, reason: str) -> dict[str, Any]:
    return {"imageId": dict(image_id), "failureCode": code, "failureReason": reason}


def _not_found(image_id: Mapping[str, str], repository: str, registry: EcrRegistry) -> str:
    shown = ", ".join(f"{name}:'{image_id.get(name)}'" for name in ("imageDigest", "imageTag"))
    return (
        f"The image with imageId {{{shown}}} does not exist within the repository with name "
        f"'{repository}' in the registry with id '{registry.account}'"
    )


def _details(registry: EcrRegistry, repository: str, manifest: Manifest) -> dict[str, Any]:
    details: dict[str, Any] = {
        "registryId": registry.account,
        "repositoryName": repository,
        "imageDigest": str(manifest.digest),
        "imageSizeInBytes": sum(int(each.get("size", 0)) for each in descriptors_of(manifest)),
        "imagePushedAt": registry.pushed_at(repository, manifest.digest),
        "imageManifestMediaType": manifest.media_type,
        "imageStatus": "ARCHIVED" if manifest.digest in registry.quirks.archived else "ACTIVE",
    }
    tags = _tags_of(registry, repository, manifest.digest)
    if tags:
        details["imageTags"] = tags
    artifact_type = _artifact_type(manifest)
    if artifact_type:
        details["artifactMediaType"] = artifact_type
    subject = (manifest.document.get("subject") or {}).get("digest")
    if subject:
        details["subjectManifestDigest"] = subject
    return details


def _referrer(manifest: Manifest) -> dict[str, Any]:
    referrer: dict[str, Any] = {
        "digest": str(manifest.digest),
        "mediaType": manifest.media_type,
        "size": len(manifest.content),
        "artifactStatus": "ACTIVE",
    }
    artifact_type = _artifact_type(manifest)
    if artifact_type:
        referrer["artifactType"] = artifact_type
    if manifest.document.get("annotations"):
        referrer["annotations"] = manifest.document["annotations"]
    return referrer


def _artifact_type(manifest: Manifest) -> str | None:
    config = manifest.document.get("config") or {}
    return manifest.document.get("artifactType") or config.get("mediaType")


def _tags_of(registry: EcrRegistry, repository: str, digest: str) -> list[str]:
    return [tag for tag, to in registry.store.tags(repository).items() if to == digest]


def _parents(registry: EcrRegistry, repository: str, digest: str) -> list[str]:
    return [
        str(manifest.digest)
        for manifest in registry.store.manifests(repository)
        if any(each.get("digest") == digest for each in manifest.document.get("manifests") or [])
    ]
