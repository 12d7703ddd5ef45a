from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standart.errors import InvalidInput
from standart.webhooks.addresses import UrlRules, is_allowed, is_public, may_connect, parse_url

PUBLIC = UrlRules()
WITH_HTTP = UrlRules(allow_http=True)
LOOPBACK = UrlRules(allowed_networks=(ip_network("127.0.0.0/8"),))
INTRANET = UrlRules(allowed_networks=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")))

NOT_HTTP = [
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "data:text/plain,x",
    "javascript:alert(1)",
    "//example.com/",
    "http:example.com",
    "https:example.com",
    "https:/example.com/",
    "http:///example.com",
    "https:///example.com",
    "https://",
    "https:///",
    "example.com",
    "",
    "httpſ://example.com/",
]
ODD_IPV4 = [
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0X7F000001",
    "0x7f.1",
    "127.0.0.0x1",
    "0x",
    "0177.0.0.1",
    "017700000001",
    "0",
    "8.8.8.08",
    "134744072",
    "8.8.8.8.8",
    "256.1.1.1",
    "example.1",
]
UNICODE_HOSTS = [
    "１２７.0.0.1",
    "127。0。0。1",
    "①②⑦.⓪.⓪.①",
    "８.8.8.8",
    "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
    "ⓔxample。ⓛocal",
]
SPECIAL_IPV4 = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
]
SPECIAL_IPV6 = [
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::a00:1",
    "64:ff9b:1::808:808",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:10::1",
    "2001:20::1",
    "2001:1ff:ffff::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "3fff:fff:ffff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]
PUBLIC_ADDRESSES = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.15",
    "168.63.129.17",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.0.3.0",
    "192.88.98.255",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "203.0.112.255",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2606:4700:4700::1111",
    "2a00:1450:4001::1",
    "3ffe:ffff::1",
]
BAD_AUTHORITIES = [
    "a@127.0.0.1",
    "user:password@example.com",
    "example.com:80@127.0.0.1:6379",
    "@example.com",
    r"127.0.0.1\@example.com",
    r"example.com\@127.0.0.1",
    r"example.com\.evil.example",
    "exa\tmple.com",
    "exa\nmple.com",
    "example.com\r\nHost: x",
    "exa mple.com",
    " example.com",
    "example.com\x00",
    "example.com\x7f",
    "exa\u3000mple.com",
    "example.com\u2028",
    "exa\ud800mple.com",
    "example.com#@127.0.0.1",
    "example.com?@127.0.0.1",
    "example.com%2f@127.0.0.1",
    "127.0.0.1%00.example.com",
    "exa%6dple.com",
    "[::1",
    "::1",
    "[::1]x",
    "[]",
    "[::g]",
    "[fe80::1%25lo]",
    "[fe80::1%lo]",
    "[v1.fe80::a]",
    "[127.0.0.1]",
    "2001:4860:4860::8888",
]
BAD_PORTS = ["0", "22", "25", "81", "5432", "6379", "99999", "-1", "", "+443", "0443"]
BAD_PORTS += ["443:443", "４４３", "443 ", "1e3", "44300000000000000000000"]
BAD_NAMES = [
    "localhost",
    "LOCALHOST",
    "localhost.",
    "127.0.0.1.",
    "example.com.",
    "example.com..",
    "example..com",
    ".example.com",
    ".",
    "intranet",
    "xn--zzz",
    "printer.local",
    "db.internal",
    "metadata.google.internal",
    "router.home.arpa",
    "hidden.onion",
    "app.localhost",
    "host.localdomain",
    "nas.lan",
    "mail.corp",
    "DB.INTERNAL",
    "xn--a.com",
    "xn--.com",
    "-a.example.com",
    "a-.example.com",
    "a_b.example.com",
    "exa*mple.com",
    "exa$mple.com",
    "a" * 64 + ".example.com",
    ".".join(["a" * 60] * 5),
    "☃.example.com",
]

