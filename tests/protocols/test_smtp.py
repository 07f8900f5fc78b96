from __future__ import annotations

from random import Random

import pytest

from tests.protocols.pairing import pair
from vaurien.framing import Head
from vaurien.model import TO_BACKEND, TO_CLIENT
from vaurien.protocols.smtp import Smtp
from vaurien.testing.framing import check_framing

SMTP = Smtp()
HELLO = [b"", b"220 mx ESMTP\r\n", b"EHLO me\r\n", b"250-mx\r\n250-PIPELINING\r\n250 8BITMIME\r\n"]
SENT = [b"MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\n", b"250 ok\r\n250 ok\r\n354 go\r\n"]

DIALOGUES = {
    "a mail": (
        [*HELLO, *SENT, b"Subject: x\r\n\r\n..\r\nhi\r\n.\r\n", b"250 queued\r\n", b"QUIT\r\n", b"221 bye\r\n"],
        "EHLO:250 MAIL,a@x:250 RCPT,b@y:250 DATA:354 MESSAGE:250 QUIT:221",
    ),
    "an empty mail": (
        [*HELLO, *SENT, b".\r\n", b"250 queued\r\n"],
        "EHLO:250 MAIL,a@x:250 RCPT,b@y:250 DATA:354 MESSAGE:250",
    ),
    "dots that do not end it": (
        [*HELLO, *SENT, b"a\r\n..\r\n.b\r\n.\n\n.\r\n\r.\r\n.\r\n", b"554 no\r\n", b"RSET\r\n", b"250 ok\r\n"],
        "EHLO:250 MAIL,a@x:250 RCPT,b@y:250 DATA:354 MESSAGE:554 RSET:250",
    ),
    "an empty line before the end": (
        [*HELLO, *SENT, b"\r\n.\r\n", b"250 ok\r\n"],
        "EHLO:250 MAIL,a@x:250 RCPT,b@y:250 DATA:354 MESSAGE:250",
    ),
    "commands behind the end of the mail": (
        [*HELLO, *SENT, b"hi\r\n.\r\nMAIL FROM:<>\r\nQUIT\r\n", b"250 ok\r\n250 ok\r\n221 bye\r\n"],
        "EHLO:250 MAIL,a@x:250 RCPT,b@y:250 DATA:354 MESSAGE:250 MAIL,:250 QUIT:221",
    ),
    "EHLO refused": (
        [b"", b"220 mx\r\n", b"EHLO me\r\n", b"502 no\r\n", b"HELO me\r\n", b"250 mx\r\n"],
        "EHLO:502 HELO:250",
    ),
    "a login refused": (
        [
            *HELLO,
            b"AUTH PLAIN AGEAYg==\r\n",
            b"535 no\r\n",
            b"AUTH LOGIN\r\n",
            b"504 no\r\n",
            b"NOOP\r\n",
            b"250 ok\r\n",
        ],
        "EHLO:250 AUTH:535 AUTH:504 NOOP:250",
    ),
    "a login refused after a challenge": (
        [*HELLO, b"AUTH PLAIN\r\n", b"334 \r\n", b"AGEAYg==\r\n", b"535 no\r\n", b"NOOP\r\n", b"250 ok\r\n"],
        "EHLO:250 AUTH:334 RESPONSE:535 NOOP:250",
    ),
    "a login given up": (
        [*HELLO, b"AUTH PLAIN\r\n", b"334 \r\n", b"*\r\n", b"501 given up\r\n", b"NOOP\r\n", b"250 ok\r\n"],
        "EHLO:250 AUTH:334 RESPONSE:501 NOOP:250",
    ),
    "a chunk refused": (
        [*HELLO, b"BDAT 3\r\nabcRSET\r\n", b"503 no\r\n250 ok\r\n"],
        "EHLO:250 BDAT:503 RSET:250",
    ),
    "the other direction refused": (
        [*HELLO, b"TURN\r\n", b"502 no\r\n", b"ATRN x\r\n", b"450 no\r\n", b"NOOP\r\n", b"250 ok\r\n"],
        "EHLO:250 TURN:502 ATRN:450 NOOP:250",
    ),
    "DATA refused": (
        [
            *HELLO,
            b"MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\n",
            b"250 ok\r\n550 no\r\n554 none\r\n",
            b"RSET\r\n",
            b"250 ok\r\n",
        ],
        "EHLO:250 MAIL,a@x:250 RCPT,b@y:550 DATA:554 RSET:250",
    ),
    "a mail refused before its end": (
        [*HELLO, *SENT, b"hi\r\n", b"552 too big\r\n", b"more\r\n.\r\n"],
        "EHLO:250 MAIL,a@x:250 RCPT,b@y:250 DATA:354 MESSAGE:552",
    ),
    "chunks": (
        [
            *HELLO,
            b"bdat 6\r\nA\r\n.\r\nBDAT 0\r\nBDAT 3 LAST\r\nxyz",
            b"250 ok\r\n250 ok\r\n250 queued\r\n",
            b"BDAT x\r\n",
            b"501 no\r\n",
        ],
        "EHLO:250 BDAT:250 BDAT:250 BDAT:250 BDAT:501",
    ),
    "AUTH in rounds": (
        [
            *HELLO,
            b"AUTH LOGIN\r\n",
            b"334 VXNlcg==\r\n",
            b"dQ==\r\n",
            b"334 UGFzcw==\r\n",
            b"cA==\r\n",
            b"235 ok\r\n",
            b"NOOP\r\n",
            b"250 ok\r\n",
        ],
        "EHLO:250 AUTH:334 RESPONSE:334 RESPONSE:235 NOOP:250",
    ),
    "AUTH in one round": (
        [*HELLO, b"AUTH PLAIN AGEAYg==\r\n", b"535 no\r\n", b"QUIT\r\n", b"221 bye\r\n"],
        "EHLO:250 AUTH:535 QUIT:221",
    ),
    "AUTH given up": (
        [
            *HELLO,
            b"AUTH CRAM-MD5\r\n",
            b"334 PDE+\r\n",
            b"*\r\n",
            b"501 cancelled\r\n",
            b"DATA\r\n",
            b"503 no\r\n",
            b"x\r\n",
            b"500 what\r\n",
        ],
        "EHLO:250 AUTH:334 RESPONSE:501 DATA:503 X:500",
    ),
    "TLS": (
        [*HELLO, b"STARTTLS\r\n", b"220 go\r\n", b"\x16\x03\x01 hello", b"\x16\x03\x03 hello", b"\x17", b"\x17"],
        "EHLO:250 STARTTLS:220",
    ),
    "TLS refused": (
        [*HELLO, b"STARTTLS\r\n", b"454 no\r\n", b"QUIT\r\n", b"221 bye\r\n"],
        "EHLO:250 STARTTLS:454 QUIT:221",
    ),
    "roles reversed": ([*HELLO, b"ATRN x\r\n", b"250 ok\r\n", b"220 me\r\n", b"EHLO mx\r\n"], "EHLO:250 ATRN:250"),
    "other commands": (
        [
            *HELLO,
            b"vrfy  Bob \r\n",
            b"252 maybe\r\n",
            b"EXPN list\r\n",
            b"250-a\r\n250 b\r\n",
            b"\r\n",
            b"500\r\n",
            b"XYZZY\xff\r\n",
            b"502 no\r\n",
        ],
        "EHLO:250 VRFY,Bob:252 EXPN,list:250 :500 XYZZY\\XFF:502",
    ),
    "addresses": (
        [
            *HELLO,
            b'MAIL FROM: <"a>b"@x> SIZE=5\r\nrcpt to:<@r1,@r2:b@y>\r\nRCPT TO:<\xc3\xa9@z>\r\nMAIL a@b\r\n',
            b"250 o\r\n250 o\r\n250 o\r\n501 o\r\n",
        ],
        'EHLO:250 MAIL,"a>b"@x:250 RCPT,b@y:250 RCPT,é@z:250 MAIL:501',
    ),
    "bare line feeds": ([b"", b"220 mx\n", b"HELO me\n", b"250 mx\n"], "HELO:250"),
    "a client that does not wait for the greeting": ([b"EHLO me\r\n", b"220-mx\r\n220 mx\r\n250 hi\r\n"], "EHLO:250"),
    "an unfriendly greeting": ([b"", b"554 go away\r\n", b"QUIT\r\n", b"221 bye\r\n"], "QUIT:221"),
    "a server that gives up": ([*HELLO, b"", b"421 timeout\r\n"], "EHLO:250"),
}


