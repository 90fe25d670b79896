"""AWS and Docker Hub on loopback, with their real host names, through one proxy.

A program with `LoopbackAws.environment` connects to `123456789012.dkr.ecr.eu-west-1.amazonaws.com`,
`sts.eu-west-1.amazonaws.com` or `registry-1.docker.io` on loopback with TLS, and to no other hosts.
"""

from __future__ import annotations

import contextlib
import functools
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from local.aws_services import ACCESS_KEY_ID, AwsServices
from local.certificates import CertificateAuthority
from local.dockerhub import DockerHub, HubUser
from local.ecr import Caller, EcrRegistry, EcrService
from local.ecr.hosts import parse_registry_host
from local.ecr.public import EcrPublic
from local.hosts import Hosts
from local.permissions import IdentityPolicies
from local.proxy import ConnectProxy, Tunnel
from local.running import Running
from local.web import AccessLogEntry, Application, LoopbackServer

DEFAULT_ACCOUNT = "123456789012"
DEFAULT_REGION = "eu-west-1"
_SECRET_ACCESS_KEY = "loopback/secret/key/which/opens/nothing"  # noqa: S105 - not a real secret


class LoopbackAws(Running):
    """ECR, ECR Public, Docker Hub, STS, Secrets Manager, S3, KMS and IAM. Runs inside `with`.

    `environment` has the variables for a program. `docker_hub` and `public_ecr` are registries,
    `ecr` returns any account's registry in any region. `clock` returns seconds since 1970, for
    tokens, rates and limits of all but moto's services. Port 0 is a free port for the proxy.
    `authority` signs the hosts' certificates; without one, one is created in a temporary directory.

    Raises
    ------
    OSError
        The port is in use.
    """

    def __init__(
        self,
        *,
        authority: CertificateAuthority | None = None,
        hub_users: dict[str, HubUser] | None = None,
        clock: Callable[[], float] = time.time,
        port: int = 0,
    ) -> None:
        with contextlib.ExitStack() as opened:
            if authority is None:
                directory = opened.enter_context(tempfile.TemporaryDirectory(prefix="loopback-"))
                authority = CertificateAuthority(Path(directory))
            self.authority = authority
            self.policies = IdentityPolicies()
            self.services = AwsServices(self.policies)
            find_caller = self.services.find_caller
            self._ecr = EcrService(find_caller, clock=clock, policies=self.policies)
            opened.callback(self._ecr.close)
            self.public_ecr = EcrPublic(find_caller, clock=clock, policies=self.policies)
            opened.callback(self.public_ecr.close)
            self.docker_hub = DockerHub(hub_users, clock)
            opened.callback(self.docker_hub.close)
            self._hosts = Hosts()
            for rule in (
                self._ecr.application,
                self.public_ecr.application,
                self.docker_hub.application,
                self.services.application,
            ):
                self._hosts.add(rule)
            self._server = LoopbackServer(self._hosts, tls=authority.any_name_context())
            opened.callback(self._server.close)
            self.proxy = ConnectProxy(self._target, port=port)
            opened.callback(self.proxy.close)
            self._opened = opened.pop_all()

    @property
    def environment(self) -> dict[str, str]:
        """The variables for a program, with an administrator's credentials."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
            "AWS_SECRET_ACCESS_KEY": _SECRET_ACCESS_KEY,
            "AWS_REGION": DEFAULT_REGION,
            "AWS_DEFAULT_REGION": DEFAULT_REGION,
            "AWS_CA_BUNDLE": str(self.authority.ca_file),
            "AWS_EC2_METADATA_DISABLED": "true",
            "HTTPS_PROXY": self.proxy.url,
            "NO_PROXY": "localhost,127.0.0.1",
            "REQUESTS_CA_BUNDLE": str(self.authority.ca_file),
            "SSL_CERT_FILE": str(self.authority.ca_file),
        }

    def ecr(self, account: str = DEFAULT_ACCOUNT, region: str = DEFAULT_REGION) -> EcrRegistry:
        """Return an account's registry in a region."""
        return self._ecr.registry(account, region)

    def authorization(self, account: str = DEFAULT_ACCOUNT, region: str = DEFAULT_REGION) -> str:
        """Return an account's Authorization header for a region's registries without a request."""
        caller = Caller(account, f"arn:aws:iam::{account}:root")
        return f"Basic {self._ecr.tokens.issue(caller, region).authorization_token}"

    def expire_tokens(self) -> None:
        """Expire every token and password that any registry has issued."""
        self._ecr.tokens.expire_all()
        self.public_ecr.expire_tokens()
        self.docker_hub.expire_tokens()

    def add_host(self, host: str, application: Application) -> None:
        """Serve an application at another host name."""
        self._hosts.add_names(application, host)

    def add_role(self, arn: str, *, external_id: str | None = None) -> str:
        """Allow a role to be assumed, with an external ID if one is given, and return its ARN."""
        self.services.roles[arn] = external_id
        return arn

    def environment_of(
        self,
        role_arn: str,
        policies: Sequence[Mapping[str, Any]],
        context: Mapping[str, str] | None = None,
    ) -> dict[str, str]:
        """Return the variables for a program that runs as a role.

        Its calls are denied unless its identity policies or a repository policy allow them.

        Parameters
        ----------
        policies
            Policy documents with their CloudFormation functions resolved.
        context
            Condition keys of every call: ``{"lambda:SourceFunctionArn": …}``.

        Raises
        ------
        UnsupportedPolicyError
            A document has an element that the evaluator does not support.
        """
        self.add_role(role_arn)
        session = self.client("sts").assume_role(RoleArn=role_arn, RoleSessionName="function")
        credentials = session["Credentials"]
        self.policies.attach(role_arn, policies, context)
        return {
            **self.environment,
            "AWS_ACCESS_KEY_ID": credentials["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": credentials["SecretAccessKey"],
            "AWS_SESSION_TOKEN": credentials["SessionToken"],
        }

    def client(
        self,
        service: str,
        *,
        region: str = DEFAULT_REGION,
        role: str | None = None,
        endpoint_url: str | None = None,
    ) -> Any:
        """Return a boto3 client for these services, as an administrator or as a role.

        A role that was not added is added.
        """
        from botocore.config import Config  # noqa: PLC0415 - slow to import, and not always needed

        key, secret, token = ACCESS_KEY_ID, _SECRET_ACCESS_KEY, None
        if role is not None:
            external_id = self.services.roles.setdefault(role, None)
            more = {"ExternalId": external_id} if external_id is not None else {}
            session = self.client("sts").assume_role(RoleArn=role, RoleSessionName="seed", **more)
            credentials = session["Credentials"]
            key, secret = credentials["AccessKeyId"], credentials["SecretAccessKey"]
            token = credentials["SessionToken"]
        return _session().client(
            service,
            region_name=region,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=token,
            endpoint_url=endpoint_url,
            verify=str(self.authority.ca_file),
            config=Config(proxies={"https": self.proxy.url}, retries={"total_max_attempts": 1}),
        )

    @property
    def requests(self) -> tuple[AccessLogEntry, ...]:
        """A snapshot of all requests to all hosts, in the order of their responses."""
        return self._server.requests

    def requests_to(self, *hosts: str | EcrRegistry) -> tuple[AccessLogEntry, ...]:
        """Return a snapshot of the requests to hosts, or to registries under any host name."""
        return tuple(
            entry for entry in self.requests if any(_is_host(entry.host, each) for each in hosts)
        )

    @property
    def tunnels(self) -> tuple[Tunnel, ...]:
        """All CONNECT requests to the proxy."""
        return self.proxy.tunnels

    def clear_requests(self) -> None:
        """Clear the lists of requests, tunnels and calls."""
        self._server.access_log.clear()
        self.proxy.clear_tunnels()
        self._ecr.clear_calls()
        self.services.clear_calls()

    def start(self) -> Self:
        """Accept connections; moto starts empty."""
        self.services.reset()
        self._server.start()
        self.proxy.start()
        return self

    def close(self) -> None:
        """Stop serving and delete all content. Can be called twice."""
        self._opened.close()

    def _target(self, host: str, port: int) -> int | None:
        return self._server.port if port == 443 and self._hosts.find(host) is not None else None


@functools.cache
def _session() -> Any:
    """Return the boto3 session of all clients, which reads each service's model once."""
    import boto3  # noqa: PLC0415 - slow to import, and not always needed

    return boto3.session.Session()


def _is_host(requested: str, host: str | EcrRegistry) -> bool:
    name = requested.partition(":")[0]
    if isinstance(host, EcrRegistry):
        return parse_registry_host(name) == (host.account, host.region)
    return name == host
