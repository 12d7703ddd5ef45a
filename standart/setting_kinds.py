"""What the text of a setting may look like, and how it becomes a value.

A kind's ``parse`` raises ``ValueError`` with the problem in words; kinds of secrets never
put the text itself into it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from standart.encryption import FORM, Keyring
from standart.errors import ConfigurationError, InvalidInput
from standart.money import CURRENCIES, parse_amount

T = TypeVar("T")

Network = IPv4Network | IPv6Network

MASK = "********"

_WORDS = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}
_PERIODS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_RATE = re.compile(r"([1-9][0-9]{0,8})/(second|minute|hour|day)")
_WHOLE = re.compile(r"[0-9]{1,10}")
_NOTHING = re.compile(r"0(\.0{1,18})?")
_HOST = re.compile(r"\.?[a-z0-9]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9_-]*[a-z0-9])?)*")
_DATABASE_SCHEME = re.compile(r"(postgres|postgresql|postgresql\+psycopg)://")
_REDIS_SCHEMES = ("redis", "rediss", "redis+socket", "unix")
_SECRET_LENGTH = 32
_SECRET_VARIETY = 8


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """``form`` completes the sentence "Set it to …"; ``parse`` reads a non-empty text."""

    form: str
    parse: Callable[[str], T]

    def read(self, variable: str, text: str) -> T:
        """Parse the text of ``variable``.

        Raises:
            ConfigurationError: the text makes no sense.
        """
        try:
            if not text.isprintable():
                raise ValueError("holds a line break or another control character")
            return self.parse(text)
        except ValueError as error:
            raise ConfigurationError(variable, str(error), f"Set it to {self.form}") from None


@dataclass(frozen=True, slots=True)
class Setting:
    """What people need to know of one setting; ``secret`` ones are never shown."""

    variable: str
    kind: Kind[Any]
    help: str
    secret: bool = False


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most ``count`` requests within ``seconds``."""

    count: int
    seconds: int

    def __str__(self) -> str:
        names = {seconds: name for name, seconds in _PERIODS.items()}
        return f"{self.count}/{names[self.seconds]}"


def whole(low: int, high: int) -> Kind[int]:
    """A whole number within both bounds."""

    def parse(text: str) -> int:
        if _WHOLE.fullmatch(text) is None or not low <= int(text) <= high:
            raise ValueError(f"{text!r} is not a whole number from {low} to {high}")
        return int(text)

    return Kind(f"a whole number from {low} to {high}", parse)


def choice(*words: str) -> Kind[str]:
    """One of some words; upper and lower case mean the same."""
    known = {word.lower(): word for word in words}

    def parse(text: str) -> str:
        if text.lower() not in known:
            raise ValueError(f"{text!r} is not known")
        return known[text.lower()]

    return Kind(", ".join(words[:-1]) + f" or {words[-1]}", parse)


