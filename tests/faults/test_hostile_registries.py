"""Registries that mean harm: each of their ways has a bound and ends in a sentence."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from local.certificates import CertificateAuthority
from local.images import Image, build_image, build_layer, push
from local.registry import BearerAuthentication, RegistryServer
from local.web import LoopbackServer, Request, Response
from tests.faults.fault_proxy import Exchange, Fault, FaultProxy, Message, pass_on

from replicator.deadline import Deadline
from replicator.errors import (
    DigestMismatchError,
    InvalidManifestError,
    OutOfTimeError,
    ProtocolError,
    ReplicationError,
)
from replicator.progress import LoggedProgress
from replicator.registry import wires
from replicator.registry.wires import Reach
from replicator.replication import Replicator
from replicator.request import parse_request
from replicator.settings import Settings

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
SHA = "sha256:" + "0" * 64


@dataclass
class Ends:
    """A source that can be made hostile, and a destination that can."""

    source_registry: RegistryServer
    destination_registry: RegistryServer
    source: FaultProxy
    destination: FaultProxy
    image: Image
    replicator: Replicator

    def replicate(self, *, seconds: float = 20, **properties: Any) -> None:
        request = parse_request(
            {
                "SrcImage": f"{self.source.host}/app:1",
                "DestImage": f"{self.destination.host}/copy:1",
                "RetryConfigs": {"numAttempts": 2, "baseDelay": 0},
                **properties,
            }
        )
        self.replicator.replicate(request, deadline=Deadline(seconds), progress=LoggedProgress())

    def fail(self, kind: type[ReplicationError], sentence: str, **more: Any) -> None:
        with pytest.raises(kind, match=sentence):
            self.replicate(**more)
        assert self.destination_registry.store.tags("copy") == {}
        assert self.destination_registry.store.open_uploads == ()

    def source_answers(self, part: str, fault: Fault, method: str = "GET") -> None:
        self.source.start_over(_where(part, method, fault))

    def destination_answers(self, part: str, fault: Fault, method: str) -> None:
        self.destination.start_over(_where(part, method, fault))

    def source_has(self, manifest: Mapping[str, Any] | bytes, media_type: str = MANIFEST) -> None:
        """Serve a manifest that no decent registry would have taken."""
        content = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
        self.source.start_over(_where("/manifests/", "", answer(content, media_type=media_type)))


@pytest.fixture
def ends() -> Iterator[Ends]:
    with (
        RegistryServer() as source,
        RegistryServer() as destination,
        FaultProxy(source.host) as before_source,
        FaultProxy(destination.host) as before_destination,
    ):
        image = build_image([build_layer(2000)])
        push(image, source.host, "app", "1")
        replicator = Replicator(
            Settings(streams=2, plain_http=("127.0.0.1",), stall_timeout_seconds=5)
        )
        yield Ends(source, destination, before_source, before_destination, image, replicator)
        replicator.close()
        assert not before_source.defects + before_destination.defects


def _where(part: str, method: str, fault: Fault) -> Callable[[Exchange], Fault]:
    def choose(exchange: Exchange) -> Fault:
        is_meant = part in exchange.request.target and exchange.request.method.startswith(method)
        return fault if is_meant else pass_on

    return choose


def answer(body: bytes = b"", status: int = 200, *, media_type: str = "", **headers: str) -> Fault:
    def strike(exchange: Exchange) -> None:
        exchange.read_body()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if media_type:
            named["Content-Type"] = media_type
        lines = [f"HTTP/1.1 {status} Hostile", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in named.items()]
        sent = b"" if exchange.request.method == "HEAD" else body
        exchange.send(Message("\r\n".join([*lines, "", ""]).encode(), sent))

    return strike


def go_on_for_ever(head: bytes, more: bytes, *, pause_seconds: float = 0) -> Fault:
    def strike(exchange: Exchange) -> None:
        exchange.read_body()
        exchange.client.sendall(head)
        with contextlib.suppress(OSError):
            while True:
                exchange.client.sendall(more)
                time.sleep(pause_seconds)
        exchange.close()

    return strike


def test_an_endless_manifest_is_read_to_its_limit(ends: Ends) -> None:
    ends.source_answers("/manifests/", go_on_for_ever(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536))
    ends.fail(ProtocolError, "more than 4194304 bytes where so many make no sense")


def test_an_endless_refusal_is_read_to_its_limit(ends: Ends) -> None:
    ends.source_answers("/blobs/", go_on_for_ever(b"HTTP/1.1 404 Not\r\n\r\n", b"x" * 65536))
    ends.fail(ProtocolError, "answered 404 with more than 1048576 bytes")


@pytest.mark.parametrize(
    ("head", "more"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 4096),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"1000\r\n" + b"x" * 4096 + b"\r\n",
        ),
    ],
)
def test_an_endless_blob_is_read_to_its_size(ends: Ends, head: bytes, more: bytes) -> None:
    ends.source_answers("/blobs/", go_on_for_ever(head, more))
    ends.fail(DigestMismatchError, "goes on after its end")


def test_a_blob_whose_length_is_announced_otherwise_is_not_read(ends: Ends) -> None:
    ends.source_answers("/blobs/", answer(b"x" * 99))
    ends.fail(DigestMismatchError, "has 99 bytes where the manifest says")


@pytest.mark.parametrize("length", ["-5", "many", "5, 5", "9" * 30])
def test_a_content_length_that_is_no_length_does_no_harm(ends: Ends, length: str) -> None:
    def strike(exchange: Exchange) -> None:
        body = exchange.forward().body
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode()
        exchange.client.sendall(head + body)
        exchange.close()

    ends.source_answers("/blobs/", strike)
    ends.fail(DigestMismatchError, "bytes where the manifest says")


def test_two_lengths_for_one_body_are_refused(ends: Ends) -> None:
    ends.source_answers("/blobs/", answer(b"x" * 5, content_length="6"))
    ends.fail(ProtocolError, "headers that contradict each other")


def test_redirects_without_end_are_followed_five_times(ends: Ends) -> None:
    numbers = iter(range(10**6))

    def strike(exchange: Exchange) -> None:
        location = f"{exchange.request.target}?{next(numbers)}"
        answer(b"", 307, Location=location)(exchange)

    ends.source_answers("/blobs/", strike)
    ends.fail(ProtocolError, "redirects without end", Platforms="all")
    assert len([each for each in ends.source.exchanges if "/blobs/" in each.target]) <= 12


@pytest.mark.parametrize("location", ["", "http://[", "ftp://example.com/x", "file:///etc/passwd"])
def test_a_redirect_to_nowhere_is_refused(ends: Ends, location: str) -> None:
    ends.source_answers("/manifests/", answer(b"", 307, Location=location))
    ends.fail(ProtocolError, "malformed URL|redirects without end")


# Where a public registry may not lead


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take three loopback addresses for a public, a private and a link-local one, with names."""
    names = {
        "public.example": "127.0.0.2",
        "elsewhere.example": "127.0.0.2",
        "private.example": "127.0.0.3",
        "local.example": "127.0.0.1",
    }
    reaches = {"127.0.0.2": Reach.PUBLIC, "127.0.0.3": Reach.PRIVATE}
    resolve = socket.getaddrinfo

    def find(host: str, *more: Any, **named: Any) -> Any:
        return resolve(names.get(host, host), *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", find)
    monkeypatch.setattr(wires, "reach_of", lambda ip: reaches.get(ip, Reach.LOCAL))


PLAIN = ("public.example", "elsewhere.example", "private.example", "local.example")


@dataclass
class Places:
    """A registry that is public by its address, and others that it leads to."""

    public: FaultProxy
    inward: FaultProxy
    destination: RegistryServer
    replicator: Replicator

    def replicate(self, source: str = "public.example", **properties: Any) -> None:
        request = parse_request(
            {
                "SrcImage": f"{source}:{_port(self.public)}/app:1",
                "DestImage": f"{self.destination.host}/copy:1",
                "RetryConfigs": {"numAttempts": 1, "baseDelay": 0},
                **properties,
            }
        )
        self.replicator.replicate(request, deadline=Deadline(20), progress=LoggedProgress())


def _port(proxy: FaultProxy) -> str:
    return proxy.host.partition(":")[2]


@pytest.fixture
def places(addresses: None) -> Iterator[Places]:  # noqa: ARG001 - by which it is reached
    with (
        RegistryServer() as source,
        RegistryServer() as destination,
        FaultProxy(source.host, address="127.0.0.2") as public,
        FaultProxy(source.host, address="0.0.0.0") as inward,  # noqa: S104 - any of loopback's
    ):
        push(build_image([build_layer(2000)]), source.host, "app", "1")
        replicator = Replicator(Settings(plain_http=(*PLAIN, "127.0.0.1"), stall_timeout_seconds=5))
        yield Places(public, inward, destination, replicator)
        replicator.close()


@pytest.mark.parametrize("host", ["private.example", "local.example"])
def test_a_name_that_a_public_registry_redirects_to_must_not_resolve_inward(
    places: Places, host: str
) -> None:
    url = f"http://{host}:{_port(places.inward)}/v2/app/blobs/{SHA}"
    places.public.start_over(_where("/blobs/", "GET", answer(b"", 307, Location=url)))
    with pytest.raises(ProtocolError, match=f"leads to {host}:.* inside a private network"):
        places.replicate()
    assert places.inward.exchanges == []


def test_a_name_that_resolves_inward_is_no_token_service(places: Places) -> None:
    realm = f'Bearer realm="http://local.example:{_port(places.inward)}/token"'
    places.public.start_over(_where("/v2/", "", answer(b"", 401, WWW_Authenticate=realm)))
    with pytest.raises(ProtocolError, match=r"leads to local\.example"):
        places.replicate(SrcCreds="ann:open-sesame")
    assert places.inward.exchanges == []


def test_a_name_that_resolves_inward_takes_no_upload(places: Places) -> None:
    location = f"http://private.example:{_port(places.inward)}/upload"
    places.public.start_over(_where("/uploads/", "POST", answer(b"", 202, Location=location)))
    with pytest.raises(ProtocolError, match=r"leads to private\.example"):
        places.replicate(
            DestImage=f"public.example:{_port(places.public)}/other:1",
        )
    assert places.inward.exchanges == []


def test_a_connection_kept_for_somebody_else_is_not_lent_to_a_public_registry(
    places: Places,
) -> None:
    url = f"http://private.example:{_port(places.inward)}/v2/app/manifests/1"
    destination = f"private.example:{_port(places.inward)}/team/copy:1"
    places.replicate(DestImage=destination)
    before = len(places.inward.exchanges)
    places.public.start_over(_where("/manifests/", "HEAD", answer(b"", 307, Location=url)))
    with pytest.raises(ProtocolError, match=r"leads to private\.example"):
        places.replicate()
    assert len(places.inward.exchanges) == before


def test_a_public_registry_may_lead_to_another_public_host(places: Places) -> None:
    def strike(exchange: Exchange) -> None:
        target = exchange.request.target
        url = f"http://elsewhere.example:{_port(places.public)}{target}?from=public"
        answer(b"", 307, Location=url)(exchange)

    def choose(exchange: Exchange) -> Fault:
        is_first = "/blobs/" in exchange.request.target and "?" not in exchange.request.target
        return strike if is_first else pass_on

    places.public.start_over(choose)
    places.replicate()
    assert places.destination.store.tags("copy")


def test_a_private_registry_may_lead_to_a_private_host_but_not_to_this_machine(
    places: Places,
) -> None:
    request: dict[str, Any] = {"SrcImage": f"private.example:{_port(places.inward)}/app:1"}
    for host, is_allowed in (("private.example", True), ("local.example", False)):
        url = f"http://{host}:{_port(places.inward)}"

        def choose(exchange: Exchange, url: str = url) -> Fault:
            target = exchange.request.target
            is_first = "/blobs/" in target and "?" not in target
            return answer(b"", 307, Location=f"{url}{target}?x") if is_first else pass_on

        places.inward.start_over(choose)
        image = f"{places.destination.host}/{host.partition('.')[0]}:1"
        if is_allowed:
            places.replicate(**request, DestImage=image)
        else:
            with pytest.raises(ProtocolError, match=r"leads to local\.example"):
                places.replicate(**request, DestImage=image)


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/latest", "http://10.0.0.1/x", "http://[::1]/x"]
)
@pytest.mark.usefixtures("addresses")
def test_an_inward_address_in_a_redirect_is_refused(places: Places, url: str) -> None:
    places.public.start_over(_where("/blobs/", "GET", answer(b"", 307, Location=url)))
    with pytest.raises(ProtocolError, match="leads, by a redirect, to the private address"):
        places.replicate()


