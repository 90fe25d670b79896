"""Sources and destinations, and the permissions that they need."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Protocol

import aws_cdk as cdk
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam

from ecr_replicator.names import read_name

if TYPE_CHECKING:
    from aws_cdk import aws_ecr_assets as ecr_assets
    from aws_cdk import aws_s3 as s3
    from aws_cdk import aws_secretsmanager as secretsmanager
    from constructs import Construct

#: A private ECR registry's host and repository; a token is one private-use character.
_ECR_NAME: Final = re.compile(
    r"(?P<account>[0-9]{12}|[\ue000-\uf8ff])\.dkr[.-]ecr(?:-fips)?\.(?P<region>[^./]+)\.[^/:]+/"
    r"(?P<repository>[^:@]+)(?:[:@].*)?",
    re.DOTALL,
)
_PUBLIC_NAME: Final = re.compile(r"(?:public\.ecr\.aws|ecr-public\.aws\.com)/(?P<path>[^:@]+).*")
#: A key ends at a known suffix, at the version, or at the first colon.
_ARCHIVE: Final = re.compile(
    r"(?P<bucket>[^/]+)/"
    r"(?P<key>.+?\.(?:tar(?:\.(?:gz|zst|zstd|bz2|xz))?|t(?:gz|zst|bz2|bz|xz))(?=[:?]|$)|[^:?]+)"
    r"(?:[:?].*)?",
    re.DOTALL,
)
_CREATE_ACTIONS: Final = (
    "ecr:CreateRepository",
    "ecr:PutLifecyclePolicy",
    "ecr:SetRepositoryPolicy",
    "ecr:TagResource",
)
_S3_ACTIONS: Final = ("s3:GetObject", "s3:GetObjectVersion")
_PUBLIC_SIGN_IN: Final = ("ecr-public:GetAuthorizationToken", "sts:GetServiceBearerToken")
_PUBLIC_PUSH: Final = (
    "ecr-public:BatchCheckLayerAvailability",
    "ecr-public:CompleteLayerUpload",
    "ecr-public:InitiateLayerUpload",
    "ecr-public:PutImage",
    "ecr-public:UploadLayerPart",
)


class Image(Protocol):
    """A source or destination."""

    @property
    def uri(self) -> str:
        """The value of SrcImage or DestImage."""

    @property
    def creds(self) -> str | None:
        """The value of SrcCreds or DestCreds."""

    def grant_read(self, scope: Construct, role: iam.IGrantable) -> None:
        """Allow a role to read the image."""

    def grant_credentials(self, scope: Construct, role: iam.IGrantable) -> None:
        """Allow a role to read the secret in `creds`."""


class _Credentials:
    """Credentials for a registry; ECR and ECR Public need none."""

    def __init__(self, given: str | secretsmanager.ISecret | None) -> None:
        self._given = given

    @property
    def text(self) -> str | None:
        """The property's value."""
        if self._given is None or isinstance(self._given, str):
            return self._given
        return self._given.secret_arn

    def grant_read(self, scope: Construct, role: iam.IGrantable) -> None:
        """Allow a role to read the secret, if there is one."""
        if self._given is None:
            return
        if not isinstance(self._given, str):
            self._given.grant_read(role)
            return
        arn = _secret_arn(scope, self._given)
        if arn is None:
            cdk.Annotations.of(scope).add_warning_v2(
                "ecr-replicator:plain-credentials",
                "creds has a user name and password in plain text, visible to everybody who may "
                "read the stack. Store them in a secret and pass the secret.",
            )
            return
        _allow(role, ["secretsmanager:GetSecretValue"], [arn])


