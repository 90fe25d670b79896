from __future__ import annotations

import pytest

from ecr_image_replicator.model.ecr_hosts import EcrRegistry, parse_ecr_host

_ACCOUNT = "123456789012"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("dkr.ecr.eu-west-1.amazonaws.com", EcrRegistry(_ACCOUNT, "eu-west-1")),
        ("dkr.ecr.us-gov-west-1.amazonaws.com", EcrRegistry(_ACCOUNT, "us-gov-west-1")),
        ("dkr.ecr.ap-southeast-5.amazonaws.com", EcrRegistry(_ACCOUNT, "ap-southeast-5")),
        ("dkr.ecr.cn-north-1.amazonaws.com.cn", EcrRegistry(_ACCOUNT, "cn-north-1")),
        ("dkr.ecr.eusc-de-east-1.amazonaws.eu", EcrRegistry(_ACCOUNT, "eusc-de-east-1")),
        ("dkr.ecr.us-iso-east-1.c2s.ic.gov", EcrRegistry(_ACCOUNT, "us-iso-east-1")),
        ("dkr.ecr.us-isob-east-1.sc2s.sgov.gov", EcrRegistry(_ACCOUNT, "us-isob-east-1")),
        ("dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk", EcrRegistry(_ACCOUNT, "eu-isoe-west-1")),
        ("dkr.ecr.us-isof-south-1.csp.hci.ic.gov", EcrRegistry(_ACCOUNT, "us-isof-south-1")),
        ("dkr.ecr-fips.us-east-1.amazonaws.com", EcrRegistry(_ACCOUNT, "us-east-1", is_fips=True)),
        ("dkr-ecr.us-east-1.on.aws", EcrRegistry(_ACCOUNT, "us-east-1", is_dual_stack=True)),
        (
            "dkr-ecr-fips.us-east-1.on.aws",
            EcrRegistry(_ACCOUNT, "us-east-1", is_fips=True, is_dual_stack=True),
        ),
        (
            "dkr-ecr.cn-northwest-1.on.amazonwebservices.com.cn",
            EcrRegistry(_ACCOUNT, "cn-northwest-1", is_dual_stack=True),
        ),
        ("dkr.ecr.eu-west-1.amazonaws.com:443", EcrRegistry(_ACCOUNT, "eu-west-1")),
    ],
)
def test_the_host_of_a_private_registry_has_account_and_region(
    host: str, expected: EcrRegistry
) -> None:
    assert parse_ecr_host(f"{_ACCOUNT}.{host}") == expected
    assert not expected.is_public


@pytest.mark.parametrize("host", ["public.ecr.aws", "ecr-public.aws.com", "public.ecr.aws:443"])
def test_both_hosts_of_ecr_public_are_recognized(host: str) -> None:
    found = parse_ecr_host(host)

    assert found == EcrRegistry("", "us-east-1")
    assert found is not None
    assert found.is_public


@pytest.mark.parametrize(
    "host",
    [
        "docker.io",
        "ghcr.io",
        "amazonaws.com",
        "dkr.ecr.eu-west-1.amazonaws.com",
        "12345678901.dkr.ecr.eu-west-1.amazonaws.com",
        "1234567890123.dkr.ecr.eu-west-1.amazonaws.com",
        "a123456789012.dkr.ecr.eu-west-1.amazonaws.com",
        "x.123456789012.dkr.ecr.eu-west-1.amazonaws.com",
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example",
        "123456789012.dkr.ecr.eu-west-1.amazonaws.org",
        "123456789012.dkr.ecr.eu-west-1.on.aws",
        "123456789012.dkr-ecr.eu-west-1.amazonaws.com",
        "123456789012.dkr-ecr.eu-west-1.on.aws.example",
        "123456789012.dkrXecr.eu-west-1.amazonaws.com",
        "123456789012.dkr.ecr.eu-west-1.amazonawsXcom",
        "123456789012.dkr.ecr..amazonaws.com",
        "123456789012.dkr.ecr.eu-west-1.evil.amazonaws.com",
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com:8443",
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com\n",
        "xpublic.ecr.aws",
        "public.ecr.aws.example",
        "localhost:5000",
        "",
    ],
)
def test_a_similar_host_is_not_recognized(host: str) -> None:
    assert parse_ecr_host(host) is None