# Heads


def test_a_header_of_megabytes_is_refused(ends: Ends) -> None:
    ends.source_answers("/manifests/", answer(b"", 200, X_Much="x" * 2**21), "HEAD")
    ends.fail(ProtocolError, "more headers than make sense")


def test_a_thousand_headers_are_refused(ends: Ends) -> None:
    many = {f"X-{number}": "x" for number in range(1000)}
    ends.source_answers("/manifests/", answer(b"", 200, **many), "HEAD")
    ends.fail(ProtocolError, "more headers than make sense")


def test_interim_answers_without_end_are_refused(ends: Ends) -> None:
    fault = go_on_for_ever(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
    ends.source_answers("/manifests/", fault, "HEAD")
    ends.fail(ProtocolError, "more headers than make sense")


def test_a_head_that_trickles_is_cut_when_the_time_is_over(ends: Ends) -> None:
    ends.source_answers(
        "/manifests/", go_on_for_ever(b"HTTP/1.1 200 OK\r\nX: ", b"x", pause_seconds=0.05), "HEAD"
    )
    ends.fail(OutOfTimeError, "there was no time left", seconds=0.6)


def test_a_body_that_trickles_is_cut_when_the_time_is_over(ends: Ends) -> None:
    layer = next(digest for digest, blob in ends.image.blobs.items() if blob != ends.image.config)
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(ends.image.blobs[layer])}\r\n\r\n".encode()
    ends.source_answers(layer, go_on_for_ever(head, b"x", pause_seconds=0.05))
    ends.fail(OutOfTimeError, "there was no time left", seconds=0.6)


