"""Cancellation of upload sessions, also after everything else was stopped."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from ecr_image_replicator.deadline import Deadline
from ecr_image_replicator.errors import ReplicationError, TransientError
from ecr_image_replicator.registry.error_bodies import describe_response
from ecr_image_replicator.registry.http.messages import HttpRequest, HttpResponse
from ecr_image_replicator.registry.http.session import ConnectionTimeoutError
from ecr_image_replicator.registry.transport import MAX_BODY_BYTES

if TYPE_CHECKING:
    from ecr_image_replicator.registry.authentication import AuthenticatedTransport
    from ecr_image_replicator.registry.http.urls import Url

_LOGGER: Final = logging.getLogger(__name__)
#: For everything that a cancellation takes, so that no server delays the error that is reported.
_SECONDS: Final = 5.0


class UploadCanceller:
    """Cancels upload sessions that nobody completes (distribution project, "Canceling an Upload").

    Parameters
    ----------
    transport
        Of the sessions' repository.
    """

    def __init__(self, transport: AuthenticatedTransport) -> None:
        self._transport = transport

    def cancel(self, url: Url) -> None:
        """Send a DELETE, in 5 seconds; never raises.

        A registry that rejects it removes the session when that expires.
        """
        deadline = Deadline(_SECONDS)
        try:
            with deadline.enforced():
                self._delete_with_retry(url, deadline)
        except ReplicationError as error:
            _LOGGER.warning("an upload session was not cancelled: %s", error)

    def _delete_with_retry(self, url: Url, deadline: Deadline) -> None:
        try:
            self._delete(url, deadline)
        except ConnectionTimeoutError:
            raise  # it would only delay the error that is reported
        except TransientError:
            if not deadline.remaining_seconds:
                raise
            # a kept connection may have been cut together with the others
            self._delete(url, deadline)

    def _delete(self, url: Url, deadline: Deadline) -> None:
        request = HttpRequest("DELETE", url)
        streamed = self._transport.send(request, "cancel an upload", cleanup=deadline)
        content = self._transport.redact(streamed.read(MAX_BODY_BYTES))
        response = HttpResponse.of(streamed, content)
        if not 200 <= response.status < 300 and response.status != 404:
            _LOGGER.warning("an upload session was not cancelled: %s", describe_response(response))