def shown_url(text: str) -> str:
    """Return what may be shown of a URL: all but login and parameters; other text as it is."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        return text
    place = rest.partition("?")[0].rpartition("@")
    return f"{scheme}://{MASK}@{place[2]}" if place[1] else f"{scheme}://{place[2]}"


def _parse_yes_no(text: str) -> bool:
    if text.lower() not in _WORDS:
        raise ValueError(f"{text!r} is neither true nor false")
    return _WORDS[text.lower()]


def _parse_port(text: str) -> int | None:
    return whole(0, 65535).parse(text) or None


def _parse_schedule(text: str) -> tuple[int, ...]:
    return tuple(whole(1, 2_592_000).parse(part.strip()) for part in text.split(","))


def _parse_networks(text: str) -> tuple[Network, ...]:
    networks = []
    for part in text.split(","):
        try:
            networks.append(ip_network(part.strip()))
        except ValueError as error:
            raise ValueError(f"{part.strip()!r} is not a network ({error})") from None
    return tuple(networks)


def _parse_hosts(text: str) -> tuple[str, ...]:
    return tuple(_parse_host(part.strip().lower()) for part in text.split(","))


def _parse_host(text: str) -> str:
    if _HOST.fullmatch(text):
        return text
    try:
        return str(IPv6Address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        raise ValueError(f"{text!r} is not a host name or address without a port") from None


def _parse_rate_limit(text: str) -> RateLimit | None:
    if text == "0":
        return None
    match = _RATE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a rate")
    return RateLimit(int(match[1]), _PERIODS[match[2]])


def _parse_currency(text: str) -> str:
    if text not in CURRENCIES:
        raise ValueError(f"{text!r} is not a known currency code")
    return text


def _parse_sums(text: str) -> Mapping[str, int]:
    sums: dict[str, int] = {}
    for part in text.split(","):
        code, _, amount = part.strip().partition(":")
        currency = _parse_currency(code)
        if currency in sums:
            raise ValueError(f"names {currency} twice")
        sums[currency] = _parse_sum(amount, currency)
    return MappingProxyType(sums)


def _parse_sum(text: str, currency: str) -> int:
    if _NOTHING.fullmatch(text):
        return 0
    try:
        return parse_amount(text, currency).amount
    except InvalidInput as error:
        raise ValueError(f"{text!r} {error.errors[0].message}") from None


def _parse_timezone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise ValueError(f"{text!r} is not a known time zone") from None


def _parse_anchor(text: str) -> str:
    if text.startswith(("https://", "http://")):
        try:
            parts = urlsplit(text)
            named = parts.hostname and parts.port != 0
        except ValueError:
            named = None
        if not named:
            raise ValueError(f"{text!r} is not a URL that can be read")
        return text
    if not Path(text).is_absolute():
        raise ValueError(f"{text!r} is neither an absolute path nor a URL")
    return text


def _parse_folder(text: str) -> Path:
    try:
        folder = Path(text).expanduser()
        taken = folder.exists() and not folder.is_dir()
    except RuntimeError:
        raise ValueError(f"{text!r} names a home folder that does not exist") from None
    except OSError as error:
        raise ValueError(f"{text!r} cannot be used ({error.strerror})") from None
    if taken:
        raise ValueError(f"{text!r} is not a folder")
    return folder


def _parse_database_url(text: str) -> str:
    match = _DATABASE_SCHEME.match(text)
    if match is None:
        raise ValueError("is not a PostgreSQL URL")
    url = "postgresql+psycopg://" + text[match.end() :]
    try:
        make_url(url)
    except (ArgumentError, ValueError):
        raise ValueError("is not a URL that can be read (is the password URL-encoded?)") from None
    return url


def _parse_redis_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        complete = (
            parts.path.strip("/")
            if _is_socket(parts.scheme)
            else parts.hostname and parts.port != 0
        )
    except ValueError:
        raise ValueError("is not a URL that can be read (is the password URL-encoded?)") from None
    if parts.scheme not in _REDIS_SCHEMES:
        raise ValueError("is not a Redis URL")
    if not complete:
        raise ValueError("names neither a host nor a socket")
    return text


def _parse_secret(text: str) -> str:
    if len(text) < _SECRET_LENGTH:
        raise ValueError(f"is shorter than {_SECRET_LENGTH} characters")
    if len(set(text)) < _SECRET_VARIETY:
        raise ValueError("is too simple to be random")
    return text


def _parse_keys(text: str) -> str:
    try:
        Keyring.parse(text)
    except ConfigurationError as error:
        raise ValueError(error.problem) from None
    return text


def broker_url(redis_url: str) -> str:
    """Return ``redis_url`` in the form that kombu reads: it names sockets in its own way."""
    parts = urlsplit(redis_url)
    if not _is_socket(parts.scheme):
        return redis_url
    query = [
        ("virtual_host" if name == "db" else name, value) for name, value in parse_qsl(parts.query)
    ]
    login = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    tail = f"?{urlencode(query)}" if query else ""
    return f"redis+socket://{login}{parts.path}{tail}"


def _is_socket(scheme: str) -> bool:
    return scheme in ("unix", "redis+socket")


YES_NO = Kind("true or false", _parse_yes_no)
PORT = Kind("a port from 1 to 65535, or 0 for off", _parse_port)
SCHEDULE = Kind("seconds from 1 to 2592000, separated by commas", _parse_schedule)
NETWORKS = Kind("networks such as 127.0.0.0/8, separated by commas", _parse_networks)
HOSTS = Kind(
    "host names without scheme and port, separated by commas; .example.com adds its subdomains",
    _parse_hosts,
)
RATE_LIMIT = Kind("a number per second, minute, hour or day such as 100/second", _parse_rate_limit)
CURRENCY = Kind("a currency code such as RUB or USDT", _parse_currency)
SUMS = Kind(
    "currencies with a sum each such as RUB:100000.00,USD:1000.00, separated by commas", _parse_sums
)
TIMEZONE = Kind("an IANA time zone such as Europe/Moscow or UTC", _parse_timezone)
ANCHOR = Kind("the absolute path of a file, or an http or https URL", _parse_anchor)
FOLDER = Kind("a folder", _parse_folder)
DATABASE_URL = Kind(
    "a URL such as postgresql://user:password@host:5432/standart", _parse_database_url
)
REDIS_URL = Kind(
    "a URL such as redis://:password@host:6379/0, rediss://… or unix:///run/redis.sock?db=0",
    _parse_redis_url,
)
SECRET = Kind(
    f"at least {_SECRET_LENGTH} random characters; a new one: "
    'python -c "import secrets; print(secrets.token_urlsafe(48))"',
    _parse_secret,
)
KEYS = Kind(
    f"{FORM}; a new one: "
    'python -c "from standart.encryption import generate_key; print(generate_key())"',
    _parse_keys,
)