# Manifests


def descriptor(media_type: str = LAYER, digest: str = SHA, size: Any = 10) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def manifest_of(*layers: dict[str, Any]) -> dict[str, Any]:
    config = descriptor(CONFIG)
    return {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [*layers]}


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        (descriptor(size=-1), r"layers\[0\] has no sensible size"),
        (descriptor(size=2**63), r"layers\[0\] has no sensible size"),
        (descriptor(size=1e9), r"layers\[0\] has no sensible size"),
        (descriptor(digest="md5:" + "0" * 32), "is not a digest"),
        (descriptor(digest="sha256:" + "0" * 63), "is not a digest"),
        (descriptor(digest="sha256:../../etc/passwd"), "is not a digest"),
    ],
)
def test_a_descriptor_that_cannot_be_meant_is_refused(
    ends: Ends, layer: dict[str, Any], sentence: str
) -> None:
    ends.source_has(manifest_of(layer))
    ends.fail(InvalidManifestError, sentence)


def test_a_layer_that_claims_exabytes_is_not_believed(ends: Ends) -> None:
    digest = next(iter(ends.image.blobs))
    document = manifest_of(descriptor(digest=digest, size=2**62))
    document["config"] = {**descriptor(CONFIG, digest), "size": len(ends.image.blobs[digest])}
    ends.source_has(document)
    ends.fail(ReplicationError, "bytes where the manifest says 4611686018427387904")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"[" * 200_000, "more parts than any image has"),
        (b"[" * 90_000, "is not valid JSON"),
        (b'{"a":' * 90_000, "is not valid JSON"),
        (b"[" + b"0," * 10**6 + b"0]", "more parts than any image has"),
        (b'{"schemaVersion": 2, "schemaVersion": 2}', "is not valid JSON"),
        (b'{"schemaVersion": ' + b"9" * 10**6 + b"}", "is not valid JSON"),
        (b'{"schemaVersion": NaN}', "is not valid JSON"),
        (b"\xff\xfe{}", "is not valid JSON"),
        (b'"text"', "is not a JSON object"),
    ],
)
def test_a_document_that_is_a_bomb_is_put_out(ends: Ends, content: bytes, sentence: str) -> None:
    ends.source_has(content)
    ends.fail(InvalidManifestError, sentence)


