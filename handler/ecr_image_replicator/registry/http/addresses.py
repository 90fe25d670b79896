"""Address scopes: public, private or local, of IP addresses and of host names."""

from __future__ import annotations

import ipaddress
import re
from enum import IntEnum
from functools import lru_cache
from typing import Final

from ecr_image_replicator.model.ecr_hosts import PARTITION_SUFFIXES
from ecr_image_replicator.no_proxy import embedded_ipv4, is_loopback_name
from ecr_image_replicator.registry.http.urls import Url

#: AWS's services on every instance: metadata, credentials, time, DNS.
_INSTANCE_SERVICES: Final = ipaddress.IPv6Network("fd00:ec2::/32")
#: The rest is reserved, site-local, or translates IPv4 (RFC 4291, section 2.4, and RFC 8215).
_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
#: Private (RFC 6890); Python before 3.11.10 takes most of it for global.
_PROTOCOL_ASSIGNMENTS: Final = ipaddress.IPv4Network("192.0.0.0/24")
_REGION: Final = r"[a-z]{2,8}(?:-[a-z]{1,20}){1,3}-[0-9]{1,2}"
_VPC_ENDPOINT: Final = r"vpce-[0-9a-f]{8,32}-[0-9a-z-]{4,48}"
#: Names of the metadata service of other clouds, which resolve to a link-local address.
_METADATA_HOSTS: Final = frozenset({"metadata.google.internal", "metadata", "instance-data"})


class AddressScope(IntEnum):
    """Who can reach an address; a greater value is a smaller circle."""

    PUBLIC = 0
    PRIVATE = 1
    LOCAL = 2


def scope_of(address: str) -> AddressScope:
    """Return the scope of an IP address; loopback and link-local addresses are local."""
    ip = embedded_ipv4(ipaddress.ip_address(address.partition("%")[0]))
    if ip.is_loopback or ip.is_link_local or ip.is_unspecified or ip.is_multicast:
        return AddressScope.LOCAL
    if ip.version == 6 and ip in _INSTANCE_SERVICES:
        return AddressScope.LOCAL
    is_public = ip in _GLOBAL_UNICAST if ip.version == 6 else ip not in _PROTOCOL_ASSIGNMENTS
    return AddressScope.PUBLIC if is_public and ip.is_global else AddressScope.PRIVATE


@lru_cache(maxsize=256)
def scope_of_name(host: str) -> AddressScope:
    """Return the scope of a URL's host as far as its name tells, without resolving it.

    Behind a proxy this is all that can be known.
    """
    if is_loopback_name(host) or host in _METADATA_HOSTS:
        return AddressScope.LOCAL
    if host.endswith((".internal", ".local")):
        return AddressScope.PRIVATE
    try:
        return scope_of(host)
    except ValueError:
        return AddressScope.PUBLIC


def is_s3(url: Url) -> bool:
    """Return whether a URL is S3's own: https on port 443, an endpoint's name label by label.

    Interface endpoints resolve these names to private addresses of the function's network; a
    server there must still present AWS's certificate for the name.
    """
    return url.scheme == "https" and url.port == 443 and _is_s3_host(url.host)


@lru_cache(maxsize=256)
def _is_s3_host(host: str) -> bool:
    domain = next((each for each in PARTITION_SUFFIXES if host.endswith(f".{each}")), "")
    labels = host.removesuffix(f".{domain}").split(".") if domain else []
    match labels:
        case [*_, "s3" | "s3-external-1"]:  # the global endpoint and that of us-east-1
            return domain == "amazonaws.com"
        case [*_, "s3" | "s3-fips", region] | [*_, "s3" | "s3-fips", "dualstack", region]:
            return re.fullmatch(_REGION, region) is not None
        case [*_, endpoint, "s3", region, "vpce"]:
            return bool(re.fullmatch(_VPC_ENDPOINT, endpoint) and re.fullmatch(_REGION, region))
        case [*_, legacy]:  # s3-eu-west-1
            return legacy.startswith("s3-") and re.fullmatch(_REGION, legacy[3:]) is not None
    return False
