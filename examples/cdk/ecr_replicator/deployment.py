"""The construct: `ECRDeployment`, with the surface of cdk-ecr-deployment's and more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import aws_cdk as cdk
from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from ecr_replicator.function import FunctionOptions, share_function
from ecr_replicator.images import DockerImageName

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aws_cdk import aws_ec2 as ec2
    from aws_cdk import aws_kms as kms

    from ecr_replicator.images import Image

_RESOURCE_TYPE: Final = "Custom::ECRImage"


class ECRDeployment(Construct):
    """An image, put into a repository before what uses it is made.

    Parameters
    ----------
    src
        The image: a name in a registry, a tarball in S3, or an asset that CDK publishes.
    dest
        Where it goes, and under which tag.
    image_arch
        One architecture of an index, in a list.
    copy_image_index
        The whole index, byte for byte.
    arch_image_tags
        A tag for each architecture's own image, with `copy_image_index`.
    retry_configs
        ``numAttempts``, ``baseDelay`` and ``maxDelay`` (seconds) for each request.
    memory_limit
        MiB of the function's memory, 512 if absent.
    role
        What the function runs as; a role that this construct makes if absent. Either is granted
        what the copy takes, on the repositories, secrets and objects that are named.
    vpc, vpc_subnets, security_groups
        Where the function's network interfaces are.
    tags
        Further tags of the same content.
    platforms
        ``os/architecture[/variant]``, several, or ``["all"]``.
    copy_referrers
        Signatures, SBOMs and attestations too; ``"required"`` fails where they cannot be stored.
    verify_signature_key
        Copy only what this key has signed: a public key in PEM, or an asymmetric KMS key.
    src_role, dest_role
        Roles, of other accounts for instance, that the function assumes for a side. What they may
        do is theirs to say: nothing is granted to the function for that side but to assume them.
    on_delete
        ``Retain`` or ``Untag``: remove the tags with the resource, if they still hold what it put.
    dry_run
        Only answer with what would be done, and log it; the copy stays to be made.
    trigger
        Whatever changes when the copy is to be made again, though its names stay the same.

    Raises
    ------
    ValueError
        Options contradict each other.
    """

    def __init__(  # noqa: PLR0913 - the surface of cdk-ecr-deployment, and more
        self,
        scope: Construct,
        id: str,  # noqa: A002 - every construct names it so
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
        on_delete: str | None = None,
        dry_run: bool | None = None,
        trigger: str | None = None,
    ) -> None:
        super().__init__(scope, id)
        _check(image_arch, copy_image_index, arch_image_tags, platforms)
        if isinstance(src, (ecr_assets.DockerImageAsset, ecr_assets.TarballImageAsset)):
            src = DockerImageName.from_asset(src)
        self._destination = dest
        self._function = share_function(
            self,
            FunctionOptions(memory_limit, role, vpc, vpc_subnets, tuple(security_groups or ())),
        )
        self._grant(src, dest, src_role, dest_role, deletes=on_delete == "Untag")
        if verify_signature_key is not None and not isinstance(verify_signature_key, str):
            verify_signature_key.grant(self._principal, "kms:GetPublicKey")
            verify_signature_key = verify_signature_key.key_arn
        # not the child's name in cdk-ecr-deployment: CloudFormation changes neither the type nor
        # the ServiceToken of a resource, so that a stack which moves here needs a new one
        self._resource = cdk.CustomResource(
            self,
            "Image",
            resource_type=_RESOURCE_TYPE,
            service_token=self._function.function_arn,
            properties=_given(
                SrcImage=src.uri,
                SrcCreds=src.creds,
                SrcRoleArn=src_role.role_arn if src_role else None,
                DestImage=dest.uri,
                DestCreds=dest.creds,
                DestRoleArn=dest_role.role_arn if dest_role else None,
                DestTags=list(tags or ()),
                ImageArch=image_arch[0] if image_arch else None,
                Platforms=list(platforms or ()),
                CopyImageIndex=copy_image_index,
                ArchImageTags=dict(arch_image_tags or {}),
                CopyReferrers=copy_referrers,
                VerifySignatureKey=verify_signature_key,
                RetryConfigs=dict(retry_configs or {}),
                OnDelete=on_delete,
                DryRun=dry_run,
                Trigger=trigger,
            ),
        )

    @property
    def image_digest(self) -> str:
        """What the tags point at: ``sha256:…``, a token that makes its user wait for the copy."""
        # told apart by its first seven characters, which a token would hide from ECS and Lambda
        hexadecimal = cdk.Fn.select(1, cdk.Fn.split(":", self.get_att("ImageDigest")))
        return f"sha256:{hexadecimal}"

    @property
    def image_uri(self) -> str:
        """``host/repository@sha256:…``, a token that makes its user wait for the copy."""
        return self.get_att("ImageUri")

    @property
    def image(self) -> ecs.ContainerImage:
        """The copied bytes, for containers of ECS; the task may pull them."""
        repository = self._destination.find_repository(self)
        if repository is None:
            return ecs.ContainerImage.from_registry(self.image_uri)
        return ecs.ContainerImage.from_ecr_repository(repository, self.image_digest)

    @property
    def image_code(self) -> lambda_.DockerImageCode:
        """The copied bytes, for a `DockerImageFunction`; Lambda may pull them.

        Raises
        ------
        ValueError
            The destination is not ECR, and Lambda runs images of ECR only.
        """
        repository = self._destination.find_repository(self)
        if repository is None:
            raise ValueError("Lambda runs images of ECR only, and the destination is elsewhere")
        return lambda_.DockerImageCode.from_ecr(repository, tag_or_digest=self.image_digest)

    def get_att(self, name: str) -> str:
        """Give any of the resource's values, such as ``TaggedUri``."""
        return self._resource.get_att_string(name)

    def add_to_principal_policy(
        self, statement: iam.PolicyStatement
    ) -> iam.AddToPrincipalPolicyResult:
        """Let the function do more, such as decrypt with the key of a secret."""
        return self._principal.add_to_principal_policy(statement)

    @property
    def _principal(self) -> iam.IPrincipal:
        return self._function.grant_principal

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
            image.grant_credentials(side, self._function)
            if image is dest:
                dest.grant_write(side, self._function, deletes=deletes)
            else:
                image.grant_read(side, self._function)


def _check(
    image_arch: Sequence[str] | None,
    copy_image_index: bool | None,
    arch_image_tags: Mapping[str, str] | None,
    platforms: Sequence[str] | None,
) -> None:
    if image_arch and copy_image_index:
        raise ValueError("image_arch chooses one image of an index and copy_image_index takes all")
    if image_arch is not None and len(image_arch) != 1:
        raise ValueError(f"image_arch has {len(image_arch)} elements; platforms takes several")
    if image_arch and platforms:
        raise ValueError("image_arch and platforms both choose platforms; give one of them")
    takes_index = copy_image_index or platforms
    if arch_image_tags and not takes_index:
        raise ValueError("arch_image_tags is for an index: set copy_image_index or platforms")


def _given(**properties: Any) -> dict[str, Any]:
    """Leave out what is not said."""
    return {name: value for name, value in properties.items() if value not in (None, [], {})}
