"""Streams of one image that find out at once whether a registry mounts blobs."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from local.images import build_image, build_layer, place
from local.registry import RegistryServer, SpecificationPolicy, Store
from local.registry import digests as stored
from tests.registry_clients import new_destination_client
from tests.waiting import MAX_WAIT_SECONDS

from ecr_image_replicator.copy.ports import BlobOutcome
from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.model.digests import Digest
from ecr_image_replicator.model.manifests import Descriptor
from ecr_image_replicator.model.references import parse_image_reference
from ecr_image_replicator.registry.destination import RegistryDestination
from ecr_image_replicator.registry.http.session import Session
from ecr_image_replicator.retries import Backoff, RetryPolicy, SharedPause


class _HeldMounts(SpecificationPolicy):
    """A registry that opens a session for every mount, for the first one not at once."""

    def __init__(self) -> None:
        self.is_held = threading.Event()
        self.may_respond = threading.Event()

    def may_mount(self, source: str, target: str, digest: stored.Digest, store: Store) -> bool:  # noqa: ARG002 - the policy's signature
        if not self.is_held.is_set():
            self.is_held.set()
            assert self.may_respond.wait(MAX_WAIT_SECONDS)
        return False


def test_a_blob_is_looked_for_if_another_showed_meanwhile_that_mounts_are_ignored() -> None:
    image = build_image([build_layer(1000)])
    policy, session = _HeldMounts(), Session(connections=2)
    with RegistryServer(policy=policy) as server, ThreadPoolExecutor(1) as pool:
        place(image, server.store, "app", "1")
        reference = parse_image_reference(f"{server.host}/app:2")
        client = new_destination_client(server.host, session, SharedPause())
        destination = RegistryDestination(reference, client, Backoff(RetryPolicy(), Deadline(60)))
        held, other = (
            Descriptor("application/octet-stream", Digest.of(content), len(content))
            for content in image.blobs.values()
        )

        outcome = pool.submit(destination.start_upload, held, mount_from=None)
        assert policy.is_held.wait(MAX_WAIT_SECONDS)
        assert destination.start_upload(other, mount_from=None) is BlobOutcome.SKIPPED
        policy.may_respond.set()

        assert outcome.result() is BlobOutcome.SKIPPED
        assert server.store.open_uploads == ()
        session.close()