REFUSED = (
    NOT_HTTP
    + [f"https://{host}/hook" for host in ODD_IPV4 + UNICODE_HOSTS + SPECIAL_IPV4]
    + [f"https://[{host}]/hook" for host in [*SPECIAL_IPV6, "::ffff:8.8.8.8", "fe80::1%25lo"]]
    + [f"https://{authority}/hook" for authority in BAD_AUTHORITIES + BAD_NAMES]
    + [f"https://example.com:{port}/hook" for port in BAD_PORTS]
    + [
        "https://example.com/#fragment",
        "https://example.com/a b",
        "https://example.com/a\\b",
        "https://example.com/\r\nX: y",
        "https://example.com/\x85",
        "https://example.com/\udfff",
        "https://example.com/" + "a" * 2048,
    ]
)


# Refused as long as the operator does not allow http.
REFUSED_WITHOUT_HTTP = [
    "http://example.com/",
    "HTTP://example.com/",
    "http://example.com:443/",
    "http://8.8.8.8/",
    "https://example.com:80/",
    "https://example.com:8080/",
]


def refusal(text: str, rules: UrlRules, field: str = "webhook_url") -> str:
    with pytest.raises(InvalidInput) as caught:
        parse_url(text, rules, field=field)
    [error] = caught.value.errors
    assert error.field == field
    return error.message


@pytest.mark.parametrize("text", REFUSED, ids=ascii)
@pytest.mark.parametrize("rules", [PUBLIC, WITH_HTTP], ids=["https", "http"])
def test_refused_at_save(text: str, rules: UrlRules) -> None:
    assert refusal(text, rules)


@pytest.mark.parametrize("text", REFUSED_WITHOUT_HTTP)
def test_refused_unless_http_is_allowed(text: str) -> None:
    assert refusal(text, PUBLIC)
    assert not parse_url(text, WITH_HTTP).private_only


@pytest.mark.parametrize(
    "text",
    [
        text
        for text in REFUSED + REFUSED_WITHOUT_HTTP
        if not text.startswith(("https://127.0.0.1/", "https://127.255", "https://localhost/"))
        and text != "https://LOCALHOST/hook"
        and text != "https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/hook"
    ],
    ids=ascii,
)
def test_allowing_loopback_opens_nothing_but_loopback(text: str) -> None:
    assert refusal(text, LOOPBACK)


@pytest.mark.parametrize(
    ("text", "url", "host", "port", "path"),
    [
        ("https://example.com", "https://example.com/", "example.com", 443, "/"),
        (
            "HTTPS://Example.COM:443/A?b=C",
            "https://example.com/A?b=C",
            "example.com",
            443,
            "/A?b=C",
        ),
        ("https://a.example:8443/", "https://a.example:8443/", "a.example", 8443, "/"),
        ("https://8.8.8.8/x", "https://8.8.8.8/x", "8.8.8.8", 443, "/x"),
        (
            "https://[2001:4860:4860:0:0:0:0:8888]:8443/x",
            "https://[2001:4860:4860::8888]:8443/x",
            "2001:4860:4860::8888",
            8443,
            "/x",
        ),
        # A Cyrillic "а" is shown as what it is.
        (
            "https://exаmple.com/",
            "https://xn--exmple-4nf.com/",
            "xn--exmple-4nf.com",
            443,
            "/",
        ),
        (
            "https://президент.рф/",
            "https://xn--d1abbgf6aiiy.xn--p1ai/",
            "xn--d1abbgf6aiiy.xn--p1ai",
            443,
            "/",
        ),
        (
            "https://example.com/путь?q=é",
            "https://example.com/%D0%BF%D1%83%D1%82%D1%8C?q=%C3%A9",
            "example.com",
            443,
            "/%D0%BF%D1%83%D1%82%D1%8C?q=%C3%A9",
        ),
        (
            "https://example.com/a/../%2e%2F//b@c?x=1&y=%20?/",
            "https://example.com/a/../%2e%2F//b@c?x=1&y=%20?/",
            "example.com",
            443,
            "/a/../%2e%2F//b@c?x=1&y=%20?/",
        ),
        ("https://nowhere.invalid/", "https://nowhere.invalid/", "nowhere.invalid", 443, "/"),
        ("https://1and1.com/", "https://1and1.com/", "1and1.com", 443, "/"),
        ("https://localhost.example/", "https://localhost.example/", "localhost.example", 443, "/"),
    ],
    ids=ascii,
)
def test_accepted_in_one_canonical_form(
    text: str, url: str, host: str, port: int, path: str
) -> None:
    target = parse_url(text, PUBLIC)
    assert (target.url, target.host, target.port, target.path) == (url, host, port, path)
    assert target.scheme == "https"
    assert not target.private_only
    assert parse_url(target.url, PUBLIC) == target


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("http://example.com/", 80),
        ("http://example.com:8080/", 8080),
        ("https://example.com/", 443),
        ("https://example.com:8443/", 8443),
    ],
)
def test_allow_http_adds_http_and_its_ports(text: str, port: int) -> None:
    target = parse_url(text, WITH_HTTP)
    assert (target.port, target.private_only) == (port, False)