def serve_children(ends: Ends, make: Callable[[str], tuple[bytes, str]]) -> None:
    """Answer every manifest by what a function makes of its reference."""

    def strike(exchange: Exchange) -> None:
        reference = exchange.request.target.rpartition("/")[2]
        content, media_type = make(reference)
        answer(content, media_type=media_type)(exchange)

    ends.source.start_over(_where("/manifests/", "", strike))


def index_of(children: list[dict[str, Any]], padding: str = "") -> bytes:
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": children,
            "annotations": {"padding": padding},
        }
    ).encode()


def nested(levels: int, width: int, padding: str = "") -> tuple[bytes, dict[str, bytes]]:
    """Indexes in indexes, as deep and as wide as wanted: the outermost, and all by digest."""
    import hashlib  # noqa: PLC0415 - for this alone

    known: dict[str, bytes] = {}
    level = [index_of([], f"{padding}{number}") for number in range(width)]
    for _ in range(levels):
        children = []
        for content in level:
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            known[digest] = content
            children.append(descriptor(INDEX, digest, len(content)))
        level = [index_of(children)]
    return level[0], known


@pytest.mark.parametrize(
    ("levels", "width", "padding", "sentence"),
    [
        (6, 1, "", "nests deeper than 4"),
        (1, 1001, "", "more than 1000 manifests"),
        (1, 6, "x" * 3_500_000, "larger than 16777216 bytes together"),
    ],
)
def test_an_index_without_end_is_followed_to_its_limits(
    ends: Ends, levels: int, width: int, padding: str, sentence: str
) -> None:
    outermost, known = nested(levels, width, padding)
    serve_children(ends, lambda reference: (known.get(reference, outermost), INDEX))
    ends.fail(InvalidManifestError, sentence, Platforms="all")


