"""Tag lists of registries, including hostile ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from local.images import build_image, build_layer, place
from local.registry import BearerAuthentication, RegistryServer
from local.web import LoopbackServer, Request, Response

from ecr_image_replicator.copy.tag_ports import TagReader
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.endpoint_factory import EndpointFactory
from ecr_image_replicator.errors import (
    DeniedError,
    NotFoundError,
    ProtocolError,
    ReplicationError,
    Side,
)
from ecr_image_replicator.model.manifests import OCI_INDEX
from ecr_image_replicator.request.parsing import parse_request
from ecr_image_replicator.request.settings import Settings
from ecr_image_replicator.retries import Backoff, RetryPolicy

Serve = Callable[[Callable[[Request], Response]], LoopbackServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    started: list[LoopbackServer] = []

    def start(handle: Callable[[Request], Response]) -> LoopbackServer:
        server = LoopbackServer(handle)
        server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.close()


def _reader(host: str, **properties: Any) -> TagReader:
    request = parse_request(
        {"SrcImage": f"{host}/team/app:1", "DestImage": "d.example/app:1", **properties}
    )
    deadline = Deadline(120)
    endpoints = EndpointFactory(Settings(plain_http=("127.0.0.1",)))
    backoff = Backoff(RetryPolicy(1), deadline)
    return endpoints.open_tag_reader(request, Side.SOURCE, backoff, deadline)


def _json(document: Any, **headers: str) -> Response:
    return Response(
        200, {"Content-Type": "application/json", **headers}, json.dumps(document).encode()
    )


def test_every_page_of_the_tag_list_is_read(registries: Callable[..., RegistryServer]) -> None:
    registry = registries()
    image = build_image([build_layer(600, seed=1)])
    for number in range(2500):
        registry.store.put_manifest("team/app", f"v{number}", image.manifest, image.media_type)

    assert set(_reader(registry.host).list_tags()) == {f"v{number}" for number in range(2500)}
    assert [each.path for each in registry.requests] == ["/v2/team/app/tags/list"] * 3


def test_the_next_page_is_read_with_the_same_authorization(
    registries: Callable[..., RegistryServer],
) -> None:
    registry = registries(
        authentication=BearerAuthentication({"ann": "hunter2"}, anonymous_pull=False),
        absolute_locations=True,
    )
    image = build_image([build_layer(600, seed=1)])
    for number in range(1001):
        registry.store.put_manifest("team/app", f"v{number}", image.manifest, image.media_type)

    assert len(_reader(registry.host, SrcCreds="ann:hunter2").list_tags()) == 1001


@pytest.mark.parametrize("document", [{"tags": None}, {"tags": []}, {"name": "team/app"}, {}])
def test_a_tag_list_may_be_empty_null_or_absent(serve: Serve, document: dict[str, Any]) -> None:
    assert _reader(serve(lambda _: _json(document)).host).list_tags() == ()


@pytest.mark.parametrize("document", [[], {"tags": "latest"}, {"tags": [1]}, "<html>", None])
def test_a_body_that_is_not_a_tag_list_is_an_invalid_response(serve: Serve, document: Any) -> None:
    server = serve(lambda _: _json(document))
    with pytest.raises(ProtocolError, match="invalid response"):
        _reader(server.host).list_tags()


def test_a_web_page_instead_of_a_tag_list_names_the_host(serve: Serve) -> None:
    server = serve(lambda _: Response(200, {"Content-Type": "text/html"}, b"<html></html>"))
    with pytest.raises(
        ProtocolError,
        match=rf"{server.host} is not a container registry \(200 OK, text/html\)\. Check the host",
    ):
        _reader(server.host).list_tags()


def test_pages_that_link_to_each_other_are_an_invalid_response(serve: Serve) -> None:
    def handle(request: Request) -> Response:
        last = request.parameter("last")
        following = "b" if last == "a" else "a"
        return _json(
            {"tags": ["a", "b"]},
            Link=f'</v2/team/app/tags/list?n=1000&last={following}>; rel="next"',
        )

    with pytest.raises(ProtocolError, match="repeat or do not end"):
        _reader(serve(handle).host).list_tags()


def test_endless_pages_without_new_tags_are_an_invalid_response(serve: Serve) -> None:
    pages = iter(range(100_000))

    def handle(_: Request) -> Response:
        link = f'</v2/team/app/tags/list?last={next(pages)}>; rel="next"'
        return _json({"tags": ["a"]}, Link=link)

    server = serve(handle)
    with pytest.raises(ProtocolError, match="repeat or do not end"):
        _reader(server.host).list_tags()
    assert len(server.requests) < 10


def test_a_tag_list_stops_after_100000_tags(serve: Serve) -> None:
    def handle(request: Request) -> Response:
        last = int(request.parameter("last") or 0)
        tags = [f"v{number}" for number in range(last, last + 10_000)]
        return _json(
            {"tags": tags}, Link=f'</v2/team/app/tags/list?last={last + 10_000}>; rel="next"'
        )

    server = serve(handle)
    with pytest.raises(ProtocolError, match="more than 100000 tags"):
        _reader(server.host).list_tags()
    assert len(server.requests) == 11


def test_an_endless_list_of_long_names_is_rejected(serve: Serve) -> None:
    def handle(request: Request) -> Response:
        last = int(request.parameter("last") or 0)
        name = f"{last}" + "x" * (8 * 1024 * 1024)
        return _json({"tags": [name]}, Link=f'</v2/team/app/tags/list?last={last + 1}>; rel="next"')

    server = serve(handle)
    with pytest.raises(ProtocolError, match="longer than 33554432 bytes"):
        _reader(server.host).list_tags()
    assert len(server.requests) == 4


@pytest.mark.parametrize("value", ["[]", "{}", "0"])
def test_a_list_that_needs_much_more_memory_than_its_text_is_rejected(
    serve: Serve, value: str
) -> None:
    content = f'{{"tags": [{",".join([value] * 500_000)}]}}'.encode()
    server = serve(lambda _: Response(200, {"Content-Type": "application/json"}, content))
    with pytest.raises(ProtocolError, match="too many JSON values"):
        _reader(server.host).list_tags()


def test_a_million_tags_in_one_response_are_an_error(serve: Serve) -> None:
    content = json.dumps({"tags": [f"version-{number:09}" for number in range(1_000_000)]})
    server = serve(lambda _: Response(200, {"Content-Type": "application/json"}, content.encode()))
    with pytest.raises(ReplicationError):
        _reader(server.host).list_tags()


def test_a_next_page_on_another_host_is_an_error(serve: Serve) -> None:
    other = serve(lambda _: _json({"tags": ["stolen"]}))
    link = f'<{other.url}/v2/team/app/tags/list>; rel="next"'
    server = serve(lambda _: _json({"tags": ["a"]}, Link=link))
    with pytest.raises(ProtocolError, match="another host"):
        _reader(server.host).list_tags()
    assert not other.requests


@pytest.mark.parametrize(("status", "kind"), [(404, NotFoundError), (403, DeniedError)])
def test_the_status_of_a_tag_list_determines_the_error(
    serve: Serve, status: int, kind: type[ReplicationError]
) -> None:
    with pytest.raises(kind):
        _reader(serve(lambda _: Response(status)).host).list_tags()


def test_an_existing_tag_is_looked_up_with_head_only(
    registries: Callable[..., RegistryServer],
) -> None:
    registry = registries()
    image = build_image([build_layer(600, seed=1)])
    place(image, registry.store, "team/app", "1")
    reader = _reader(registry.host)

    found = reader.find("1")

    assert found is not None
    assert str(found.digest) == image.digest
    assert found.media_type == image.media_type
    assert [each.method for each in registry.requests] == ["HEAD"]
    assert reader.find("2") is None


@pytest.mark.parametrize("status", [403, 404])
def test_a_rejected_head_is_followed_by_a_get(serve: Serve, status: int) -> None:
    digest = f"sha256:{'0' * 64}"

    def respond(request: Request) -> Response:
        if request.method == "HEAD":
            return Response(status)
        headers = {"Content-Type": OCI_INDEX, "Docker-Content-Digest": digest}
        return Response(200, headers, b"{}")

    found = _reader(serve(respond).host).find("1")

    assert found is not None
    assert (str(found.digest), found.media_type) == (digest, OCI_INDEX)


def test_the_error_for_a_digest_names_the_reference_with_its_digest() -> None:
    with RegistryServer(authentication=BearerAuthentication({}, anonymous_pull=False)) as server:
        digest = f"sha256:{'0' * 64}"
        with pytest.raises(DeniedError, match=f"^cannot read {server.host}/team/app@{digest}: "):
            _reader(server.host).find(digest)