@pytest.mark.parametrize(
    "text",
    ["http://example.com:81/", "https://example.com:22/", "http://127.0.0.1/", "http://localhost/"],
)
def test_allow_http_adds_nothing_else(text: str) -> None:
    assert refusal(text, WITH_HTTP)


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:5000/hook",
        "https://127.0.0.1:1/",
        "http://localhost:65535/",
        "http://127.9.9.9/",
    ],
)
def test_a_loopback_network_frees_loopback_literals_and_localhost(text: str) -> None:
    target = parse_url(text, LOOPBACK)
    assert target.private_only
    assert target.url == text
    assert refusal(text, INTRANET if target.address else PUBLIC)


@pytest.mark.parametrize(
    "text", ["http://10.1.2.3:81/", "http://[fd00::1]:81/", "http://crm:8000/", "http://crm.lan/"]
)
def test_an_intranet_network_frees_its_literals_and_all_names(text: str) -> None:
    target = parse_url(text, INTRANET)
    assert target.private_only
    assert not may_connect("8.8.8.8", target, INTRANET)
    assert may_connect("10.9.9.9", target, INTRANET)
    assert not may_connect("192.168.1.1", target, INTRANET)


def test_a_public_url_may_also_resolve_into_an_allowed_network() -> None:
    target = parse_url("https://example.com/", INTRANET)
    assert not target.private_only
    assert may_connect("8.8.8.8", target, INTRANET)
    assert may_connect("10.0.0.1", target, INTRANET)
    assert not may_connect("127.0.0.1", target, INTRANET)


def test_the_error_names_the_field_of_the_caller() -> None:
    assert refusal("ftp://x", PUBLIC, field="url") == (
        "must be an absolute URL that starts with https://"
    )


@pytest.mark.parametrize("address", SPECIAL_IPV4 + SPECIAL_IPV6)
def test_special_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)
    assert not is_allowed(address, WITH_HTTP)


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_allowed(address, PUBLIC)


@pytest.mark.parametrize(
    "text", ["", "localhost", "127.1", "fe80::1%lo", "2a00::1%eth0", "١.1.1.1"]
)
def test_what_is_no_plain_address_is_not_allowed(text: str) -> None:
    everything = UrlRules(allowed_networks=(ip_network("0.0.0.0/0"), ip_network("::/0")))
    assert not is_allowed(text, everything)


def test_allowed_networks_hold_the_mapped_form_of_their_addresses_and_no_translated_one() -> None:
    assert is_allowed("127.0.0.1", LOOPBACK)
    assert is_allowed("::ffff:127.0.0.1", LOOPBACK)
    assert not is_allowed("64:ff9b::7f00:1", LOOPBACK)
    assert not is_allowed("::1", LOOPBACK)
    assert not is_allowed("10.0.0.1", LOOPBACK)


@given(st.ip_addresses(v=4))
def test_carried_ipv4_is_judged_as_itself(address: IPv4Address) -> None:
    mapped = IPv6Address(0xFFFF << 32 | int(address))
    translated = IPv6Address(int(IPv6Address("64:ff9b::")) | int(address))
    assert is_public(mapped) == is_public(translated) == is_public(address)
    assert not is_public(IPv6Address(int(address)))
    assert not is_public(IPv6Address(0x2002 << 112 | int(address) << 80))


@given(st.text(max_size=40))
def test_any_text_is_refused_or_becomes_canonical_ascii(text: str) -> None:
    for candidate in (text, f"https://{text}", f"https://example.com/{text}"):
        try:
            target = parse_url(candidate, PUBLIC)
        except InvalidInput:
            continue
        assert target.url.isascii()
        assert target.url.isprintable()
        assert parse_url(target.url, PUBLIC) == target