class DockerImageName:
    """An image in a registry.

    Parameters
    ----------
    name
        ``host/repository:tag`` or ``…@sha256:…``, such as ``DockerImageAsset.image_uri``; a short
        name is Docker Hub's.
    creds
        A secret, its ARN or name, or ``user:password``. The secret holds ``user:password`` or
        ``{"username": …, "password": …}``.
    """

    def __init__(self, name: str, creds: str | secretsmanager.ISecret | None = None) -> None:
        self._name = name
        self._credentials = _Credentials(creds)
        self._repository: ecr.IRepository | None = None

    @classmethod
    def from_asset(
        cls, asset: ecr_assets.DockerImageAsset | ecr_assets.TarballImageAsset
    ) -> DockerImageName:
        """Return the name of an image that the CDK builds or loads, and publishes."""
        name = cls(asset.image_uri)
        name._repository = asset.repository
        return name

    @classmethod
    def from_repository(cls, repository: ecr.IRepository, tag: str = "latest") -> DockerImageName:
        """Return the name of a tag in a repository of this stack or another."""
        name = cls(repository.repository_uri_for_tag(tag))
        name._repository = repository
        return name

    @property
    def uri(self) -> str:
        """The value of SrcImage or DestImage."""
        return f"docker://{self._name}"

    @property
    def creds(self) -> str | None:
        """The value of SrcCreds or DestCreds."""
        return self._credentials.text

    def find_repository(self, scope: Construct) -> ecr.IRepository | None:
        """Return the private ECR repository of this name, None for other registries.

        A repository that is named by a text is imported below `scope`.
        """
        if self._repository is not None:
            return self._repository
        name = read_name(scope, self._name)
        found = _ECR_NAME.fullmatch(name.text)
        if found is None:
            return None
        repository = name.token(found["repository"])
        region, account = name.token(found["region"]), name.token(found["account"])
        self._repository = ecr.Repository.from_repository_attributes(
            scope,
            "Repository",
            repository_arn=f"arn:{cdk.Aws.PARTITION}:ecr:{region}:{account}"
            f":repository/{repository}",
            repository_name=repository,
        )
        return self._repository

    def grant_read(self, scope: Construct, role: iam.IGrantable) -> None:
        """Allow a role to read the image, if it is in ECR."""
        repository = self.find_repository(scope)
        if repository is not None:
            repository.grant_pull(role)
        elif self._find_public_repository(scope) is not None:
            _allow(role, _PUBLIC_SIGN_IN, ["*"])
        else:
            self._warn_if_unknown(scope)

    def grant_write(self, scope: Construct, role: iam.IGrantable, *, deletes: bool) -> None:
        """Allow a role to push the image, and to remove its tags if `deletes`, if it is in ECR."""
        repository = self.find_repository(scope)
        if repository is not None:
            repository.grant_pull_push(role)
            repository.grant(role, "ecr:DescribeRepositories")
            if deletes:
                repository.grant(role, "ecr:BatchDeleteImage")
            return
        public = self._find_public_repository(scope)
        if public is None:
            self._warn_if_unknown(scope)
            return
        _allow(role, _PUBLIC_SIGN_IN, ["*"])
        more = ("ecr-public:BatchDeleteImage",) if deletes else ()
        # ECR Public exists in this partition only, and its ARNs have no region
        arn = f"arn:aws:ecr-public::{cdk.Aws.ACCOUNT_ID}:repository/{public}"
        _allow(role, (*_PUBLIC_PUSH, *more), [arn])

    def grant_create(self, scope: Construct, role: iam.IGrantable) -> None:
        """Allow a role to create the repository with its settings, if it is in private ECR."""
        repository = self.find_repository(scope)
        if repository is None:
            raise ValueError("create_repository needs a destination in private ECR.")
        for action in _CREATE_ACTIONS:
            repository.grant(role, action)

    def grant_credentials(self, scope: Construct, role: iam.IGrantable) -> None:
        """Allow a role to read the secret in `creds`."""
        self._credentials.grant_read(scope, role)

    def _find_public_repository(self, scope: Construct) -> str | None:
        """Return the name of an ECR Public repository, without the registry's alias."""
        name = read_name(scope, self._name)
        found = _PUBLIC_NAME.fullmatch(name.text)
        return name.token(found["path"].partition("/")[2]) if found else None

    def _warn_if_unknown(self, scope: Construct) -> None:
        name = read_name(scope, self._name)
        if name.unknown and name.text.startswith("\ue000"):
            cdk.Annotations.of(scope).add_warning_v2(
                "ecr-replicator:unknown-registry",
                "the registry of this image is known at deployment only, so no permission is "
                "granted. Use add_to_principal_policy if it is ECR.",
            )


class S3ArchiveName:
    """An image in a tarball in S3.

    Parameters
    ----------
    p
        ``bucket/key``, a ``?versionId=…`` included if need be.
    ref
        Which image of the archive: ``repository:tag`` or ``@`` and its position; None when it has
        one only.
    creds
        Taken for the sake of those who move here; S3 is read with the function's role.
    """

    def __init__(
        self, p: str, ref: str | None = None, creds: str | secretsmanager.ISecret | None = None
    ) -> None:
        self._path = p
        self._reference = ref
        self._credentials = _Credentials(creds)
        self._bucket: s3.IBucket | None = None
        self._key = ""

    @classmethod
    def from_bucket(cls, bucket: s3.IBucket, key: str, ref: str | None = None) -> S3ArchiveName:
        """Return the name of an object in a bucket of this stack or another."""
        name = cls(f"{bucket.bucket_name}/{key}", ref)
        name._bucket, name._key = bucket, key.partition("?")[0]
        return name

    @property
    def uri(self) -> str:
        """The value of SrcImage."""
        reference = f":{self._reference}" if self._reference else ""
        return f"s3://{self._path}{reference}"

    @property
    def creds(self) -> str | None:
        """The value of SrcCreds."""
        return self._credentials.text

    def grant_read(self, scope: Construct, role: iam.IGrantable) -> None:
        """Allow a role to read the object, and to decrypt it if the bucket's key is known."""
        if self._bucket is not None:
            _allow(role, _S3_ACTIONS, [self._bucket.arn_for_objects(self._key)])
            if self._bucket.encryption_key is not None:
                self._bucket.encryption_key.grant_decrypt(role)
            return
        name = read_name(scope, self._path)
        found = _ARCHIVE.fullmatch(name.text)
        if found is None:
            raise ValueError(f"invalid archive {self._path!r}: expected bucket/key.")
        bucket, key = name.token(found["bucket"]), name.token(found["key"])
        arn = f"arn:{cdk.Aws.PARTITION}:s3:::{bucket}/{key}"
        _allow(role, _S3_ACTIONS, [arn])

    def grant_credentials(self, scope: Construct, role: iam.IGrantable) -> None:
        """Allow a role to read the secret in `creds`."""
        self._credentials.grant_read(scope, role)


def _secret_arn(scope: Construct, text: str) -> str | None:
    """Return a secret's ARN for a policy, None for a user name and password.

    A policy needs the whole ARN, so the six characters that Secrets Manager appends are matched by
    wildcards if they are unknown.
    """
    name = read_name(scope, text)
    if name.text.startswith("arn:"):
        is_whole = re.search(r"-[A-Za-z0-9]{6}$", name.text)
        return text if is_whole else f"{text}-??????"
    if ":" in name.text:
        return None
    if len(name.text) == 1 and name.unknown:
        # the Ref of a secret, which is its ARN
        return text
    return cdk.Stack.of(scope).format_arn(
        service="secretsmanager",
        resource="secret",
        resource_name=f"{text}-??????",
        arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
    )


def _allow(role: iam.IGrantable, actions: list[str] | tuple[str, ...], arns: list[str]) -> None:
    role.grant_principal.add_to_principal_policy(
        iam.PolicyStatement(actions=list(actions), resources=arns)
    )
