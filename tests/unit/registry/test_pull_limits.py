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
_MIRROR = "; official images are also at public.ecr.aws/docker/library."


def _response(status: int, content: bytes = b"", /, **headers: str) -> HttpResponse:
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
def test_pull_limit_headers_are_parsed(headers: dict[str, str], expected: PullLimit | None) -> None:
    assert parse_pull_limit(_response(200, b"", **headers)) == expected


@pytest.mark.parametrize(
    ("response", "registry", "login", "message"),
    [
        (
            _response(429, ratelimit_limit="100;w=21600", ratelimit_remaining="0;w=21600"),
            "docker.io",
            None,
            "cannot pull X: pull rate limit exceeded (429 Too Many Requests): 0 of 100 pulls per "
            "6 hours left. Set source_credentials to raise the limit, or wait up to 6 hours"
            + _MIRROR,
        ),
        (
            _response(
                429,
                ratelimit_limit="200;w=3600",
                ratelimit_remaining="0;w=3600",
                retry_after="720",
            ),
            "mirror.example",
            "the secret hub",
            (
                "cannot pull X: pull rate limit exceeded (429 Too Many Requests): 0 of 200 pulls "
                "per 1 hour left with the credentials in the secret hub. Wait 12 minutes, or use "
                "an account with a higher limit."
            ),
        ),
        (
            _response(429, ratelimit_limit="60;w=60", ratelimit_remaining="0;w=60"),
            "mirror.example",
            None,
            (
                "cannot pull X: pull rate limit exceeded (429 Too Many Requests): 0 of 60 pulls "
                "per 1 minute left. Set source_credentials to raise the limit, or wait up to "
                "1 minute."
            ),
        ),
        (
            _response(
                429,
                ratelimit_limit="9;w=7200",
                ratelimit_remaining="0;w=7200",
                retry_after="1",
            ),
            "mirror.example",
            None,
            (
                "cannot pull X: pull rate limit exceeded (429 Too Many Requests): 0 of 9 pulls "
                "per 2 hours left. Set source_credentials to raise the limit, or wait 1 minute."
            ),
        ),
        (
            _response(429, ratelimit_limit="9;w=604800", ratelimit_remaining="0;w=604800"),
            "mirror.example",
            None,
            (
                "cannot pull X: pull rate limit exceeded (429 Too Many Requests): 0 of 9 pulls "
                "per 168 hours left. Set source_credentials to raise the limit, or wait up to "
                "168 hours."
            ),
        ),
        (
            _response(429, _HUB_BODY),
            "docker.io",
            None,
            "cannot pull X: pull rate limit exceeded (429 Too Many Requests, TOOMANYREQUESTS: You "
            "have reached your pull rate limit.). Set source_credentials to raise the limit, or "
            "wait some hours" + _MIRROR,
        ),
    ],
)
def test_the_error_has_the_limit_and_the_time_to_wait(
    response: HttpResponse, registry: str, login: str | None, message: str
) -> None:
    error = pull_limit_error(response, "pull X", Side.SOURCE, registry, login)

    assert str(error) == message


@pytest.mark.parametrize(
    ("response", "registry"),
    [
        (_response(429), "docker.io"),
        (_response(429, _HUB_BODY), "123456789012.dkr.ecr.eu-west-1.amazonaws.com"),
        (_response(429, ratelimit_limit="100;w=60", ratelimit_remaining="3;w=60"), "docker.io"),
        (_response(429, ratelimit_remaining="0", retry_after="30"), "registry.gitlab.com"),
        (_response(429, ratelimit_remaining="0;w=60", retry_after="60"), "mirror.example"),
        (_response(503, ratelimit_limit="100;w=60", ratelimit_remaining="0;w=60"), "docker.io"),
        (_response(200, ratelimit_limit="100;w=60", ratelimit_remaining="0;w=60"), "docker.io"),
    ],
)
def test_a_transient_throttle_is_not_a_pull_limit_error(
    response: HttpResponse, registry: str
) -> None:
    assert pull_limit_error(response, "pull X", Side.SOURCE, registry, None) is None


@pytest.mark.parametrize("window", ["", "²", "soon", "-1", "0", "9" * 5000])
def test_an_invalid_window_is_ignored(window: str) -> None:
    response = _response(429, ratelimit_limit=f"100;w={window}", ratelimit_remaining="0")

    error = pull_limit_error(response, "pull X", Side.SOURCE, "docker.io", "SrcCreds")

    assert "0 of 100 pulls" in str(error)
