"""ECR Public on loopback: public.ecr.aws, its token service and its API."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

from local.denials import Denials
from local.ecr.authentication import EXPIRED_TOKEN, INVALID_TOKEN
from local.ecr.callers import Caller, CallerLookup
from local.ecr.control_plane import authenticate, read_parameters
from local.ecr.errors import AccessDeniedError, EcrError, json_response
from local.ecr.public_policy import PublicPolicy
from local.ecr.tokens import USER, AuthorizationTokens, Rejection
from local.images import Content, place
from local.permissions import Decision, IdentityPolicies, Permission
from local.registry import Access, ErrorCode, RegistryError, Store
from local.registry.application import RegistryApplication
from local.registry.authentication import parse_basic
from local.registry.context import RegistryContext
from local.registry.digests import Digest
from local.registry.redirects import SignedBlobStorage
from local.web import Application, Request, Response

HOSTS = ("public.ecr.aws", "ecr-public.aws.com")
API_HOSTS = ("api.ecr-public.us-east-1.amazonaws.com", "ecr-public.us-east-1.api.aws")
STORAGE_HOST = "d5l0dvt14r5h8.cloudfront.net"
_REGION = "us-east-1"
_TARGET = "SpencerFrontendService.GetAuthorizationToken"
_NEEDED_ACTIONS = ("ecr-public:GetAuthorizationToken", "sts:GetServiceBearerToken")
_TOKEN_PATHS = ("/token/", "/token")


class EcrPublic:
    """ECR Public's registry, token service and API, with all accounts' repositories.

    Pulls can be anonymous. `owners` has the account that can push below an alias, the first part
    of a repository's name. `denials` are the IAM actions that are denied.
    `anonymous_pulls_per_second` and `pulls_per_second` limit the GETs of manifests, None for no
    limit. `clock` returns seconds since 1970. `policies` are the identity policies of roles.
    """

    def __init__(
        self,
        find_caller: CallerLookup,
        *,
        clock: Callable[[], float] = time.time,
        policies: IdentityPolicies | None = None,
    ) -> None:
        self.policies = policies or IdentityPolicies()
        self.denials = Denials()
        self.store = Store()
        self.owners: dict[str, str] = {}
        self.anonymous_pulls_per_second: float | None = None
        self.pulls_per_second: float | None = None
        self.tokens = AuthorizationTokens(clock)
        self._find_caller = find_caller
        self._authentication = PublicAuthentication(self.tokens, clock)
        self._storage = SignedBlobStorage(self.store, prefix="/", clock=clock)
        context = RegistryContext(
            store=self.store,
            policy=PublicPolicy(self, self._authentication.caller, clock),
            absolute_locations=True,
            blob_storage=self._storage,
            storage_origin=f"https://{STORAGE_HOST}",
        )
        self._registry = RegistryApplication(context, self._authentication)

    @property
    def denied_actions(self) -> set[str]:
        """The IAM actions that are denied to all callers. Can be changed."""
        return self.denials.actions

    def permit(self, caller: Caller, action: str, resource: str = "*") -> None:
        """Check that a caller may perform an IAM action.

        Raises
        ------
        AccessDeniedError
            The caller lacks the permission.
        """
        decision = self.denials.take(action)
        if decision is None:
            decision = self.policies.decide(caller.arn, Permission(action, resource))
        if decision is not Decision.ALLOWED:
            is_explicit = decision is Decision.DENIED
            raise AccessDeniedError(caller.arn, action, resource, is_explicit=is_explicit)

    def close(self) -> None:
        """Delete the content."""
        self.store.close()

    def put(self, content: Content, repository: str, tag: str | None = None) -> Digest:
        """Store an image or index in a repository without a request."""
        return place(content, self.store, repository, tag)

    def expire_tokens(self) -> None:
        """Expire every password and token issued so far."""
        self.tokens.expire_all()
        self._authentication.expire_all()

    def application(self, host: str) -> Application | None:
        """Return the application for a host, None if it is not ECR Public's."""
        if host in HOSTS:
            return self._registry
        if host in API_HOSTS:
            return self._serve_api
        return self._storage.handle if host == STORAGE_HOST else None

    def _serve_api(self, request: Request) -> Response:
        try:
            return json_response(self._authorization_token(request))
        except EcrError as error:
            return error.response()

    def _authorization_token(self, request: Request) -> dict[str, Any]:
        caller = authenticate(request, _REGION, "ecr-public", self._find_caller)
        target = request.headers.get("x-amz-target", "")
        read_parameters(request)
        if target != _TARGET:
            raise EcrError("UnknownOperationException", f"no such operation: {target}", status=404)
        for action in _NEEDED_ACTIONS:
            self.permit(caller, action)
        issued = self.tokens.issue(caller, _REGION)
        data = {
            "authorizationToken": issued.authorization_token,
            "expiresAt": issued.expires_at,
        }
        return {"authorizationData": data}