def test_an_index_that_says_to_hold_itself_is_found_out(ends: Ends) -> None:
    content = index_of([descriptor(INDEX, SHA, 100)])
    serve_children(ends, lambda _: (content, INDEX))
    ends.fail(DigestMismatchError, f"the manifest {SHA} from .* hashes to", Platforms="all")


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip"])
def test_an_encoding_that_nobody_asked_for_is_refused(ends: Ends, encoding: str) -> None:
    ends.source_answers("/blobs/", answer(b"x", Content_Encoding=encoding))
    ends.fail(ProtocolError, "encoded a body although it was not asked to")


def test_a_digest_that_head_and_get_disagree_on_is_not_followed(ends: Ends) -> None:
    ends.source_answers("/manifests/", answer(b"", Docker_Content_Digest=SHA), "HEAD")
    ends.fail(ReplicationError, f"{SHA}.*no such image")


# Throttles and tokens


def test_a_pause_of_years_ends_this_time_and_spares_the_next(ends: Ends) -> None:
    ends.source_answers("/manifests/", answer(b"", 429, Retry_After="9" * 40), "HEAD")
    ends.fail(OutOfTimeError, "the next attempt would be in 999999999 seconds")
    ends.source.start_over(lambda _: pass_on)
    replicator = Replicator(Settings(plain_http=("127.0.0.1",)))
    ends.replicator.close()
    ends.replicator = replicator
    ends.replicate()


