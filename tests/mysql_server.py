"""A server with `caching_sha2_password` alone, which MariaDB has not: greeting, login, and an OK for each command.

It is written from MySQL's description of the protocol (Connection Phase, Caching SHA-2 pluggable authentication), and
is no MySQL: it shows that the packets are in order and that the password arrives, not that a MySQL takes it.
"""

from __future__ import annotations

import hashlib
import itertools
import secrets

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.tls_peers import secured

SSL, PLUGIN = 1 << 11, 1 << 19
FLAGS = 1 | 1 << 3 | 1 << 9 | 1 << 13 | 1 << 15 | PLUGIN  # 4.1, databases, transactions, secure login
CACHING = b"caching_sha2_password"
OK = b"\0\0\0\2\0\0\0"


def scrambled(password, challenge):
    once = hashlib.sha256(password).digest()
    twice = hashlib.sha256(hashlib.sha256(once).digest() + challenge).digest()
    return bytes(a ^ b for a, b in zip(once, twice, strict=True))


class Sha2Server:
    """Has one user, with *password*. `talk` is for `tests.tls_peers.serving`, without a context.

    *method* is that of the greeting; with another one it asks for a switch to its own. *remembers* the hash from the
    first login on. `asked` says what passwords have come: in clear, encrypted, or not at all.
    """

    def __init__(self, password, *, context=None, method=CACHING, own=CACHING, bits=2048, remembers=True):
        self._password, self._context, self._method, self._own = password, context, method, own
        self._key = rsa.generate_private_key(65537, bits)
        self._remembers = remembers
        self._known = False
        self.asked = []

    def talk(self, stream):
        numbers = itertools.count()
        challenge = bytes(1 + byte % 127 for byte in secrets.token_bytes(20))
        flags = FLAGS | SSL if self._context else FLAGS
        low, high = (flags & 0xFFFF).to_bytes(2, "little"), (flags >> 16).to_bytes(2, "little")
        begin = b"\x0a8.4.0\0" + bytes(4) + challenge[:8] + b"\0" + low + b"\xff\2\0" + high + b"\x15"
        write(stream, numbers, begin + bytes(10) + challenge[8:] + b"\0" + self._method + b"\0")
        login = read(stream, numbers)
        secure = bool(int.from_bytes(login[:4], "little") & SSL)
        if secure:
            with secured(self._context, stream) as stream:
                self._serve(stream, numbers, read(stream, numbers), challenge, secure)
        else:
            self._serve(stream, numbers, login, challenge, secure)

    def _serve(self, stream, numbers, login, challenge, secure):
        if not self._log_in(stream, numbers, login, challenge, secure):
            write(stream, numbers, b"\xff\x15\x04#28000Access denied")
            return
        write(stream, numbers, OK)
        while command := read(stream, numbers := itertools.count()):
            if command == b"\1":
                return
            write(stream, numbers, OK)

    def _log_in(self, stream, numbers, login, challenge, secure):
        answer = answer_of(login)
        if self._method != self._own:
            write(stream, numbers, b"\xfe" + self._own + b"\0" + challenge + b"\0")
            answer = read(stream, numbers)
        if self._own == CACHING:
            if self._known:
                if answer == scrambled(self._password, challenge):
                    write(stream, numbers, b"\1\3")
                    self.asked.append("nothing")
                    return True
                return False
            write(stream, numbers, b"\1\4")
            answer = read(stream, numbers)
        if secure:
            self.asked.append("clear")
        else:
            assert answer == (b"\2" if self._own == CACHING else b"\1"), answer
            kind = serialization.PublicFormat.SubjectPublicKeyInfo
            key = self._key.public_key().public_bytes(serialization.Encoding.PEM, kind)
            write(stream, numbers, b"\1" + key)
            oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
            answer = self._key.decrypt(read(stream, numbers), oaep)
            answer = bytes(byte ^ challenge[at % 20] for at, byte in enumerate(answer))
            self.asked.append("encrypted")
        right = answer == self._password + b"\0"
        self._known = right and self._remembers
        return right


def answer_of(login):
    """The answer to the challenge in a HandshakeResponse41."""
    after = login.index(b"\0", 32) + 1
    return login[after + 1 : after + 1 + login[after]]


def read(stream, numbers):
    head = exactly(stream, 4)
    if not head:
        return b""
    assert head[3] == next(numbers), "packets out of order"
    return exactly(stream, int.from_bytes(head[:3], "little"))


def exactly(stream, count):
    data = b""
    while len(data) < count and (more := stream.recv(count - len(data))):
        data += more
    return data


def write(stream, numbers, payload):
    stream.sendall(len(payload).to_bytes(3, "little") + bytes([next(numbers)]) + payload)