@pytest.mark.parametrize(("dialogue", "expected"), DIALOGUES.values(), ids=DIALOGUES)
def test_a_dialogue(dialogue: list[bytes], expected: str) -> None:
    pairing = pair(SMTP.framer(), dialogue)
    assert " ".join(f"{','.join(request)}:{response[0]}" for request, response in pairing.pairs) == expected
    assert pairing.complete
    assert pairing.framing.lost is None
    check_framing(SMTP, [(not number % 2, data) for number, data in enumerate(dialogue)])


def test_greeting_and_giving_up_belong_to_no_exchange() -> None:
    pairing = pair(SMTP.framer(), [*HELLO, b"", b"421 timeout\r\n"])
    assert pairing.aside[False] == b"220 mx ESMTP\r\n421 timeout\r\n"


@pytest.mark.parametrize("line", [b"x" * 3_000_000, b"\r\n.\r" * 100_000, b".x" * 100_000])
def test_of_a_mail_only_what_may_be_its_end_is_looked_at(line: bytes) -> None:
    framer = SMTP.framer()
    pairing = pair(framer, [*HELLO, *SENT])
    pairing.feed(TO_BACKEND, line)
    assert framer.held(TO_BACKEND) == 0
    pairing.feed(TO_BACKEND, b"\r\n.\r\n")
    assert pairing.feed(TO_CLIENT, b"250 ok\r\n") == b"250 ok\r\n"
    assert pairing.complete