class PublicAuthentication:
    """Bearer tokens of the registry's token service, anonymous or for a caller.

    For an invalid or expired token ECR Public sends 400 without a challenge.
    """

    def __init__(self, passwords: AuthorizationTokens, clock: Callable[[], float]) -> None:
        self._passwords = passwords
        self._clock = clock
        self._callers: dict[str, tuple[Caller | None, float]] = {}
        self._lock = threading.Lock()

    def authorize(self, request: Request, accesses: tuple[Access, ...]) -> None:
        """Accept any token for pulls and a caller's token for pushes; see `Authentication`."""
        caller = self.caller(request)
        if caller is None and any(access.action != "pull" for access in accesses):
            raise RegistryError(ErrorCode.DENIED, "Not Authorized")

    def caller(self, request: Request) -> Caller | None:
        """Return the caller of a request, None for an anonymous one.

        Raises
        ------
        RegistryError
            401 with a challenge without a token, 400 DENIED with an invalid one.
        """
        header = request.headers.get("authorization")
        if header is None:
            raise RegistryError(
                ErrorCode.UNAUTHORIZED,
                "Not Authorized",
                headers={"WWW-Authenticate": _challenge(request)},
            )
        scheme, _, token = header.partition(" ")
        with self._lock:
            caller, expires_at = self._callers.get(token.strip(), (None, None))
        if scheme.lower() != "bearer" or expires_at is None:
            raise RegistryError(ErrorCode.DENIED, INVALID_TOKEN, status=400)
        if expires_at <= self._clock():
            raise RegistryError(ErrorCode.DENIED, EXPIRED_TOKEN, status=400)
        return caller

    def serve(self, request: Request) -> Response | None:
        """Issue tokens: 200 with a token; 400 or 403 DENIED with an invalid password."""
        if request.path not in _TOKEN_PATHS:
            return None
        header = request.headers.get("authorization")
        if header is None:
            return self._issue(None)
        user, password = parse_basic(header) or ("", "")
        found = self._passwords.find_caller(user, password, _REGION)
        if found is Rejection.INVALID:
            return RegistryError(ErrorCode.DENIED, INVALID_TOKEN, status=400).response()
        if found is Rejection.EXPIRED:
            return RegistryError(ErrorCode.DENIED, EXPIRED_TOKEN, status=403).response()
        return self._issue(found)

    def expire_all(self) -> None:
        """Expire every token issued so far."""
        with self._lock:
            for token, (caller, _) in self._callers.items():
                self._callers[token] = caller, float("-inf")

    def _issue(self, caller: Caller | None) -> Response:
        token = secrets.token_urlsafe(64)
        with self._lock:
            self._callers[token] = caller, self._clock() + self._passwords.lifetime_seconds
        return Response(
            200, {"Content-Type": "application/json"}, json.dumps({"token": token}).encode()
        )


def _challenge(request: Request) -> str:
    service = request.origin.rpartition("/")[2]
    return f'Bearer realm="{request.origin}/token/",service="{service}",scope="{USER.lower()}"'
