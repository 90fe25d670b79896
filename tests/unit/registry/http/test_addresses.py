from __future__ import annotations

import pytest

from ecr_image_replicator.registry.http.addresses import (
    AddressScope,
    is_s3,
    scope_of,
    scope_of_name,
)
from ecr_image_replicator.registry.http.urls import parse_url


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "52.95.110.1",
        "2600:1f18::1",
        "64:ff9b::808:808",
        "::ffff:8.8.8.8",
        "2002:808:808::1",
    ],
)
def test_an_internet_address_is_public(address: str) -> None:
    assert scope_of(address) is AddressScope.PUBLIC


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "fc00::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::1",
        "64:ff9b:1::a9fe:a9fe",
        "::7f00:1",
        "::ffff:0:7f00:1",
        "fec0::1",
        "5f00::1",
        "192.0.0.192",
    ],
)
def test_an_address_of_a_private_network_is_private(address: str) -> None:
    assert scope_of(address) is AddressScope.PRIVATE


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",  # noqa: S104 - an address like the others
        "169.254.169.254",
        "169.254.170.2",
        "224.0.0.1",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
    ],
)
def test_loopback_and_link_local_addresses_are_local(address: str) -> None:
    assert scope_of(address) is AddressScope.LOCAL


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://quay.io/x", AddressScope.PUBLIC),
        ("https://8.8.8.8/", AddressScope.PUBLIC),
        ("https://134744072/", AddressScope.PUBLIC),
        ("https://printer.local/", AddressScope.PRIVATE),
        ("https://registry.corp.internal/", AddressScope.PRIVATE),
        ("https://10.1.2.3/", AddressScope.PRIVATE),
        ("https://0xa.1.2.3/", AddressScope.PRIVATE),
        ("https://192.168.0.1:8080/", AddressScope.PRIVATE),
        ("https://localhost/", AddressScope.LOCAL),
        ("https://localhost./", AddressScope.LOCAL),
        ("https://a.LOCALHOST/", AddressScope.LOCAL),
        ("https://metadata.google.internal/", AddressScope.LOCAL),
        ("https://metadata.google.internal./", AddressScope.LOCAL),
        ("http://169.254.169.254/latest/meta-data", AddressScope.LOCAL),
        ("http://169.254.169.254./latest/meta-data", AddressScope.LOCAL),
        ("http://0xa9fea9fe/", AddressScope.LOCAL),
        ("http://2852039166/", AddressScope.LOCAL),
        ("http://0251.0376.0251.0376/", AddressScope.LOCAL),
        ("http://127.1/", AddressScope.LOCAL),
        ("http://2130706433/", AddressScope.LOCAL),
        ("http://0x7f000001/", AddressScope.LOCAL),
        ("http://0/", AddressScope.LOCAL),
        ("https://[::1]/", AddressScope.LOCAL),
        ("https://[::ffff:127.0.0.1]/", AddressScope.LOCAL),
        ("https://[fe80::1]/", AddressScope.LOCAL),
    ],
)
def test_the_scope_of_an_address_or_name_is_found_in_any_notation(
    url: str, expected: AddressScope
) -> None:
    assert scope_of_name(parse_url(url).host) is expected


@pytest.mark.parametrize(
    "host",
    [
        "prod-eu-west-1-starport-layer-bucket.s3.eu-west-1.amazonaws.com",
        "bucket.s3.amazonaws.com",
        "s3.amazonaws.com",
        "S3.Amazonaws.com.",
        "s3-eu-west-1.amazonaws.com",
        "bucket.s3-us-gov-west-1.amazonaws.com",
        "s3.eu-west-1.amazonaws.com",
        "a.b.c.s3.eu-west-1.amazonaws.com",
        "bucket.s3-fips.us-gov-west-1.amazonaws.com",
        "bucket.s3.dualstack.eu-west-1.amazonaws.com",
        "bucket.s3-fips.dualstack.us-east-1.amazonaws.com",
        "bucket.vpce-0123456789abcdef0-1a2b3c4d.s3.us-east-1.vpce.amazonaws.com",
        "bucket.vpce-0123456789abcdef0-1a2b3c4d-us-east-1a.s3.us-east-1.vpce.amazonaws.com",
        "bucket.s3.cn-north-1.amazonaws.com.cn",
        "bucket.s3.eusc-de-east-1.amazonaws.eu",
        "bucket.s3.us-iso-east-1.c2s.ic.gov",
        "bucket.s3.us-isob-east-1.sc2s.sgov.gov",
        "bucket.s3.eu-isoe-west-1.cloud.adc-e.uk",
        "bucket.s3.us-isof-south-1.csp.hci.ic.gov",
    ],
)
def test_s3_is_recognized_by_the_labels_of_its_endpoints(host: str) -> None:
    assert is_s3(parse_url(f"https://{host}/x"))
    assert is_s3(parse_url(f"https://{host}:443/x"))
    assert not is_s3(parse_url(f"http://{host}/x"))
    assert not is_s3(parse_url(f"http://{host}:443/x"))
    assert not is_s3(parse_url(f"https://{host}:8443/x"))


@pytest.mark.parametrize(
    "host",
    [
        "bucket.s3.amazonaws.com.evil.example",
        "s3.evil.example",
        "evils3.amazonaws.com",
        "evils3.eu-west-1.amazonaws.com",
        "amazonaws.com",
        "s3.amazonaws.com.cn",
        "bucket.s3.eu-west-1.notamazonaws.com",
        "ec2-10-0-0-1.eu-west-1.compute.amazonaws.com",
        "s3-x-0123456789.elb.us-east-1.amazonaws.com",
        "internal-s3-0123456789.us-east-1.elb.amazonaws.com",
        "s3.us-east-1.elb.amazonaws.com",
        "s3.abcdefghijkl.us-east-1.rds.amazonaws.com",
        "s3-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a.evil.example",
        "s3.execute-api.us-east-1.amazonaws.com",
        "s3.us-east-1.vpce.amazonaws.com",
        "vpce-0123456789abcdef0-1a2b3c4d.ecr.us-east-1.vpce.amazonaws.com",
    ],
)
def test_other_hosts_are_not_recognized_as_s3(host: str) -> None:
    assert not is_s3(parse_url(f"https://{host}/"))
