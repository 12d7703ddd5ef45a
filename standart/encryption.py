"""Secrets at rest: AES-256-GCM with a ring of named keys.

A box is ``version (1 byte) | length of kid (1 byte) | kid | nonce (12 bytes) | ciphertext
and tag``. The header and the caller's context are authenticated with it (NIST SP 800-38D),
so a box cannot be moved to another row. The first key of the ring encrypts, all decrypt:
a new key is put in front, the old one stays until nothing is sealed with it any more
(``services.sealing_service``).
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from standart.errors import ConfigurationError

VARIABLE = "STANDART_ENCRYPTION_KEYS"
FORM = "kid:base64 of 32 bytes, several separated by commas; the first one encrypts"

_VERSION = 1
_KEY_BYTES = 32
# Random nonces of 96 bits are safe for 2**32 messages a key (SP 800-38D §8.3).
_NONCE_BYTES = 12
_KID = re.compile(r"[A-Za-z0-9_.-]{1,32}")


@dataclass(frozen=True, slots=True)
class Keyring:
    """Named AES-256 keys, the encrypting one first; never shown by ``repr``."""

    _ciphers: Mapping[str, AESGCM] = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Keyring:
        """Read ``kid:base64,kid2:base64``.

        Raises:
            ConfigurationError: no key, a malformed or repeated one; no key is echoed.
        """
        ciphers: dict[str, AESGCM] = {}
        for number, item in enumerate(text.split(","), start=1):
            kid, key = _parse_key(item.strip(), number)
            if kid in ciphers:
                raise _refusal(f"key {number} has the same name as an earlier one")
            ciphers[kid] = AESGCM(key)
        return cls(ciphers)

    @property
    def kids(self) -> tuple[str, ...]:
        """The names of the keys, the encrypting one first."""
        return tuple(self._ciphers)

    def reseal(self, box: bytes, context: bytes) -> bytes:
        """Open a box and seal what it holds with the first key.

        Raises:
            ConfigurationError: as ``decrypt``.
        """
        return self.encrypt(self.decrypt(box, context), context)

    def encrypt(self, plain: bytes, context: bytes) -> bytes:
        """Seal ``plain`` with the first key; ``context`` must be given again to open it."""
        kid, cipher = next(iter(self._ciphers.items()))
        name = kid.encode("ascii")
        header = bytes([_VERSION, len(name)]) + name
        nonce = os.urandom(_NONCE_BYTES)
        return header + nonce + cipher.encrypt(nonce, plain, header + context)

    def decrypt(self, box: bytes, context: bytes) -> bytes:
        """Open a box that ``encrypt`` made with the same context.

        Raises:
            ConfigurationError: the ring lacks the key, or the box does not open with the
                key of that name: another key, another context, or damaged data.
        """
        header, nonce, sealed = _open_envelope(box)
        kid = header[2:].decode("ascii", "replace")
        cipher = self._ciphers.get(kid)
        if cipher is None:
            raise ConfigurationError(
                VARIABLE,
                f"lacks the key {kid!r} that stored secrets are sealed with",
                "Add that key again, after the one that encrypts",
            )
        try:
            return cipher.decrypt(nonce, sealed, header + context)
        except InvalidTag:
            raise ConfigurationError(
                VARIABLE,
                f"the key {kid!r} does not open a stored secret",
                "Put back the key that had this name; if it is the right one, "
                "the stored data is damaged",
            ) from None


def generate_key(kid: str = "k1") -> str:
    """Return a new random key in the form that ``Keyring.parse`` reads."""
    return f"{kid}:{base64.b64encode(os.urandom(_KEY_BYTES)).decode('ascii')}"


def _parse_key(item: str, number: int) -> tuple[str, bytes]:
    kid, colon, encoded = item.partition(":")
    if not colon or _KID.fullmatch(kid) is None:
        raise _refusal(f"key {number} has no name of 1 to 32 letters, digits or _.- before a colon")
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise _refusal(f"key {number} is not valid base64") from None
    if len(key) != _KEY_BYTES:
        raise _refusal(f"key {number} has {len(key)} bytes, not {_KEY_BYTES}")
    return kid, key


def _open_envelope(box: bytes) -> tuple[bytes, bytes, bytes]:
    """Return header, nonce and ciphertext; a box too short for them is damaged data."""
    start = 2 + box[1] if len(box) > 1 and box[0] == _VERSION else len(box)
    header, nonce, sealed = (
        box[:start],
        box[start : start + _NONCE_BYTES],
        box[start + _NONCE_BYTES :],
    )
    if not sealed:
        raise ConfigurationError(
            VARIABLE,
            "a stored secret has no envelope that this version knows",
            "Restore the row from a backup, or run the version that wrote it",
        )
    return header, nonce, sealed


def _refusal(problem: str) -> ConfigurationError:
    return ConfigurationError(
        VARIABLE,
        problem,
        f"Set it to {FORM}. A new key: "
        'python -c "from standart.encryption import generate_key; print(generate_key())"',
    )
