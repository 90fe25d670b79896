"""Host names of Amazon ECR registries in every AWS partition.

Amazon ECR user guide, "Private registries" and "Service endpoints". The whole host is matched: an
ECR token gives access to every registry of its caller, so a look-alike host must never get one.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

#: The region of ECR Public's API for credentials (Amazon ECR Public endpoints and quotas).
PUBLIC_REGION: Final = "us-east-1"
PUBLIC_HOSTS: Final = frozenset({"public.ecr.aws", "ecr-public.aws.com"})
#: DNS suffixes of the AWS partitions (botocore, partitions.json).
PARTITION_SUFFIXES: Final = (
    "amazonaws.com",
    "amazonaws.com.cn",
    "amazonaws.eu",
    "c2s.ic.gov",
    "sc2s.sgov.gov",
    "cloud.adc-e.uk",
    "csp.hci.ic.gov",
)
_DUAL_STACK_SUFFIXES: Final = ("on.aws", "on.amazonwebservices.com.cn")
_REGION: Final = r"(?P<region>[a-z]{2,8}(?:-[a-z]+){1,3}-[0-9]{1,2})"


def _pattern(service: str, suffixes: tuple[str, ...]) -> re.Pattern[str]:
    ends = "|".join(map(re.escape, suffixes))
    return re.compile(
        rf"(?P<account>[0-9]{{12}})\.{service}(?P<fips>-fips)?\.{_REGION}\.(?:{ends})"
    )


_SINGLE_STACK: Final = _pattern(r"dkr\.ecr", PARTITION_SUFFIXES)
_DUAL_STACK: Final = _pattern("dkr-ecr", _DUAL_STACK_SUFFIXES)


class EcrRegistry(NamedTuple):
    """A registry of Amazon ECR, private or public.

    Attributes
    ----------
    account
        The account ID, twelve digits; "" for ECR Public, whose host names do not contain it.
    region
        The region of its API.
    is_fips, is_dual_stack
        The kind of endpoint, for the registry and its API.
    """

    account: str
    region: str
    is_fips: bool = False
    is_dual_stack: bool = False

    @property
    def is_public(self) -> bool:
        """Whether this is ECR Public."""
        return not self.account


def parse_ecr_host(registry: str) -> EcrRegistry | None:
    """Parse the host of an ECR registry; return None for any other host.

    Parameters
    ----------
    registry
        ``host`` or ``host:port`` in lowercase, as references have it; ECR's only port is 443.
    """
    host = registry.removesuffix(":443")
    if host in PUBLIC_HOSTS:
        return EcrRegistry("", PUBLIC_REGION)
    for pattern, is_dual_stack in ((_SINGLE_STACK, False), (_DUAL_STACK, True)):
        if found := pattern.fullmatch(host):
            return EcrRegistry(
                found["account"], found["region"], found["fips"] is not None, is_dual_stack
            )
    return None