def test_a_chunk_is_never_held() -> None:
    framer = SMTP.framer()
    pairing = pair(framer, [*HELLO, b"BDAT 999999999999999999 LAST\r\n" + bytes(1000)])
    assert framer.held(TO_BACKEND) == 0
    assert len(pairing.feed(TO_BACKEND, bytes(100_000))) == 100_000


LOST = {
    "TLS at once": ([b"\x16\x03\x01\x02\0\x01"], "a command that begins with byte 0x16"),
    "TLS from the server": ([b"", b"\x15\x03\x01"], "a reply that begins with byte 0x15"),
    "HTTP": ([b"GET / HTTP/1.1\r\n", b"HTTP/1.1 400 Bad\r\n"], "a reply that begins with byte 0x48"),
    "another reply": ([*HELLO, b"", b"25 ok\r\n"], "b'25 ok\\r\\n' is not a reply"),
    "a broken second line": ([b"", b"220-a\r\n200000\r\n"], "b'200000\\r\\n' is not a reply"),
    "a reply too many": ([*HELLO, b"", b"250 ok\r\n"], "reply 250 answers no command"),
    "a mail before 354": ([*HELLO, b"DATA\r\nSubject: x\r\n"], "bytes after DATA and before its reply"),
    "commands before TLS": ([*HELLO, b"STARTTLS\r\nEHLO me\r\n"], "bytes after STARTTLS and before its reply"),
    "a mail with another end": ([*HELLO, *SENT, b"hi\n.\n", b"250 ok\r\n"], "reply 250 to a message before its end"),
    "a long command": ([*HELLO, b"x" * 12289], "no end of line within 12288 bytes"),
    "a long reply": ([b"", b"2" * 12289], "no end of line within 12288 bytes"),
    "bytes in a high plane": ([*HELLO, b"\xffMAIL"], "a command that begins with byte 0xff"),
}


