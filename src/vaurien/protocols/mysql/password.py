"""The password of a login, where one side has TLS and the other has none.

::

    inside TLS    01 04                                  the password, a zero        OK
    without TLS   01 04    02 (a key!)    01 key (PEM)    the same, encrypted        OK

``caching_sha2_password`` asks for the password itself (01 04) when the server does not remember its hash. A client says
it as it is inside TLS. Without TLS it asks for the server's RSA key, and encrypts the password, which was combined with
the server's challenge before (MySQL's Internals: "Caching SHA-2 pluggable authentication"). ``sha256_password`` is the
same without 01 04 and with another byte for the request. So the proxy takes the part of the client towards a backend
without TLS, and that of the server towards a client without TLS.
"""

from __future__ import annotations

from typing import TypeAlias

from vaurien import tls
from vaurien.errors import VaurienError

CHALLENGE = 20
"""Bytes of it; a zero comes behind them."""

_SWITCH, _MORE = 0xFE, 0x01
_WANTED = b"\x01\x04"
_EMPTY = b"\0"
_CACHING, _PLAIN = b"caching_sha2_password", b"sha256_password"
_KEY_REQUESTS = {_CACHING: b"\x02", _PLAIN: b"\x01"}

Passed: TypeAlias = tuple[bytes | None, bytes | None]
"""Payloads of packets: what goes on in the same direction, and what goes back."""


class PasswordExchange:
    """What becomes of the payloads of a login. *backend_tls*: the backend has TLS, and the client has none."""

    def __init__(self, *, backend_tls: bool) -> None:
        self.failure = ""
        """Why the password cannot be passed on; empty: it may still be."""
        self.challenge = b""
        self._backend_tls = backend_tls
        self._method = _CACHING  # if the greeting names another one, the server asks for nothing by 01 04
        self._wanted = False  # the client's next packet is the password, or asks for the key
        self._key_sent = False
        self._password = b""  # of the client, which the backend's key is awaited for

    def from_backend(self, payload: bytes) -> Passed:
        """The backend has sent *payload*."""
        if self._password:
            password, self._password = self._password, b""
            if payload[:1] == bytes((_MORE,)):
                return None, self._encrypted(password, payload[1:])
        elif payload[:1] == bytes((_SWITCH,)):
            self._method, _, challenge = payload[1:].partition(b"\0")
            self.challenge = challenge[:CHALLENGE]
            self._wanted = self._method == _PLAIN
        elif payload == _WANTED and self._method == _CACHING:
            self._wanted = True
        return payload, None

    def from_client(self, payload: bytes) -> Passed:
        """The client has sent *payload*."""
        if self._key_sent:
            self._key_sent = False
            return self._decrypted(payload), None
        if not self._wanted or payload in (b"", _EMPTY):
            return payload, None
        self._wanted = False
        request = _KEY_REQUESTS[self._method]
        if not self._backend_tls:
            self._password = payload
            return request, None
        if payload == request:
            self._key_sent = True
            return None, self._own_key()
        self.failure = "the client has encrypted its password with a key of the server's that the proxy does not have"
        return None, None

    def _own_key(self) -> bytes | None:
        try:
            tls.require()
        except VaurienError as error:
            self.failure = f"the client asks for the RSA key of the server: {error}"
            return None
        from vaurien.tls import rsa_key  # it needs the extra

        return bytes((_MORE,)) + rsa_key.public_key()

    def _decrypted(self, payload: bytes) -> bytes | None:
        from vaurien.tls import rsa_key  # it needs the extra

        try:
            return self._combined(rsa_key.decrypt(payload))
        except ValueError:
            self.failure = "the client has not encrypted its password with the key that it was given"
            return None

    def _encrypted(self, password: bytes, key: bytes) -> bytes | None:
        try:
            tls.require()
            from vaurien.tls import rsa_key  # it needs the extra

            return rsa_key.encrypt(self._combined(password), key)
        except (ValueError, VaurienError) as error:
            reason = str(error) or "not a key of RSA"
            self.failure = f"the password cannot be encrypted for it: {reason}"
            return None

    def _combined(self, password: bytes) -> bytes:
        """*password* and the challenge, byte by byte; twice is once too often, and undoes it."""
        challenge = self.challenge or _EMPTY
        return bytes(each ^ challenge[at % len(challenge)] for at, each in enumerate(password))
