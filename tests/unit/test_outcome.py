from __future__ import annotations

from tests.unit.builders import blob, digest_of

from ecr_image_replicator.copy.results import TransferReport
from ecr_image_replicator.model.platforms import Platform
from ecr_image_replicator.model.references import ImageReference
from ecr_image_replicator.outcome import Outcome
from ecr_image_replicator.referrers.copying import FoundReferrer, ReferrersReport

DIGEST, FIRST, SECOND = digest_of(b"root"), digest_of(b"1"), digest_of(b"2")


def _outcome(*, changed: bool = True) -> Outcome:
    return Outcome(
        destination=ImageReference("quay.io", "team/app", "v1"),
        digest=DIGEST,
        media_type="application/x",
        platforms=(
            (Platform("linux", "amd64"), FIRST),
            (Platform("linux", "arm", "v7"), SECOND),
            (Platform("windows", "amd64", "", "10.0.1"), SECOND),
            (Platform("windows", "amd64", "", "10.0.2"), SECOND),
        ),
        changed=changed,
        report=TransferReport(3, 2, 1, 77),
        duration_seconds=1.23456,
    )


def test_the_physical_id_has_destination_tag_and_digest() -> None:
    assert _outcome().physical_resource_id == f"quay.io/team/app:v1@{DIGEST}"


def test_all_attributes_are_strings() -> None:
    assert _outcome().attributes() == {
        "ImageDigest": str(DIGEST),
        "ImageUri": f"quay.io/team/app@{DIGEST}",
        "TaggedUri": "quay.io/team/app:v1",
        "RepositoryUri": "quay.io/team/app",
        "RepositoryName": "team/app",
        "ImageTag": "v1",
        "MediaType": "application/x",
        "Platforms": "linux/amd64,linux/arm/v7,windows/amd64",
        "Changed": "true",
        "BlobsCopied": "3",
        "BlobsMounted": "2",
        "BlobsSkipped": "1",
        "BytesCopied": "77",
        "DurationSeconds": "1.235",
        "Digest.amd64": str(FIRST),
        "Digest.armv7": str(SECOND),
    }


def test_an_unchanged_image_has_changed_false() -> None:
    assert _outcome(changed=False).attributes()["Changed"] == "false"


def test_referrers_are_counted_and_the_first_rejected_are_listed() -> None:
    rejected = [FoundReferrer(DIGEST, blob(b"%d" % number)) for number in range(9)]
    report = ReferrersReport(copied=[FoundReferrer(DIGEST, blob(b"sbom"))], refused=rejected)
    values = _outcome()._replace(referrers=report).attributes()
    assert (values["ReferrersCopied"], values["ReferrersRefused"]) == ("1", "9")
    assert values["RefusedReferrers"].split(",") == [
        str(digest_of(b"%d" % number)) for number in range(8)
    ]
