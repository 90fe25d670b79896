from __future__ import annotations

from urllib.parse import urljoin, urlsplit

import pytest
import urllib3.util
from hypothesis import example, given
from hypothesis import strategies as st

from ecr_image_replicator.registry.http.connections import Connections
from ecr_image_replicator.registry.http.urls import (
    MAX_URL_CHARACTERS,
    InvalidUrlError,
    Url,
    parse_url,
)

#: URLs whose host differs between parsers.
MALFORMED = [
    "https://evil.example\\@victim.example/",
    "https://evil.example\\.victim.example/",
    "https:\\\\evil.example/",
    "https://evil.example/..\\@victim.example",
    "https://user@victim.example/",
    "https://user:word@victim.example/",
    "https://@victim.example/",
    "https://evil.example#@victim.example/",
    "https://evil.example:80@victim.example/",
    "https://evil.example:80#@victim.example:443/",
    "https://evil.example;@victim.example/",
    "https://evil.example%2f@victim.example/",
    "https://evil.example%00.victim.example/",
    "https://evil.example%5c@victim.example/",
    "https://evil.example\t.victim.example/",
    "https://evil.example\n.victim.example/",
    "https://evil.example /",
    " https://evil.example/",
    "ht\ntps://evil.example/",
    "https://evil.example\x00/",
    "https://evil.example\x7f/",
    "https://evil.example/\r\nHost: victim.example",
    "https://evil.example/a b",
    "https://evi\u217c.example/",
    "https://evil。example/",
    "https://victim.example/℀",
    "https://victim.example\uff0f@evil.example/",
    "https:///victim.example/",
    "https:/victim.example/",
    "https:victim.example/",
    "https://",
    "https://?victim.example",
    "https://.victim.example/",
    "https://victim..example/",
    "https://victim.example../",
    "https://-victim.example/",
    "https://victim-.example/",
    "https://vic+tim.example/",
    "https://vic!tim.example/",
    "https://*.example/",
    f"https://{'a' * 64}.example/",
    "https://" + "a." * 126 + "aa/",
    "https://victim.example:/",
    "https://victim.example:0/",
    "https://victim.example:00443/",
    "https://victim.example:65536/",
    "https://victim.example:+443/",
    "https://victim.example:4\uff143/",
    "https://victim.example:443:80/",
    "https://victim.example:port/",
    "https://[::1/",
    "https://::1/",
    "https://[::1]x/",
    "https://[::1]:x/",
    "https://[::1%25eth0]/",
    "https://[fe80::1%eth0]/",
    "https://[v1.x]/",
    "https://[127.0.0.1]/",
    "https://[]/",
    "https://x[::1]/",
    "https://1.2.3.4.5/",
    "https://256.1.1.1/",
    "https://1.2.3.256/",
    "https://1.2.65536/",
    "https://4294967296/",
    "https://0x100000000/",
    "https://08.1.1.1/",
    "https://victim.example.1/",
    "https://victim.0x1/",
    "https://1" + "0" * 10_000,
    "ftp://victim.example/",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "data:,x",
    "",
    "/",
    "//victim.example/",
    "victim.example",
    f"https://victim.example/{'a' * MAX_URL_CHARACTERS}",
]


@pytest.mark.parametrize("text", [each for each in MALFORMED if "#@" not in each])
def test_a_malformed_url_is_rejected(text: str) -> None:
    with pytest.raises(InvalidUrlError):
        parse_url(text)


