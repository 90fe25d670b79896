"""The construct `ECRDeployment`: the options of cdk-ecr-deployment's, and more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import aws_cdk as cdk
from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from ecr_replicator.function import FunctionOptions, FunctionSettings, share_function
from ecr_replicator.images import DockerImageName
from ecr_replicator.options import (
    check_choice,
    check_platforms,
    check_repository,
    check_retries,
    check_strings,
    check_tags,
)
from ecr_replicator.sharing import grantee

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aws_cdk import aws_ec2 as ec2
    from aws_cdk import aws_kms as kms

    from ecr_replicator.images import Image

_RESOURCE_TYPE: Final = "Custom::ECRImage"


class ECRDeployment(Construct):
    """An image in a repository, copied before the resources that use it are created.

    Parameters
    ----------
    src
        The source: a name in a registry, an archive in S3, or an asset that the CDK publishes.
    dest
        The destination repository and tag.
    image_arch
        One architecture of an index, as a list of one.
    copy_image_index
        Copy the whole index, byte for byte.
    arch_image_tags
        A tag for each architecture's own image, with `copy_image_index` or `platforms`.
    retry_configs
        ``numAttempts``, ``baseDelay`` and ``maxDelay`` (seconds) of each request.
    memory_limit
        The function's memory in MiB; 512 if absent.
    role
        The function's role; created if absent. It is granted access to the repositories, secrets
        and objects that the deployment names.
    vpc, vpc_subnets, security_groups
        The function's network.
    tags
        Additional tags of the same content.
    platforms
        ``os/architecture[/variant]``, several, or ``["all"]``.
    copy_referrers
        Copy signatures, SBOMs and attestations too; ``"required"`` fails if one is rejected.
    verify_signature_key
        Copy only what this key signed: a PEM public key, or an asymmetric KMS key or its ARN. An
        alias's ARN grants nothing.
    src_role, dest_role
        Roles that the function assumes for an endpoint, for example in other accounts. Their
        permissions are not changed; the function is only allowed to assume them.
    src_external_id, dest_external_id
        The external IDs that these roles require.
    create_repository
        Create a missing ECR repository: True, or its settings as in the reference.
    image_format
        ``docker`` or ``oci``: convert the manifest.
    compression
        ``gzip``, ``zstd`` or ``none``: for layers that an archive stores uncompressed.
    on_delete
        ``Retain`` or ``Untag``: with ``Untag``, the deletion removes tags that still point at the
        deployed content.
    dry_run
        Respond with the plan and log it; copy nothing.
    trigger
        Change this value to copy again although nothing else changed.
    service_token
        The ``ServiceToken`` output of the replicator's own stack. No function is created and no
        permission is granted: that stack's parameters and resource policies decide.
    settings
        Settings of the created function; see `FunctionSettings`. Stacks share it; see `sharing`.

    Raises
    ------
    ValueError
        An option is invalid, or options contradict each other.
    """

    def __init__(  # noqa: PLR0913 - the options of cdk-ecr-deployment, and more
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the name that every construct uses
        *,
        src: Image | ecr_assets.DockerImageAsset | ecr_assets.TarballImageAsset,
        dest: DockerImageName,
        image_arch: Sequence[str] | None = None,
        copy_image_index: bool | None = None,
        arch_image_tags: Mapping[str, str] | None = None,
        retry_configs: Mapping[str, float] | None = None,
        memory_limit: int | None = None,
        role: iam.IRole | None = None,
        vpc: ec2.IVpc | None = None,
        vpc_subnets: ec2.SubnetSelection | None = None,
        security_groups: Sequence[ec2.ISecurityGroup] | None = None,
        tags: Sequence[str] | None = None,
        platforms: Sequence[str] | None = None,
        copy_referrers: bool | str | None = None,
        verify_signature_key: str | kms.IKey | None = None,
        src_role: iam.IRole | None = None,
        dest_role: iam.IRole | None = None,
        src_external_id: str | None = None,
        dest_external_id: str | None = None,
        create_repository: bool | Mapping[str, Any] | None = None,
        image_format: str | None = None,
        compression: str | None = None,
        on_delete: str | None = None,
        dry_run: bool | None = None,
        trigger: str | None = None,
        service_token: str | None = None,
        settings: FunctionSettings | None = None,
    ) -> None:
        super().__init__(scope, id)
        check_platforms(image_arch, copy_image_index, arch_image_tags, platforms)
        check_strings("tags", tags)
        check_tags("tags", tags or ())
        check_tags("arch_image_tags", (arch_image_tags or {}).values())
        check_choice("copy_referrers", copy_referrers, (True, False, "required"))
        check_choice("image_format", image_format, ("docker", "oci"))
        check_choice("compression", compression, ("gzip", "zstd", "none"))
        check_choice("on_delete", on_delete, ("Retain", "Untag"))
        check_retries(retry_configs)
        check_repository(create_repository)
        if isinstance(src, (ecr_assets.DockerImageAsset, ecr_assets.TarballImageAsset)):
            src = DockerImageName.from_asset(src)
        self._destination = dest
        self._grantee: iam.IGrantable | None = None
        if service_token is None:
            function = share_function(
                cdk.Stack.of(self),
                FunctionOptions(
                    memory_limit,
                    role,
                    vpc,
                    vpc_subnets,
                    tuple(security_groups or ()),
                    settings or FunctionSettings(),
                ),
            )
            service_token = function.function_arn
            self._grantee = grantee(cdk.Stack.of(self), function)
            self._grant(src, dest, src_role, dest_role, deletes=on_delete == "Untag")
            if create_repository and dest_role is None:
                dest.grant_create(self, self._owned)
        elif settings or role or vpc or memory_limit:
            raise ValueError(
                "service_token cannot be combined with settings, role, vpc or memory_limit: "
                "the function exists already."
            )
        if verify_signature_key is not None:
            verify_signature_key = self._allow_verification(verify_signature_key)
        # cdk-ecr-deployment's child has another name: CloudFormation can change neither the type
        # nor the ServiceToken of a resource, so a stack that migrates needs a new one
        self._resource = cdk.CustomResource(
            self,
            "Image",
            resource_type=_RESOURCE_TYPE,
            service_token=service_token,
            properties=_given(
                SrcImage=src.uri,
                SrcCreds=src.creds,
                SrcRoleArn=src_role.role_arn if src_role else None,
                SrcExternalId=src_external_id,
                DestImage=dest.uri,
                DestCreds=dest.creds,
                DestRoleArn=dest_role.role_arn if dest_role else None,
                DestExternalId=dest_external_id,
                DestTags=list(tags or ()),
                ImageArch=image_arch[0] if image_arch else None,
                Platforms=list(platforms or ()),
                CopyImageIndex=copy_image_index,
                ArchImageTags=dict(arch_image_tags or {}),
                CopyReferrers=copy_referrers,
                VerifySignatureKey=verify_signature_key,
                CreateRepository=create_repository,
                Format=image_format,
                Compression=compression,
                RetryConfigs=dict(retry_configs or {}),
                OnDelete=on_delete,
                DryRun=dry_run,
                Trigger=trigger,
            ),
        )
        if self._grantee is not None:
            # the policy in this stack; a function waits for its own policies itself
            self._resource.node.add_dependency(self._grantee)

    @property
    def image_digest(self) -> str:
        """The digest, ``sha256:…``: a token, so that whatever uses it waits for the copy."""
        # ECS and Lambda detect a digest by this prefix, which a token would hide
        hexadecimal = cdk.Fn.select(1, cdk.Fn.split(":", self.get_att("ImageDigest")))
        return f"sha256:{hexadecimal}"

    @property
    def image_uri(self) -> str:
        """``host/repository@sha256:…``: a token, so that whatever uses it waits for the copy."""
        return self.get_att("ImageUri")

    @property
    def image(self) -> ecs.ContainerImage:
        """The copied image for ECS containers; the task is allowed to pull it."""
        repository = self._destination.find_repository(self)
        if repository is None:
            return ecs.ContainerImage.from_registry(self.image_uri)
        return ecs.ContainerImage.from_ecr_repository(repository, self.image_digest)

    @property
    def image_code(self) -> lambda_.DockerImageCode:
        """The copied image for a `DockerImageFunction`; Lambda is allowed to pull it.

        Raises
        ------
        ValueError
            The destination is not ECR; Lambda runs images from ECR only.
        """
        repository = self._destination.find_repository(self)
        if repository is None:
            raise ValueError(
                "image_code: Lambda runs images from ECR only, and the destination is not ECR."
            )
        return lambda_.DockerImageCode.from_ecr(repository, tag_or_digest=self.image_digest)

    def get_att(self, name: str) -> str:
        """Return one of the resource's values, such as ``TaggedUri``."""
        return self._resource.get_att_string(name)

    def add_to_principal_policy(
        self, statement: iam.PolicyStatement
    ) -> iam.AddToPrincipalPolicyResult:
        """Grant the function more, such as decrypting with the key of a secret."""
        return self._principal.add_to_principal_policy(statement)

    @property
    def _principal(self) -> iam.IPrincipal:
        return self._owned.grant_principal

    @property
    def _owned(self) -> iam.IGrantable:
        if self._grantee is None:
            raise ValueError("With service_token the function belongs to another stack.")
        return self._grantee

    def _grant(
        self,
        src: Image,
        dest: DockerImageName,
        src_role: iam.IRole | None,
        dest_role: iam.IRole | None,
        *,
        deletes: bool,
    ) -> None:
        endpoints = ((src, "Source", src_role), (dest, "Destination", dest_role))
        for image, construct_id, other_role in endpoints:
            if other_role is not None:
                other_role.grant_assume_role(self._principal)
                continue
            side = Construct(self, construct_id)
            image.grant_credentials(side, self._owned)
            if image is dest:
                dest.grant_write(side, self._owned, deletes=deletes)
            else:
                image.grant_read(side, self._owned)

    def _allow_verification(self, key: str | kms.IKey) -> str:
        """Return the value of VerifySignatureKey; allow the function to read a KMS key."""
        if not isinstance(key, str):
            if self._grantee is not None:
                key.grant(self._principal, "kms:GetPublicKey")
            return key.key_arn
        if self._grantee is not None and key.startswith("arn:") and ":key/" in key:
            self.add_to_principal_policy(
                iam.PolicyStatement(actions=["kms:GetPublicKey"], resources=[key])
            )
        return key


def _given(**properties: Any) -> dict[str, Any]:
    """Drop options that were not given."""
    return {name: value for name, value in properties.items() if value not in (None, [], {})}
