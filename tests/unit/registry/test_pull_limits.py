from __future__ import annotations

import json

import pytest

from ecr_image_replicator.errors import Side
from ecr_image_replicator.registry.http.messages import HttpResponse
from ecr_image_replicator.registry.http.urls import parse_url
from ecr_image_replicator.registry.pull_limits import PullLimit, parse_pull_limit, pull_limit_error

_HUB_BODY = json.dumps(
    {
        "errors": [
            {
                "code": "TOOMANYREQUESTS",
                "message": "You have reached your pull rate limit.",
            }
        ]
    }
).encode()
_HINT = "no credentials were given, source_credentials takes them"
_MIRROR = "; official images are also at public.ecr.aws/docker/library"


def _answer(status: int, content: bytes = b"", /, **headers: str) -> HttpResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpResponse(status, named, content, parse_url("https://registry-1.docker.io/v2/"))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (
            {
                "ratelimit_limit": "100;w=21600",
                "ratelimit_remaining": "76;w=21600",
                "docker_ratelimit_source": "192.0.2.7",
            },
            PullLimit(100, 76, 21600, "192.0.2.7"),
        ),
        ({"ratelimit_limit": "100"}, PullLimit(100, None, None, "")),
        ({"ratelimit_remaining": "0"}, PullLimit(None, 0, None, "")),
        ({"ratelimit_limit": "many;w=soon", "ratelimit_remaining": "-1"}, None),
        ({}, None),
    ],
)
def test_the_headers_of_a_limit_are_read(
    headers: dict[str, str], expected: PullLimit | None
) -> None:
    assert parse_pull_limit(_answer(200, b"", **headers)) == expected


@pytest.mark.parametrize(
    ("answer", "registry", "login", "sentence"),
    [
        (
            _answer(429, ratelimit_limit="100;w=21600", ratelimit_remaining="0;w=21600"),
            "docker.io",
            "",
            (
                "the source registry docker.io allows 100 pulls in 6 hours and 0 are left; it "
                f"opens again within 6 hours; {_HINT}{_MIRROR}"
            ),
        ),
        (
            _answer(
                429,
                ratelimit_limit="200;w=3600",
                ratelimit_remaining="0;w=3600",
                retry_after="720",
            ),
            "mirror.example",
            "the secret hub",
            (
                "the source registry mirror.example allows 200 pulls in 1 hour and 0 are left; it "
                "opens again in 12 minutes; the credentials from the secret hub were used"
            ),
        ),
        (
            _answer(429, _HUB_BODY),
            "docker.io",
            "",
            (
                "the source registry docker.io allows no more pulls for now, without saying how "
                f"many it does; it opens again within some hours; {_HINT}{_MIRROR}"
            ),
        ),
    ],
)
def test_at_the_limit_the_sentence_names_it_and_when_it_opens_again(
    answer: HttpResponse, registry: str, login: str, sentence: str
) -> None:
    error = pull_limit_error(answer, Side.SOURCE, registry, login)

    assert str(error) == sentence


@pytest.mark.parametrize(
    ("answer", "registry"),
    [
        (_answer(429), "docker.io"),
        (_answer(429, _HUB_BODY), "123456789012.dkr.ecr.eu-west-1.amazonaws.com"),
        (_answer(429, ratelimit_limit="100;w=60", ratelimit_remaining="3;w=60"), "docker.io"),
        (_answer(503, ratelimit_limit="100;w=60", ratelimit_remaining="0;w=60"), "docker.io"),
        (_answer(200, ratelimit_limit="100;w=60", ratelimit_remaining="0;w=60"), "docker.io"),
    ],
)
def test_a_throttle_that_passes_is_no_limit_that_is_used_up(
    answer: HttpResponse, registry: str
) -> None:
    assert pull_limit_error(answer, Side.SOURCE, registry, "") is None


@pytest.mark.parametrize("window", ["", "²", "soon", "-1", "0", "9" * 5000])
def test_a_window_that_makes_no_sense_does_not_hide_the_limit(window: str) -> None:
    answer = _answer(429, ratelimit_limit=f"100;w={window}", ratelimit_remaining="0")

    error = pull_limit_error(answer, Side.SOURCE, "docker.io", "SrcCreds")

    assert "docker.io allows 100 pulls" in str(error)
