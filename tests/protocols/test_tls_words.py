"""What is said about TLS on one side only: the same however the bytes are cut, and nothing is lost or raised."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from vaurien.protocols.mysql.packets import Can
from vaurien.protocols.mysql.protocol import Mysql
from vaurien.protocols.postgres.protocol import Postgres
from vaurien.protocols.smtp import Smtp
from vaurien.tls import rsa_key

PROTOCOLS = {"smtp": Smtp(), "mysql": Mysql(), "postgres": Postgres()}

TO_BACKEND, TO_CLIENT = True, False

OTHER_KEY = (
    ec.generate_private_key(ec.SECP256R1())
    .public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
)


def talk(protocol, backend_tls, said):
    """What each side gets of *said*, pairs of a direction and bytes; the words behind it."""
    words = PROTOCOLS[protocol].tls_words(backend_tls=backend_tls)
    got = {TO_BACKEND: b"", TO_CLIENT: b"", "begun": None}
    for direction, data in said:
        if words.failure:
            break
        if words.over:
            got[direction] += data
            continue
        passed = words.to_backend(data) if direction is TO_BACKEND else words.from_backend(data)
        if words.question:
            got[TO_BACKEND] += words.question
            words.question = b""
        if words.begins:
            words.begins, got["begun"] = False, len(got[TO_BACKEND])
        got[direction] += passed
        got[TO_CLIENT] += words.answer
        words.answer = b""
        if words.over:
            got[TO_BACKEND] += words.rest(to_backend=True)
            got[TO_CLIENT] += words.rest(to_backend=False)
    return got, words


def packet(number, payload):
    return len(payload).to_bytes(3, "little") + bytes([number]) + payload


def greeting(flags):
    low, high = (flags & 0xFFFF).to_bytes(2, "little"), (flags >> 16).to_bytes(2, "little")
    return packet(0, b"\x0a5.5\0" + bytes(12) + b"\0" + low + bytes(3) + high + b"\x15" + bytes(10) + bytes(13))


def login(number, flags):
    return packet(number, flags.to_bytes(4, "little") + bytes(28) + b"me\0\0")


FLAGS = Can.PROTOCOL_41 | Can.LONG_PASSWORD
SECURE = FLAGS | Can.SSL
REQUEST = packet(1, SECURE.to_bytes(4, "little") + bytes(28))
OK = b"\0\0\0\2\0\0\0"


def test_mysql_asks_a_backend_for_tls():
    said = [
        (TO_CLIENT, greeting(SECURE)),
        (TO_BACKEND, login(1, FLAGS)),
        (TO_CLIENT, packet(3, b"\xfeother\0")),
        (TO_BACKEND, packet(3, b"secret")),
        (TO_CLIENT, packet(5, OK)),
        (TO_BACKEND, packet(0, b"\x0e")),
    ]
    got, words = talk("mysql", True, said)
    assert got[TO_CLIENT] == greeting(FLAGS) + packet(2, b"\xfeother\0") + packet(4, OK)
    assert got[TO_BACKEND] == REQUEST + login(2, SECURE) + packet(4, b"secret") + packet(0, b"\x0e")
    assert words.over


def test_mysql_offers_tls_for_a_backend():
    said = [
        (TO_CLIENT, greeting(FLAGS)),
        (TO_BACKEND, REQUEST),
        (TO_BACKEND, login(2, SECURE)),
        (TO_CLIENT, packet(2, b"\xfeother\0")),
        (TO_BACKEND, packet(4, b"secret")),
        (TO_CLIENT, packet(4, b"\xff\x15\x04#28000denied")),
    ]
    got, words = talk("mysql", False, said)
    assert got[TO_CLIENT] == greeting(SECURE) + packet(3, b"\xfeother\0") + packet(5, b"\xff\x15\x04#28000denied")
    assert got[TO_BACKEND] == login(1, FLAGS) + packet(3, b"secret")
    assert words.over


def test_mysql_gives_a_client_without_tls_a_key_and_a_backend_with_it_the_password():
    key = rsa_key.public_key()
    said = [
        (TO_CLIENT, greeting(SECURE)),
        (TO_BACKEND, login(1, FLAGS)),
        (TO_CLIENT, packet(3, b"\xfecaching_sha2_password\0" + b"\1" * 20 + b"\0")),
        (TO_BACKEND, packet(3, b"x" * 32)),
        (TO_CLIENT, packet(5, b"\1\4")),
        (TO_BACKEND, packet(5, b"\2")),
        (TO_BACKEND, packet(7, rsa_key.encrypt(bytes(byte ^ 1 for byte in b"secret\0"), key))),
        (TO_CLIENT, packet(7, OK)),
    ]
    got, words = talk("mysql", True, said)
    assert got[TO_CLIENT].endswith(packet(4, b"\1\4") + packet(6, b"\1" + key) + packet(8, OK))
    assert got[TO_BACKEND].endswith(packet(4, b"x" * 32) + packet(6, b"secret\0"))
    assert words.over


@pytest.mark.parametrize("payload", [b"\1\4", b"\1\3"])
def test_mysql_takes_no_password_from_a_method_that_it_does_not_know(payload):
    said = [
        (TO_CLIENT, greeting(FLAGS)),
        (TO_BACKEND, REQUEST + login(2, SECURE)),
        (TO_CLIENT, packet(2, b"\xfedialog\0")),
        (TO_BACKEND, packet(4, b"one")),
        (TO_CLIENT, packet(4, payload)),
        (TO_BACKEND, packet(6, b"two")),
    ]
    got, words = talk("mysql", False, said)
    assert got[TO_BACKEND].endswith(packet(3, b"one") + packet(5, b"two"))
    assert not words.failure


@pytest.mark.parametrize("key", [b"", b"no PEM", OTHER_KEY], ids=["nothing", "garbage", "EC"])
def test_mysql_says_which_key_of_a_backend_is_none(key):
    said = [
        (TO_CLIENT, greeting(FLAGS)),
        (TO_BACKEND, REQUEST + login(2, SECURE)),
        (TO_CLIENT, packet(2, b"\1\4")),
        (TO_BACKEND, packet(4, b"secret\0")),
        (TO_CLIENT, packet(4, b"\1" + key)),
    ]
    _, words = talk("mysql", False, said)
    assert words.failure.startswith("the password cannot be encrypted for it: ")
    assert "secret" not in words.failure


@pytest.mark.parametrize(
    "begin", [packet(0, b"\xff\x10\x04#08004Too many connections"), b"HTTP/1.1 400 Bad Request\r\n"]
)
@pytest.mark.parametrize("backend_tls", [True, False])
def test_a_server_that_does_not_greet_is_passed_on(backend_tls, begin):
    got, words = talk("mysql", backend_tls, [(TO_CLIENT, begin)])
    assert got[TO_CLIENT] == begin
    assert words.over
    assert not words.failure


SMTP = [
    (TO_CLIENT, b"220 mx\r\n"),
    (TO_BACKEND, b"EHLO me\r\n"),
    (TO_CLIENT, b"250-mx\r\n250 SIZE\r\n"),
    (TO_BACKEND, b"NOOP\r\n"),
    (TO_CLIENT, b"250 ok\r\n"),
]


def test_smtp_offers_starttls_and_answers_it():
    got, words = talk("smtp", False, [*SMTP, (TO_BACKEND, b"starttls\r\n")])
    assert (
        got[TO_CLIENT] == b"220 mx\r\n250-mx\r\n250-SIZE\r\n250 STARTTLS\r\n250 ok\r\n220 2.0.0 Ready to start TLS\r\n"
    )
    assert got[TO_BACKEND] == b"EHLO me\r\nNOOP\r\n"
    assert words.over


def test_smtp_offers_no_starttls_twice():
    said = [SMTP[0], SMTP[1], (TO_CLIENT, b"250-mx\r\n250-STARTTLS\r\n250 SIZE\r\n")]
    assert talk("smtp", False, said)[0][TO_CLIENT] == b"220 mx\r\n250-mx\r\n250-STARTTLS\r\n250 SIZE\r\n"


def test_smtp_consents_behind_what_is_due():
    said = [SMTP[0], (TO_BACKEND, b"NOOP\r\nSTARTTLS\r\n")]
    got, _ = talk("smtp", False, said)
    assert got == {TO_BACKEND: b"NOOP\r\n", TO_CLIENT: b"220 mx\r\n", "begun": None}
    got, _ = talk("smtp", False, [*said, (TO_CLIENT, b"250 ok\r\n")])
    assert got[TO_CLIENT] == b"220 mx\r\n250 ok\r\n220 2.0.0 Ready to start TLS\r\n"


def test_a_line_of_a_mail_is_no_command():
    said = [*SMTP, (TO_BACKEND, b"MAIL FROM:<>\r\nDATA\r\n"), (TO_BACKEND, b"STARTTLS\r\n.\r\n")]
    got, _ = talk("smtp", False, said)
    assert got[TO_BACKEND].endswith(b"DATA\r\nSTARTTLS\r\n.\r\n")


def test_smtp_asks_a_backend_for_tls():
    said = [
        (TO_BACKEND, b"EHLO early\r\n"),
        (TO_CLIENT, b"220-mx\r\n220 ready\r\n"),
        (TO_CLIENT, b"250-mx\r\n250-SIZE\r\n250 STARTTLS\r\n"),
        (TO_CLIENT, b"220 go\r\n"),
    ]
    got, words = talk("smtp", True, said)
    assert got[TO_CLIENT] == b"220-mx\r\n220 ready\r\n"
    assert got[TO_BACKEND] == b"EHLO [127.0.0.1]\r\nSTARTTLS\r\nEHLO early\r\n"
    assert got["begun"] == len(b"EHLO [127.0.0.1]\r\nSTARTTLS\r\n")
    assert words.over


def sasl(*names):
    body = (10).to_bytes(4, "big") + b"".join(name + b"\0" for name in names) + b"\0"
    return b"R" + (4 + len(body)).to_bytes(4, "big") + body


def test_postgres_binds_no_password():
    said = [(TO_CLIENT, sasl(b"SCRAM-SHA-256-PLUS", b"SCRAM-SHA-256")), (TO_CLIENT, b"rest")]
    assert talk("postgres", True, said)[0][TO_CLIENT] == sasl(b"SCRAM-SHA-256") + b"rest"


SSL_REQUEST, GSS_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x2f", b"\0\0\0\x08\x04\xd2\x16\x30"
STARTUP = b"\0\0\0\x0e\0\3\0\0user\0\0"


@pytest.mark.parametrize(
    ("said", "answer", "passed"),
    [
        (SSL_REQUEST, b"N", b""),
        (GSS_REQUEST + SSL_REQUEST + STARTUP, b"NN", STARTUP),
        (STARTUP + SSL_REQUEST, b"", STARTUP + SSL_REQUEST),
        (SSL_REQUEST + SSL_REQUEST, b"N", SSL_REQUEST),  # PostgreSQL refuses it
        (b"\0\0\0\x08\x04\xd2\x16\x2e", b"", b"\0\0\0\x08\x04\xd2\x16\x2e"),
    ],
)
def test_postgres_declines_encryption(said, answer, passed):
    got, _ = talk("postgres", True, [(TO_BACKEND, said)])
    assert (got[TO_CLIENT], got[TO_BACKEND]) == (answer, passed)


TALKS = [
    ("mysql", True, [(TO_CLIENT, greeting(SECURE)), (TO_BACKEND, login(1, FLAGS)), (TO_CLIENT, packet(3, OK) + b"x")]),
    (
        "mysql",
        True,
        [
            (TO_CLIENT, greeting(SECURE)),
            (TO_BACKEND, login(1, FLAGS)),
            (TO_CLIENT, packet(3, b"\1\4")),
            (TO_BACKEND, packet(3, b"\2")),
            (TO_BACKEND, packet(5, b"z" * 256)),
        ],
    ),
    ("mysql", False, [(TO_CLIENT, greeting(FLAGS)), (TO_BACKEND, login(1, FLAGS) + b"y"), (TO_CLIENT, packet(2, OK))]),
    ("mysql", False, [(TO_CLIENT, greeting(FLAGS)), (TO_BACKEND, REQUEST + login(2, SECURE)), (TO_CLIENT, b"abc")]),
    ("smtp", False, [*SMTP, (TO_BACKEND, b"RSET\r\nMAIL FROM:<>\r\nDA"), (TO_CLIENT, b"250 ok\r\n250")]),
    ("smtp", False, [*SMTP, (TO_BACKEND, b"STARTTLS\r\n")]),
    ("smtp", True, [(TO_CLIENT, b"220-a\r\n220 b\r\n"), (TO_CLIENT, b"250 STARTTLS\r\n"), (TO_CLIENT, b"220\r\n")]),
    ("postgres", True, [(TO_BACKEND, GSS_REQUEST + SSL_REQUEST + STARTUP + b"Q"), (TO_CLIENT, sasl(b"X-PLUS", b"Y"))]),
    ("postgres", True, [(TO_BACKEND, SSL_REQUEST + SSL_REQUEST)]),
    ("postgres", True, [(TO_CLIENT, b"v\0\0\0\5x" + sasl(b"SCRAM-SHA-256", b"X-PLUS") + b"more")]),
]


@given(st.sampled_from(TALKS), st.lists(st.integers(1, 9), min_size=1))
def test_cuts_make_no_difference(case, sizes):
    protocol, backend_tls, said = case
    cut, number = [], 0
    for direction, data in said:
        at = 0
        while at < len(data):
            size = sizes[number % len(sizes)]
            cut.append((direction, data[at : at + size]))
            at, number = at + size, number + 1
    whole, words = talk(protocol, backend_tls, said)
    pieces, same = talk(protocol, backend_tls, cut)
    for direction in (TO_BACKEND, TO_CLIENT):
        rest = (words.rest(to_backend=direction), same.rest(to_backend=direction))
        assert whole[direction] + rest[0] == pieces[direction] + rest[1]
    assert (words.over, words.failure, whole["begun"]) == (same.over, same.failure, pieces["begun"])


@given(st.sampled_from(sorted(PROTOCOLS)), st.booleans(), st.lists(st.tuples(st.booleans(), st.binary(max_size=40))))
def test_anything_may_come(protocol, backend_tls, said):
    talk(protocol, backend_tls, said)
