"""Hostile token services and challenges, and tokens that expire."""

from __future__ import annotations

import pytest
from local.certificates import CertificateAuthority
from local.images import build_image, build_layer, push
from local.registry import BearerAuthentication, RegistryServer
from local.web import LoopbackServer, Request, Response
from tests.faults.fault_proxy import Exchange, Fault, FaultProxy, pass_on
from tests.faults.hostile_servers import HostilePair, respond, send_endlessly

from ecr_image_replicator.copy.progress import LoggedProgress
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import (
    ProtocolError,
    RegistryError,
)
from ecr_image_replicator.replicate import Replicator
from ecr_image_replicator.request.parsing import parse_request
from ecr_image_replicator.request.settings import Settings


def test_an_endless_token_response_is_read_up_to_the_limit(pair: HostilePair) -> None:
    realm = f'Bearer realm="http://{pair.source.host}/token"'
    forever = send_endlessly(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536)

    def choose(exchange: Exchange) -> Fault:
        is_token = exchange.request.target.startswith("/token")
        return forever if is_token else respond(b"", 401, WWW_Authenticate=realm)

    pair.source.reset_exchanges(choose)
    pair.assert_fails(ProtocolError, "more than 1048576 bytes")


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
def test_a_hostile_challenge_is_parsed_in_linear_time(pair: HostilePair, challenge: str) -> None:
    pair.source_responds("/manifests/", respond(b"", 401, WWW_Authenticate=challenge), "HEAD")
    pair.assert_fails(RegistryError, "its challenge names no supported|access denied")


def test_credentials_are_not_sent_over_plain_http_for_a_registry_with_tls(
    small_trust_store: CertificateAuthority,
) -> None:
    requested: list[str] = []

    def challenge(_: Request) -> Response:
        realm = f'Bearer realm="http://{tokens.host}/token"'
        return Response(401, {"WWW-Authenticate": realm})

    def issue(request: Request) -> Response:
        requested.append(request.path)
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
        with pytest.raises(ProtocolError, match="blocked token service from https to http"):
            replicator.replicate(request, deadline=Deadline(120), progress=LoggedProgress())
        replicator.close()
    assert requested == []


def test_a_token_that_expires_during_a_blob_is_fetched_again() -> None:
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
            source.reset_exchanges(
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
            replicator.replicate(request, deadline=Deadline(120), progress=LoggedProgress())
            replicator.close()
            tokens = [each for each in signed.requests if each.path == "/token"]
            ranges = [each.headers.get("range") for each in signed.requests if layer in each.path]
    assert destination.store.tags("copy") == {"1": image.digest}
    assert len(tokens) == 2
    # cut, resumed with the old token unless it was seen to expire, resumed with the new one
    resumed = "bytes=20000-"
    assert ranges in ([None, resumed, resumed], [None, resumed])


def _copy(source: RegistryServer, target: RegistryServer) -> None:
    for digest in source.store.blobs("app"):
        target.store.put_blob("app", source.store.read_blob("app", digest))
    for manifest in source.store.manifests("app"):
        target.store.put_manifest("app", "1", manifest.content, manifest.media_type)
