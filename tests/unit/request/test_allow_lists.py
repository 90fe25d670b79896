from __future__ import annotations

import pytest
from tests.unit.builders import FakeClock, digest_of

from ecr_image_replicator.copy.progress import LoggedProgress
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import NotAllowedError, RequestError
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.allow_lists import AllowLists
from ecr_image_replicator.request.parsing import parse_request, parse_untagging
from ecr_image_replicator.request.settings import Settings

ECR = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"


def check(source: str, destination: str, *, sources: str = "", destinations: str = "") -> None:
    request = parse_request({"SrcImage": source, "DestImage": destination})
    AllowLists.parse(sources, destinations).check(request)


@pytest.mark.parametrize(
    ("sources", "source"),
    [
        ("", "anything.example/a:1"),
        ("docker.io", "nginx:1"),
        ("index.docker.io", "nginx:1"),
        ("docker.io", "registry-1.docker.io/library/nginx:1"),
        ("quay.io, ghcr.io", "ghcr.io/team/app:1"),
        ("GHCR.io", "ghcr.io/team/app:1"),
        ("*.dkr.ecr.eu-west-1.amazonaws.com", f"{ECR}/team/app:1"),
        ("registry.example:5000", "registry.example:5000/a:1"),
        ("registry.example:*", "registry.example:5000/a:1"),
        ("[::1]:5000", "[::1]:5000/a:1"),
        ("*", "anything.example:444/a:1"),
        ("*", "s3://any-images/app.tar"),
        ("s3://team-*", "s3://team-images/app.tar"),
    ],
)
def test_a_listed_source_is_allowed(sources: str, source: str) -> None:
    check(source, "quay.io/a:1", sources=sources)


@pytest.mark.parametrize(
    ("sources", "source"),
    [
        ("docker.io", "quay.io/nginx:1"),
        ("quay.io", "quay.io.evil.example/a:1"),
        ("quay.io", "quay.io:444/a:1"),
        ("quay.io", "sub.quay.io/a:1"),
        ("*.example.com", "example.com/a:1"),
        ("quayxio", "quay.io/a:1"),
        ("quay.io", "quayxio.example/quay.io/a:1"),
        ("registry.example:5000", "registry.example/a:1"),
        ("10.*", "169.254.169.254/a:1"),
        ("docker.io,s3://team-images", "s3://other-images/app.tar"),
        ("*.example.com", "s3://images.example.com/app.tar"),
        ("*-images", "s3://other-images/app.tar"),
    ],
)
def test_an_unlisted_source_is_not_allowed(sources: str, source: str) -> None:
    with pytest.raises(NotAllowedError, match=r"source .* is not allowed: ALLOWED_SOURCE_HOSTS"):
        check(source, "quay.io/a:1", sources=sources)


@pytest.mark.parametrize(
    ("destinations", "destination"),
    [
        ("", "anything.example/a:1"),
        (ECR, f"{ECR}/any/repository:1"),
        (f"{ECR}/team-*", f"{ECR}/team-a:1"),
        (f"{ECR}/team-*", f"{ECR}/team-a/app:1"),
        (f"{ECR}/team/app", f"{ECR}/team/app:1"),
        ("docker.io/library/*", "docker.io/nginx:1"),
        ("*.dkr.ecr.eu-west-1.amazonaws.com/team/*", f"{ECR}/team/app:1"),
    ],
)
def test_a_listed_destination_is_allowed(destinations: str, destination: str) -> None:
    check("nginx:1", destination, destinations=destinations)


@pytest.mark.parametrize(
    ("destinations", "destination"),
    [
        (f"{ECR}/team-*", f"{ECR}/other:1"),
        (f"{ECR}/team/app", f"{ECR}/team/app2:1"),
        (f"{ECR}/team/app", f"{ECR}/team/app/sub:1"),
        (f"{ECR}/team.app", f"{ECR}/teamxapp:1"),
        (f"{ECR}/team-*", "999999999999.dkr.ecr.eu-west-1.amazonaws.com/team-a:1"),
        ("quay.io/a, ghcr.io/b", "quay.io/b:1"),
    ],
)
def test_an_unlisted_destination_is_not_allowed(destinations: str, destination: str) -> None:
    with pytest.raises(
        NotAllowedError, match=r"destination .* is not allowed: ALLOWED_DESTINATIONS"
    ):
        check("nginx:1", destination, destinations=destinations)


@pytest.mark.parametrize("sources", ["https://quay.io", "quay.io/a", "a b", "quay.io:http", "?"])
def test_an_invalid_source_pattern_is_rejected(sources: str) -> None:
    with pytest.raises(RequestError, match=r"invalid ALLOWED_SOURCE_HOSTS: "):
        AllowLists.parse(sources, "")


@pytest.mark.parametrize("destinations", ["https://quay.io/a", "quay.io/", "quay.io/A", "/a"])
def test_an_invalid_destination_pattern_is_rejected(destinations: str) -> None:
    with pytest.raises(RequestError, match=r"invalid ALLOWED_DESTINATIONS: "):
        AllowLists.parse("", destinations)


def test_the_error_shows_at_most_10_patterns() -> None:
    sources = ",".join(f"r{number}.example" for number in range(12))
    with pytest.raises(NotAllowedError, match=r"r9\.example and 2 more"):
        check("nginx:1", "quay.io/a:1", sources=sources)


def test_no_request_is_sent_for_a_source_that_is_not_allowed() -> None:
    settings = Settings.from_environment({"ALLOWED_SOURCE_HOSTS": "docker.io"})
    # an unused port: a request would fail
    request = parse_request({"SrcImage": "127.0.0.1:1/a:1", "DestImage": "127.0.0.1:1/b:1"})
    replicator = Replicator(settings)
    with pytest.raises(NotAllowedError):
        replicator.replicate(
            request, deadline=Deadline(10, clock=FakeClock()), progress=LoggedProgress()
        )
    replicator.close()


def test_no_tag_is_removed_at_a_destination_that_is_not_allowed() -> None:
    settings = Settings.from_environment({"ALLOWED_DESTINATIONS": "quay.io"})
    properties = {"SrcImage": "a:1", "DestImage": "127.0.0.1:1/b:1", "OnDelete": "Untag"}
    request = parse_untagging(f"127.0.0.1:1/b:1@{digest_of(b'image')}", properties)
    assert request is not None
    replicator = Replicator(settings)
    with pytest.raises(NotAllowedError):
        replicator.untag(request, deadline=Deadline(10, clock=FakeClock()))
    replicator.close()