@pytest.mark.parametrize("text", MALFORMED)
def test_the_connection_pool_uses_the_parsed_host(text: str) -> None:
    connections = Connections(per_origin=1)
    base = parse_url("https://registry.example/v2/")
    for parse in (parse_url, base.resolve):
        try:
            url = parse(text)
        except InvalidUrlError:
            continue
        pool = connections._route_to(url, keeps=False).pool  # noqa: SLF001 - nothing is sent
        assert (pool.scheme, pool.host, pool.port) == url.origin
    connections.close()


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("https://127.1/", "127.0.0.1"),
        ("https://127.0.1/", "127.0.0.1"),
        ("https://2130706433/", "127.0.0.1"),
        ("https://0x7f000001/", "127.0.0.1"),
        ("https://0X7F.1/", "127.0.0.1"),
        ("https://0177.0.0.1/", "127.0.0.1"),
        ("https://127.0.0.1./", "127.0.0.1"),
        ("https://0/", "0.0.0.0"),  # noqa: S104 - an address like the others
        ("https://0x/", "0.0.0.0"),  # noqa: S104 - as above
        ("https://1.2.772/", "1.2.3.4"),
        ("https://4294967295/", "255.255.255.255"),
        ("https://[::FFFF:127.0.0.1]/", "::ffff:127.0.0.1"),
        ("https://[0:0:0:0:0:0:0:1]/", "::1"),
        ("https://LOCALHOST./", "localhost"),
        ("https://Registry.Example:443", "registry.example"),
        ("https://my_registry/", "my_registry"),
        ("https://xn--bcher-kva.example/", "xn--bcher-kva.example"),
        ("https://" + "a." * 125 + "aaa/", "a." * 125 + "aaa"),
    ],
)
def test_a_host_is_normalized(text: str, host: str) -> None:
    import ipaddress  # noqa: PLC0415 - Python 3.13 writes mapped addresses in another way

    expected = str(ipaddress.ip_address(host)) if ":" in host else host
    assert parse_url(text).host == expected


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://a.io/x", "https://A.io:443/y?z", True),
        ("http://a.io", "http://a.io:80/", True),
        ("https://a.io", "http://a.io", False),
        ("https://a.io", "https://a.io:8443", False),
        ("https://a.io", "https://b.a.io", False),
        ("https://a.io", "https://a.io.", True),
    ],
)
def test_urls_with_equal_scheme_host_and_port_have_the_same_origin(
    one: str, other: str, same: bool
) -> None:
    assert (parse_url(one).origin == parse_url(other).origin) is same


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("", "https://a.io/v2/x?n=1"),
        ("/v2/y", "https://a.io/v2/y"),
        ("y/z?b", "https://a.io/v2/y/z?b"),
        ("../../y", "https://a.io/y"),
        ("./y/./z/..", "https://a.io/v2/y/"),
        ("?b", "https://a.io/v2/x?b"),
        ("?", "https://a.io/v2/x?"),
        ("#c", "https://a.io/v2/x?n=1"),
        ("/y?b=/../c#d?e", "https://a.io/y?b=/../c"),
        ("//b.io/c", "https://b.io/c"),
        ("http://b.io:8080/c?d=e", "http://b.io:8080/c?d=e"),
        ("HTTPS://b.io:443", "https://b.io/"),
        ("https://b.io?d", "https://b.io/?d"),
        ("https://[::1]:5000/c", "https://[::1]:5000/c"),
        ('/a|b{c}^`"<>', 'https://a.io/a|b{c}^`"<>'),
    ],
)
def test_a_location_is_resolved_against_the_request_url(location: str, expected: str) -> None:
    url = parse_url("https://a.io/v2/x?n=1").resolve(location)
    assert url.absolute_target == expected


@pytest.mark.parametrize("location", ["ftp://b.io/", "file:///x", "sha256:abc", "https:/b.io"])
def test_a_location_that_is_not_http_is_rejected(location: str) -> None:
    with pytest.raises(InvalidUrlError):
        parse_url("https://a.io/v2/x").resolve(location)


def test_a_url_is_formatted_without_its_query() -> None:
    url = parse_url("https://a.io:8443/b?signature=hunter2#c")
    assert str(url) == "https://a.io:8443/b"
    assert "hunter2" not in f"{url!r}"
    assert str(parse_url("http://[::1]:5000/b?c")) == "http://[::1]:5000/b"


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("https://a.io/u", "/u?digest=sha256%3Aab"),
        ("https://a.io/u?", "/u?digest=sha256%3Aab"),
        ("https://a.io/u?_state=x%2B%3D", "/u?_state=x%2B%3D&digest=sha256%3Aab"),
    ],
)
def test_parameters_are_appended_to_an_unchanged_query(text: str, target: str) -> None:
    assert parse_url(text).with_parameters([("digest", "sha256:ab")]).target == target


_PIECES = st.sampled_from(
    [*":/?#[]@!$&'()*+,;=.-_~%\\ \t\n\x00", "https://", "http:", "//", "a.io", "b.example", "..",
     "127.1", "0x7f", "[::1]", ":443", "%2f", "é", "℀", "user", "\ud800"]
)  # fmt: skip
_TEXTS = st.lists(_PIECES, max_size=8).map("".join) | st.text()


@given(st.sampled_from(["", "https://a.io", "http://"]), _TEXTS)
@example("https://evil.example", "\\@victim.example/")
def test_other_parsers_agree_on_accepted_urls(start: str, rest: str) -> None:
    text = start + rest
    try:
        url = parse_url(text)
    except InvalidUrlError:
        return
    standard, other = urlsplit(text), urllib3.util.parse_url(text)
    assert standard.scheme == other.scheme == url.scheme
    for host in (standard.hostname, (other.host or "").strip("[]").lower()):
        assert parse_url(f"http://{f'[{host}]' if ':' in (host or '') else host}").host == url.host
    for port in (standard.port, other.port):
        assert port in {url.port, None}
    assert (standard.username, other.auth) == (None, None)
    # an accepted URL round-trips
    assert parse_url(url.absolute_target) == url


@given(_TEXTS)
def test_other_parsers_agree_on_accepted_locations(location: str) -> None:
    base = "https://a.io/v2/x?n=1"
    try:
        url: Url = parse_url(base).resolve(location)
    except InvalidUrlError:
        return
    joined = urlsplit(urljoin(base, location))
    assert parse_url(f"{joined.scheme}://{joined.netloc}").origin == url.origin
    assert url.path.startswith("/")
