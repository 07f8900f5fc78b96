"""The laws of framing for SMTP: for dialogues, and for any bytes at all."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from tests.protocols.pairing import pair
from vaurien.protocols.smtp import Smtp
from vaurien.testing.framing import check_framing

SMTP = Smtp()
GREETING = [b"", b"220 mx\r\n"]

content = st.lists(st.sampled_from([b".", b"\r\n", b"\r", b"\n", b"x", b"\0\xff"]), max_size=20).map(b"".join)
codes = st.sampled_from([b"250", b"450", b"550"])


@st.composite
def replies(draw: st.DrawFn) -> bytes:
    code = draw(codes)
    return b"".join(code + b"-more\r\n" for _ in range(draw(st.integers(0, 2)))) + code + b" end\r\n"


def stuffed(mail: bytes) -> bytes:
    """*mail* as a client sends it (RFC 5321 4.5.2)."""
    lines = re.sub(rb"\r\n|\r|\n", b"\r\n", mail).split(b"\r\n")
    return b"\r\n".join(b"." + line if line.startswith(b".") else line for line in lines) + b"\r\n.\r\n"


@st.composite
def transactions(draw: st.DrawFn) -> list[bytes]:
    answers = [draw(replies()), draw(replies())]
    dialogue = [b"MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\n"]
    if not draw(st.booleans()):
        return [*dialogue, b"".join(answers) + b"554 no\r\n"]
    return [*dialogue, b"".join(answers) + b"354 go\r\n", stuffed(draw(content)), draw(replies())]


@st.composite
def chunks(draw: st.DrawFn) -> list[bytes]:
    parts = draw(st.lists(content, min_size=1, max_size=3))
    return [b"".join(b"BDAT %d\r\n%s" % (len(part), part) for part in parts), b"".join(draw(replies()) for _ in parts)]


@st.composite
def logins(draw: st.DrawFn) -> list[bytes]:
    rounds = draw(st.integers(0, 3))
    return [b"AUTH X\r\n", *[b"334 x\r\n", b"DATA\r\n"] * rounds, b"235 ok\r\n"]


@given(st.lists(transactions() | chunks() | logins(), max_size=4))
def test_dialogues_are_framed_alike_however_they_are_cut(dialogues: list[list[bytes]]) -> None:
    dialogue = sum(dialogues, GREETING)
    assert pair(SMTP.framer(), dialogue).complete
    transcript = check_framing(SMTP, [(not number % 2, data) for number, data in enumerate(dialogue)])
    assert transcript.framing.lost is None


COMMANDS = [b"DATA\r\n", b"AUTH X\r\n", b"STARTTLS\r\n", b"BDAT 5\r\n", b"MAIL FROM:<", b">\r\n"]
ENDS = [b"\r\n.\r\n", b".\r\n", b"\r\n"]
REPLIES = [b"220 ", b"250-", b"334 x\r\n", b"354 x\r\n", b"421\r\n", b"550 \xff\r\n"]
pieces = st.sampled_from([*COMMANDS, *ENDS, *REPLIES]) | st.binary(max_size=5)
segments = st.lists(st.tuples(st.booleans(), st.lists(pieces, max_size=4).map(b"".join)), max_size=8)


@given(segments)
def test_any_bytes_keep_the_laws(segments: list[tuple[bool, bytes]]) -> None:
    check_framing(SMTP, [(False, b"220 mx\r\n"), *segments])