@pytest.mark.parametrize(("dialogue", "reason"), LOST.values(), ids=LOST)
def test_what_is_not_smtp_is_lost_with_a_reason(dialogue: list[bytes], reason: str) -> None:
    transcript = check_framing(SMTP, [(not number % 2, data) for number, data in enumerate(dialogue)])
    assert transcript.framing.lost == reason


def head_of(dialogue: list[bytes], request: bytes) -> Head:
    framer = SMTP.framer()
    pair(framer, dialogue)
    head = framer.feed(TO_BACKEND, request)[0][0]
    assert isinstance(head, Head)
    return head


@pytest.mark.parametrize("code", SMTP.error_codes)
@pytest.mark.parametrize(
    ("dialogue", "request_", "stuck"),
    [
        (HELLO, b"MAIL FROM:<a@x>\r\n", False),
        (HELLO, b"BDAT 3\r\nabc", False),
        ([*HELLO, *SENT], b"hi\r\n.\r\n", True),
        ([*HELLO, b"AUTH LOGIN\r\n", b"334 x\r\n"], b"dQ==\r\n", True),
    ],
)
def test_an_error_reply_ends_the_connection_only_where_it_must(
    dialogue: list[bytes], request_: bytes, stuck: bool, code: str
) -> None:
    reply = SMTP.error_reply(head_of(dialogue, request_), Random(1), code)
    assert reply.data.startswith(code.encode() + b" ")
    assert reply.data.endswith(b"\r\n")
    assert reply.close == (stuck or code == "421")


def test_without_a_code_one_is_drawn() -> None:
    head = head_of(HELLO, b"NOOP\r\n")
    drawn = {SMTP.error_reply(head, Random(seed)).data[:3].decode() for seed in range(50)}
    assert drawn == set(SMTP.error_codes)


WITHDRAWN = {
    "DATA: no mail follows": ([*HELLO], b"DATA\r\n", [b"QUIT\r\n", b"221 bye\r\n"], "QUIT:221"),
    "AUTH: no answer to a challenge follows": (
        [*HELLO],
        b"AUTH LOGIN\r\n",
        [b"DATA\r\n", b"354 go\r\n", b"QUIT\r\n.\r\n", b"250 ok\r\n"],
        "DATA:354 MESSAGE:250",
    ),
    "STARTTLS: no TLS follows": ([*HELLO], b"STARTTLS\r\n", [b"NOOP\r\n", b"250 ok\r\n"], "NOOP:250"),
    "a mail: the backend still waits for one": (
        [*HELLO, *SENT],
        b"hi\r\n.\r\n",
        [b"QUIT\r\n.\r\n", b"250 ok\r\n"],
        "MESSAGE:250",
    ),
    "an answer to a challenge: so it does": (
        [*HELLO, b"AUTH LOGIN\r\n", b"334 x\r\n"],
        b"dQ==\r\n",
        [b"QUIT\r\n", b"501 no\r\n", b"QUIT\r\n", b"221 bye\r\n"],
        "RESPONSE:501 QUIT:221",
    ),
    "BDAT: its bytes went the same way": ([*HELLO], b"BDAT 6\r\nQUIT\r\n", [b"RSET\r\n", b"250 ok\r\n"], "RSET:250"),
}


@pytest.mark.parametrize(("before", "withdrawn", "after", "expected"), WITHDRAWN.values(), ids=WITHDRAWN)
def test_what_the_proxy_answers_itself_the_backend_does_not_know(
    before: list[bytes], withdrawn: bytes, after: list[bytes], expected: str
) -> None:
    framer = SMTP.framer()
    pair(framer, before)
    head = framer.feed(TO_BACKEND, withdrawn)[0][0]
    assert isinstance(head, Head)
    framer.withdraw(head)
    pairs = pair(framer, after).pairs
    assert " ".join(f"{','.join(request)}:{response[0]}" for request, response in pairs) == expected
    assert framer.lost is None
    assert not framer.waiting


def test_the_options() -> None:
    assert Smtp.__struct_fields__ == ()
    assert SMTP.fields == ("verb", "address")
