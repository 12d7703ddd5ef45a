"""Which URLs a webhook may have, and which addresses it may connect to.

Everything here is pure: no name is resolved. The URL is taken apart once, by the parser below,
and what is sent is built from those parts, so that no second parser can see another host.

The rules. To the public: ``https`` to ports 443 and 8443 of public addresses; ``allow_http`` adds
``http`` and ports 80 and 8080. Inside ``allowed_networks`` (development, tests, an intranet) any
port and ``http`` may be used as well. What lies inside them is known from the text of the URL only
for an IP literal in such a network, and for ``localhost`` when they hold a loopback address. Any
other name may turn out to lie in an allowed network that is not a loopback one, so when there is
such a network, names are free at save; a name that breaks the public rules is then marked
``private_only`` and connects nowhere but into the allowed networks. Every address is checked again
at every connect, whatever was accepted at save.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import NoReturn
from urllib.parse import quote

import idna

from standart.errors import InvalidInput

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_URL_LENGTH = 2048
LOCALHOST = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
DEFAULT_PORTS = {"https": 443, "http": 80}
_HTTPS_PORTS = (443, 8443)
_HTTP_PORTS = (80, 8080)

# The IANA special-purpose registry (RFC 6890 and its updates) and multicast. An own list, since
# the tables behind ``is_global`` change between versions of Python and let multicast through.
_SPECIAL_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by carriers; also metadata services
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's own virtual server, which holds machine secrets
        "169.254.0.0/16",  # link local; also metadata services
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
# Only 2000::/3 is given out as global unicast, so everything else is special without being named.
_GLOBAL_V6 = IPv6Network("2000::/3")
_SPECIAL_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which carries any IPv4 address
        "3fff::/20",  # documentation
    )
)
# The prefix of RFC 6052: on a network without IPv4 every IPv4 host is reached through it.
_NAT64 = IPv6Network("64:ff9b::/96")

# RFC 6761, RFC 6762 appendix G, RFC 7686, RFC 8375, RFC 9476 and ICANN's "internal".
_PRIVATE_SUFFIXES = frozenset(
    {
        "alt",
        "arpa",
        "corp",
        "home",
        "internal",
        "intranet",
        "lan",
        "local",
        "localdomain",
        "localhost",
        "onion",
        "private",
    }
)

_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\xa0\s\\\ud800-\udfff]")
_URL = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/]+)(?P<path>/.*)?", re.ASCII | re.I)
_AUTHORITY = re.compile(
    r"(?P<host>\[[0-9a-f:.]+\]|[^\[\]:]+)(?::(?P<port>[1-9][0-9]{0,4}))?", re.ASCII | re.I
)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlRules:
    """What the operator permits beyond https to public addresses."""

    allowed_networks: tuple[Network, ...] = ()
    allow_http: bool = False

    @property
    def public_ports(self) -> tuple[int, ...]:
        """The ports that may be used on public addresses."""
        return _HTTPS_PORTS + _HTTP_PORTS if self.allow_http else _HTTPS_PORTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A webhook URL in its one canonical, all-ASCII form, and its parts.

    ``host`` is in lower case, IDNs as punycode, IPv6 without brackets; ``path`` includes the
    query; ``address`` is set when the host is an IP literal; ``private_only`` says that no public
    address may be connected to.
    """

    url: str
    scheme: str
    host: str
    port: int
    path: str
    address: Address | None
    private_only: bool


class _Refused(Exception):
    """Why a URL is refused, in words for the person who typed it."""


def parse_url(text: str, rules: UrlRules, *, field: str = "webhook_url") -> Target:
    """Take a webhook URL apart and check all that can be known without resolving its name.

    A name that does not resolve is accepted. Raises InvalidInput naming ``field``.
    """
    try:
        return _parse(text, rules)
    except _Refused as refused:
        raise InvalidInput.of(field, str(refused)) from None


def is_allowed(address: str | Address, rules: UrlRules) -> bool:
    """Say whether a webhook may connect to this address: public, or in an allowed network.

    Text that is no IP address, or has an IPv6 zone, is not allowed.
    """
    return is_listed(address, rules) or is_public(address)


def is_listed(address: str | Address, rules: UrlRules) -> bool:
    """Say whether the address lies in one of the networks that the operator allows."""
    plain = _plain(address)
    return plain is not None and any(plain in network for network in rules.allowed_networks)


def is_public(address: str | Address) -> bool:
    """Say whether the address is global unicast and none of the special ones.

    IPv4 carried inside IPv6 counts as the IPv4 address that it leads to.
    """
    plain = _plain(address)
    if plain is None:
        return False
    if isinstance(plain, IPv6Address) and plain in _NAT64:
        plain = IPv4Address(plain.packed[-4:])
    if isinstance(plain, IPv4Address):
        return not any(plain in network for network in _SPECIAL_V4)
    return plain in _GLOBAL_V6 and not any(plain in network for network in _SPECIAL_V6)


