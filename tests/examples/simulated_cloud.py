"""Registries and AWS services for example stacks, and the handler of their custom resources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local.aws import DEFAULT_ACCOUNT
from local.ecr.hosts import parse_registry_host
from local.images import place
from local.registry import Store
from local.registry.application import RegistryApplication
from local.registry.authentication import BasicAuthentication, NoAuthentication
from local.registry.context import RegistryContext
from local.registry.policy import SpecificationPolicy

from ecr_image_replicator.model.references import ImageReference, parse_image_reference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.aws import LoopbackAws
    from local.images import Content
    from local.registry import Manifest
    from tests.functional.conftest import Function


class SimulatedCloud:
    """The loopback AWS, Docker Hub and any other registry, with their real host names."""

    def __init__(self, aws: LoopbackAws, function: Function) -> None:
        self.aws = aws
        self._function = function
        self._others: dict[str, Store] = {}

    def deploy(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        """Send the handler a Create event with these properties and return the response."""
        return self._function.send(
            {"RequestType": "Create", "ResourceProperties": dict(properties)}
        )

    def create(self, kind: str, name: str, properties: Mapping[str, Any], region: str) -> str:
        """Create a repository or a secret and return the value of its Ref."""
        if kind == "AWS::ECR::Repository":
            repository = str(properties.get("RepositoryName", name))
            registry = self.aws.ecr(region=region)
            if registry.find_repository(repository) is None:
                registry.create_repository(repository, **_mutability(properties))
            return repository
        if kind == "AWS::SecretsManager::Secret":
            return self.create_secret(name, properties["SecretString"], region)
        raise LookupError(f"{kind} is not supported")

    def create_secret(self, name: str, text: str, region: str) -> str:
        """Create a secret and return its ARN."""
        client = self.aws.client("secretsmanager", region=region)
        return str(client.create_secret(Name=name, SecretString=text)["ARN"])

    def put_object(self, bucket: str, key: str, content: bytes) -> str:
        """Put an object into a versioned bucket and return the version ID."""
        s3 = self.aws.client("s3")
        if bucket not in {each["Name"] for each in s3.list_buckets()["Buckets"]}:
            region = {"LocationConstraint": "eu-west-1"}
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=region)
            versioning = {"Status": "Enabled"}
            s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=versioning)
        return str(s3.put_object(Bucket=bucket, Key=key, Body=content)["VersionId"])

    def create_repository(self, name: str) -> Store:
        """Create the repository of ``host/repository:tag`` and return the registry's store."""
        reference = parse_image_reference(name)
        store = self._store(reference)
        place_of_ecr = parse_registry_host(reference.registry)
        if place_of_ecr is not None:
            self.aws.ecr(*place_of_ecr).open_repository(reference.repository)
        elif reference.repository not in store.repositories:
            store.create_repository(reference.repository)
        if reference.registry == "public.ecr.aws":
            alias = reference.repository.partition("/")[0]
            self.aws.public_ecr.owners[alias] = DEFAULT_ACCOUNT
        return store

    def push_image(self, name: str, content: Content) -> None:
        """Push an image to ``host/repository:tag``."""
        reference = parse_image_reference(name)
        place(content, self.create_repository(name), reference.repository, reference.tag)

    def require_login(self, host: str, user: str, password: str) -> None:
        """Require this login at a registry that is neither ECR nor Docker Hub."""
        self._add(host, {user: password})

    def manifest(self, name: str) -> Manifest:
        """Return the manifest of ``host/repository:tag`` or ``…@sha256:…``."""
        reference = parse_image_reference(name)
        return self._store(reference).manifest(reference.repository, reference.selector)

    def close(self) -> None:
        """Delete the content of the other registries."""
        for store in self._others.values():
            store.close()

    def _store(self, reference: ImageReference) -> Store:
        host = reference.registry
        if host == "docker.io":
            return self.aws.docker_hub.store
        if host == "public.ecr.aws":
            return self.aws.public_ecr.store
        place_of_ecr = parse_registry_host(host)
        if place_of_ecr is not None:
            return self.aws.ecr(*place_of_ecr).store
        if host not in self._others:
            self._add(host, {})
        return self._others[host]

    def _add(self, host: str, users: Mapping[str, str]) -> None:
        store = self._others[host] = Store()
        context = RegistryContext(store=store, policy=SpecificationPolicy())
        authentication = BasicAuthentication(users) if users else NoAuthentication()
        self.aws.add_host(host, RegistryApplication(context, authentication))


def _mutability(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Translate CloudFormation's mutability properties to ECR's API."""
    prefix = "ImageTagMutabilityExclusionFilter"
    return {
        "imageTagMutability": properties.get("ImageTagMutability", "MUTABLE"),
        "imageTagMutabilityExclusionFilters": [
            {"filter": each[f"{prefix}Value"], "filterType": each[f"{prefix}Type"]}
            for each in properties.get(f"{prefix}s", [])
        ],
    }