def test_a_token_service_that_answers_without_end_is_left(ends: Ends) -> None:
    realm = f'Bearer realm="http://{ends.source.host}/token"'
    forever = go_on_for_ever(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536)

    def choose(exchange: Exchange) -> Fault:
        is_token = exchange.request.target.startswith("/token")
        return forever if is_token else answer(b"", 401, WWW_Authenticate=realm)

    ends.source.start_over(choose)
    ends.fail(ProtocolError, "more than 1048576 bytes")


@pytest.mark.parametrize(
    "challenge",
    [
        "Bearer " + "a=" * 20_000,
        "Bearer " + 'realm="' + '\\"' * 20_000,
        "a " * 20_000,
        "," * 40_000,
        "Bearer realm=" + "=" * 40_000,
    ],
)
def test_a_challenge_that_is_a_puzzle_takes_no_time(ends: Ends, challenge: str) -> None:
    ends.source_answers("/manifests/", answer(b"", 401, WWW_Authenticate=challenge), "HEAD")
    ends.fail(ProtocolError, "another sign-in|no usable token service")


def test_credentials_are_not_sent_in_the_clear_for_a_registry_with_tls(
    small_trust_store: CertificateAuthority,
) -> None:
    asked: list[str] = []

    def challenge(_: Request) -> Response:
        realm = f'Bearer realm="http://{tokens.host}/token"'
        return Response(401, {"WWW-Authenticate": realm})

    def issue(request: Request) -> Response:
        asked.append(request.path)
        return Response(200, {}, b'{"token": "x"}')

    with (
        LoopbackServer(issue) as tokens,
        LoopbackServer(challenge, tls=small_trust_store.server_context()) as source,
        RegistryServer() as destination,
    ):
        replicator = Replicator(Settings(plain_http=(destination.host,)))
        request = parse_request(
            {
                "SrcImage": f"{source.host}/app:1",
                "SrcCreds": "ann:open-sesame",
                "DestImage": f"{destination.host}/copy:1",
            }
        )
        with pytest.raises(ProtocolError, match="wants the credentials sent without TLS"):
            replicator.replicate(request, deadline=Deadline(20), progress=LoggedProgress())
        replicator.close()
    assert asked == []


def test_a_token_that_runs_out_in_the_middle_is_fetched_again() -> None:
    authentication = BearerAuthentication()
    with RegistryServer() as store, RegistryServer() as destination:
        image = build_image([build_layer(40_000)])
        push(image, store.host, "app", "1")
        signed = RegistryServer(authentication=authentication)
        _copy(store, signed)
        with signed, FaultProxy(signed.host) as source:
            was_cut: list[bool] = []

            def cut(exchange: Exchange) -> None:
                exchange.send(exchange.forward(), 20_000)
                exchange.close()
                authentication.revoke_all()
                was_cut.append(True)

            layer = next(d for d, blob in image.blobs.items() if blob != image.config)
            source.start_over(
                lambda exchange: (
                    cut if layer in exchange.request.target and not was_cut else pass_on
                )
            )
            replicator = Replicator(Settings(plain_http=("127.0.0.1",)))
            request = parse_request(
                {
                    "SrcImage": f"{source.host}/app:1",
                    "DestImage": f"{destination.host}/copy:1",
                    "RetryConfigs": {"baseDelay": 0},
                }
            )
            replicator.replicate(request, deadline=Deadline(20), progress=LoggedProgress())
            replicator.close()
            tokens = [each for each in signed.requests if each.path == "/token"]
            ranges = [each.headers.get("range") for each in signed.requests if layer in each.path]
    assert destination.store.tags("copy") == {"1": image.digest}
    assert len(tokens) == 2
    # cut, resumed with the old token, resumed with the new one
    assert ranges == [None, "bytes=20000-", "bytes=20000-"]


def _copy(source: RegistryServer, target: RegistryServer) -> None:
    for digest in source.store.blobs("app"):
        target.store.put_blob("app", source.store.read_blob("app", digest))
    for manifest in source.store.manifests("app"):
        target.store.put_manifest("app", "1", manifest.content, manifest.media_type)