def may_connect(address: str | Address, target: Target, rules: UrlRules) -> bool:
    """Say whether ``target`` may be reached at this address, which its host resolved to."""
    return is_listed(address, rules) or (not target.private_only and is_public(address))


def _plain(address: str | Address) -> Address | None:
    """Return the address with IPv4-mapped IPv6 unpacked, or None when it is not usable."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address):
        if parsed.scope_id is not None:
            return None
        return parsed.ipv4_mapped or parsed
    return parsed


def _parse(text: str, rules: UrlRules) -> Target:
    scheme, authority, path = _split(text)
    host_text, port = _split_authority(authority, scheme)
    host, address = _host(host_text)
    problem = _public_problem(scheme, host, address, port, rules)
    if problem is not None and not _may_be_listed(host, address, rules):
        _refuse(problem)
    netloc = f"[{host}]" if isinstance(address, IPv6Address) else host
    if port != DEFAULT_PORTS[scheme]:
        netloc += f":{port}"
    return Target(
        url=f"{scheme}://{netloc}{path}",
        scheme=scheme,
        host=host,
        port=port,
        path=path,
        address=address,
        private_only=problem is not None,
    )


def _split(text: str) -> tuple[str, str, str]:
    """Return scheme, authority and the percent-encoded path with its query."""
    if len(text) > MAX_URL_LENGTH:
        _refuse(f"must be at most {MAX_URL_LENGTH} characters")
    if _FORBIDDEN.search(text):
        _refuse("must not contain spaces, control characters or backslashes")
    if "#" in text:
        _refuse("must not contain a fragment (#)")
    match = _URL.fullmatch(text)
    if match is None:
        _refuse("must be an absolute URL that starts with https://")
    # What RFC 3986 allows stays as it is, escapes included: receivers compare the raw text.
    path = quote(match["path"] or "/", safe="/%?:@!$&'()*+,;=-._~[]")
    return match["scheme"].lower(), match["authority"], path


def _split_authority(authority: str, scheme: str) -> tuple[str, int]:
    if "@" in authority:
        _refuse("must not contain a user name or password")
    if "?" in authority:
        _refuse("needs a / between the host and the query")
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        _refuse("has a malformed host or port")
    port = int(match["port"] or DEFAULT_PORTS[scheme])
    if port > 65535:
        _refuse("has a malformed host or port")
    return match["host"], port


def _host(text: str) -> tuple[str, Address | None]:
    """Return the canonical host, and the address when it is an IP literal."""
    if text.startswith("["):
        return _literal_v6(text[1:-1])
    try:
        name = idna.encode(text, uts46=True, std3_rules=True).decode("ascii")
    except UnicodeError:
        _refuse("has a host that is not a valid domain name")
    if name.endswith("."):
        _refuse("must not have a dot at the end of the host")
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        return _literal_v4(text)
    return name, None


def _literal_v4(text: str) -> tuple[str, IPv4Address]:
    """Accept four decimal numbers only: resolvers also read 127.1, 0x7f.1, 017700000001 and ①."""
    try:
        address = IPv4Address(text)
    except ValueError:
        _refuse("has an IPv4 address that is not written as four decimal numbers")
    return str(address), address


def _literal_v6(text: str) -> tuple[str, IPv6Address]:
    try:
        address = IPv6Address(text)
    except ValueError:
        _refuse("has a malformed IPv6 address")
    if address.ipv4_mapped is not None:
        _refuse("must have an IPv4 address written as such, not inside an IPv6 one")
    return str(address), address


def _public_problem(
    scheme: str, host: str, address: Address | None, port: int, rules: UrlRules
) -> str | None:
    """Return what speaks against sending this to the public, or None."""
    if scheme == "http" and not rules.allow_http:
        return "must start with https://"
    if port not in rules.public_ports:
        return f"must use one of the ports {', '.join(map(str, rules.public_ports))}"
    if address is not None:
        return None if is_public(address) else "must have a public address"
    if "." not in host or host.rpartition(".")[2] in _PRIVATE_SUFFIXES:
        return "must have a public domain name"
    return None


def _may_be_listed(host: str, address: Address | None, rules: UrlRules) -> bool:
    """Say whether the host may lie in an allowed network; see the rules at the top."""
    if address is not None:
        return is_listed(address, rules)
    if host == "localhost":
        return any(is_listed(loopback, rules) for loopback in LOCALHOST)
    return any(not network.is_loopback for network in rules.allowed_networks)


def _refuse(problem: str) -> NoReturn:
    raise _Refused(problem)
