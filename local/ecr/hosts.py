"""ECR's host names in every partition (ECR User Guide, "Endpoints")."""

from __future__ import annotations

import re

_REGION = r"(?P<region>[a-z]{2,4}(?:-[a-z]+)+-\d+)"
_SUFFIX = (
    r"(?:amazonaws\.com(?:\.cn)?|amazonaws\.eu|c2s\.ic\.gov|sc2s\.sgov\.gov|cloud\.adc-e\.uk"
    r"|csp\.hci\.ic\.gov)"
)
_ACCOUNT = r"(?P<account>\d{12})"
_DUAL_STACK_REGISTRY = r"on\.(?:aws|amazonwebservices\.com\.cn)"
_DUAL_STACK_API = (
    r"api\.(?:aws(?:\.ic\.gov|\.scloud|\.hci\.ic\.gov)?|amazonwebservices\.(?:com\.cn|eu)"
    r"|cloud-aws\.adc-e\.uk)"
)

_REGISTRY = (
    re.compile(rf"{_ACCOUNT}\.dkr\.ecr(?:-fips)?\.{_REGION}\.{_SUFFIX}"),
    re.compile(rf"{_ACCOUNT}\.dkr-ecr(?:-fips)?\.{_REGION}\.{_DUAL_STACK_REGISTRY}"),
)
_API = (
    re.compile(rf"api\.ecr\.{_REGION}\.{_SUFFIX}"),
    re.compile(rf"(?:api\.)?ecr-fips\.{_REGION}\.{_SUFFIX}"),
    re.compile(rf"ecr(?:-fips)?\.{_REGION}\.{_DUAL_STACK_API}"),
)
_STORAGE = re.compile(
    r"prod-[a-z0-9-]+-starport-layer-bucket\.s3\." + _REGION + r"\.amazonaws\.com"
)


def parse_registry_host(host: str) -> tuple[str, str] | None:
    """Return the account and region of a registry's host, None for any other host."""
    for form in _REGISTRY:
        match = form.fullmatch(host)
        if match:
            return match["account"], match["region"]
    return None


def parse_api_host(host: str) -> str | None:
    """Return the region of an endpoint of ECR's API, None for any other host."""
    for form in _API:
        match = form.fullmatch(host)
        if match:
            return match["region"]
    return None


def parse_storage_host(host: str) -> str | None:
    """Return the region of a bucket with ECR's layers, None for any other host."""
    match = _STORAGE.fullmatch(host)
    return match["region"] if match else None


def registry_host(account: str, region: str) -> str:
    """Return the usual host name of a registry."""
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"{account}.dkr.ecr.{region}.{suffix}"


def storage_host(region: str) -> str:
    """Return the bucket that requests for a region's blobs are redirected to."""
    return f"prod-{region}-starport-layer-bucket.s3.{region}.amazonaws.com"


def arn_partition(region: str) -> str:
    """Return the partition of a region."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"
