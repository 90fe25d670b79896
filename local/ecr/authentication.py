"""Authentication to ECR's registries: HTTP Basic with the API's tokens, no token service."""

from __future__ import annotations

from local.ecr.callers import Caller
from local.ecr.quirks import EcrQuirks
from local.ecr.tokens import AuthorizationTokens, Rejection
from local.registry import Access, ErrorCode, RegistryError
from local.registry.authentication import parse_basic
from local.web import Request, Response

EXPIRED_TOKEN = "Your authorization token has expired. Reauthenticate and try again."  # noqa: S105 - words
INVALID_TOKEN = "Your Authorization Token is invalid."  # noqa: S105 - words


class EcrAuthentication:
    """Accepts the user `AWS` with a token of the registry's region."""

    def __init__(self, tokens: AuthorizationTokens, region: str, quirks: EcrQuirks) -> None:
        self._tokens = tokens
        self._region = region
        self._quirks = quirks

    def authorize(self, request: Request, accesses: tuple[Access, ...]) -> None:  # noqa: ARG002 - the policy checks permissions
        """Accept any valid token; see `Authentication`."""
        self.caller(request)

    def caller(self, request: Request) -> Caller:
        """Return the caller of a request.

        Raises
        ------
        RegistryError
            401 without a token, 400 DENIED with an invalid one, 403 (or 401) DENIED with an old
            one.
        """
        header = request.headers.get("authorization")
        if header is None:
            raise _NotAuthorizedError(request)
        credentials = parse_basic(header)
        if credentials is None:
            raise RegistryError(ErrorCode.DENIED, INVALID_TOKEN, status=400)
        found = self._tokens.find_caller(*credentials, self._region)
        if found is Rejection.INVALID:
            raise RegistryError(ErrorCode.DENIED, INVALID_TOKEN, status=400)
        if found is Rejection.EXPIRED:
            status = self._quirks.expired_token_status
            headers = {"WWW-Authenticate": _challenge(request)} if status == 401 else {}
            raise RegistryError(ErrorCode.DENIED, EXPIRED_TOKEN, status=status, headers=headers)
        return found

    def serve(self, request: Request) -> Response | None:  # noqa: ARG002 - signature of Authentication
        """Return None: there is no token service."""
        return None


class _NotAuthorizedError(RegistryError):
    """The challenge; its body is not the specification's JSON."""

    def __init__(self, request: Request) -> None:
        super().__init__(
            ErrorCode.UNAUTHORIZED,
            "Not Authorized",
            headers={"WWW-Authenticate": _challenge(request)},
        )

    def response(self) -> Response:
        headers = {"Content-Type": "text/plain; charset=utf-8", **self.headers}
        return Response(self.status, headers, f"{self.message}\n".encode())


def _challenge(request: Request) -> str:
    return f'Basic realm="{request.origin}/",service="ecr.amazonaws.com"'
