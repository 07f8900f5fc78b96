"""Mail as clients submit it and servers relay it. `SMTP` is for legacy plugins, which import it from here."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from vaurien.errors import ParseError
from vaurien.framing import Framer, Frames, Head, Protocol, Reader, Reply, Step
from vaurien.framing.reader import HEAD_LIMIT
from vaurien.framing.starttls import NoOffer, TlsOffer, TlsWords
from vaurien.legacy.protocols import SMTP

if TYPE_CHECKING:
    from vaurien.chance import Random

__all__ = ["LINE_LIMIT", "MESSAGE", "RESPONSE", "SMTP", "Smtp", "SmtpFramer"]

LINE_LIMIT = 12288
"""Bytes of a line: what RFC 4954 section 4 finds enough for AUTH; RFC 5321 section 4.5.3.1 gives other lines 512."""

MESSAGE = "MESSAGE"
"""The verb of the mail that the client sends after DATA is answered with 354; it ends with a line of one dot."""

RESPONSE = "RESPONSE"
"""The verb of a line that the client sends after AUTH is answered with 334, a challenge."""

# Replies after which the connection is not SMTP, or not in this direction: RFC 821 TURN; RFC 2645 ATRN.
_LEAVES = frozenset({("TURN", b"250"), ("ATRN", b"250")})
# Nothing may follow these before they are answered (RFC 2920 section 3.1, RFC 3207 section 4).
_LAST = frozenset({"DATA", "STARTTLS"})

# After them the client's next bytes are no commands, or the connection is another.
_CHANGES = frozenset({"ATRN", "AUTH", "DATA", "STARTTLS", "TURN"})

_REPLY = re.compile(rb"[2-5][0-9][0-9](?:[ -].*)?\r?\n", re.DOTALL)
_CHUNK = re.compile(rb"BDAT +([0-9]{1,18})(?: +LAST)? *\r?\n", re.IGNORECASE)
_PATH = re.compile(r'\S+ +(?:FROM|TO): *<(?:@[^:>]*:)?((?:"[^"]*"|[^">])*)>', re.IGNORECASE)
_TEXTS: Mapping[str, str] = {
    "421": "4.3.2 Service not available, closing transmission channel",
    "450": "4.2.1 Mailbox unavailable, try again later",
    "451": "4.3.0 Local error in processing",
    "452": "4.3.1 Insufficient system storage",
    "550": "5.2.1 Mailbox unavailable",
}


class SmtpFramer(Framer):
    """The framing of one connection.

    What the client's next bytes are follows from the replies that really came from the backend, never from what the
    client asked: a DATA that the proxy answers itself is followed by no message.
    """

    def __init__(self) -> None:
        super().__init__()
        self._expected: str | None = None  # what the backend waits for instead of a command
        self._sending: Head | None = None  # the message whose end has not come yet

    def requests(self, read: Reader) -> Frames:
        while first := (yield from read.peek(1)):
            if self._expected == MESSAGE:
                yield from self._message(read)
            elif self._expected == RESPONSE:
                self._expected = None
                yield from read.line(LINE_LIMIT)
                yield Head(request=True, fields={"verb": RESPONSE}, repeatable=False)
            else:
                yield from self._command(read, first)
            yield Step.END

    def responses(self, read: Reader) -> Frames:
        greeted = False
        while first := (yield from read.peek(1)):
            if not first.isdigit():
                raise ParseError(f"a reply that begins with byte 0x{first[0]:02x}")
            line = yield from _reply_line(read)
            code = line[:3]
            asked = self._asked(code) if greeted else None
            greeted = True
            yield Step.ASIDE if asked is None else Head(request=False, fields={"code": code.decode()})
            while line[3:4] == b"-":
                line = yield from _reply_line(read)
            left = asked is not None and self._follow(asked, code)
            yield Step.END
            if left:
                return

    def withdraw(self, head: Head) -> None:
        super().withdraw(head)
        verb = head.fields.get("verb")
        if verb in (MESSAGE, RESPONSE):
            self._expected = verb  # the backend still waits for it

    def _command(self, read: Reader, first: bytes) -> Frames:
        if not (b" " <= first <= b"~" or first in b"\t\r\n"):
            raise ParseError(f"a command that begins with byte 0x{first[0]:02x}")
        if self.waiting and self.waiting[-1].fields.get("verb") in _LAST:
            raise ParseError(f"bytes after {self.waiting[-1].fields['verb']} and before its reply")
        line = yield from read.line(LINE_LIMIT)
        fields = _fields(line)
        verb = fields["verb"]
        yield Head(request=True, fields=fields, refusable=verb != "QUIT", repeatable=verb not in _CHANGES)
        chunk = _CHUNK.fullmatch(line)
        if chunk is not None:
            yield from read.skip(int(chunk[1]))

    def _message(self, read: Reader) -> Frames:
        self._expected = None
        self._sending = Head(request=True, fields={"verb": MESSAGE}, repeatable=False)
        yield self._sending
        if (yield from read.peek(3)) == b".\r\n":  # the shortest there is, so peeking never waits for what follows
            yield from read.skip(3)
        else:
            yield from read.past(b"\r\n.\r\n")
        self._sending = None

    def _asked(self, code: bytes) -> Head | None:
        """The request that a reply with *code* answers; ``None`` when a server gives up of its own accord."""
        refused = code >= b"400"
        if not self.waiting:
            if refused:
                return None
            raise ParseError(f"reply {code.decode()} answers no command")
        if self.waiting[0] is self._sending and not refused:
            raise ParseError(f"reply {code.decode()} to a message before its end")
        return self.waiting[0]

    def _follow(self, asked: Head, code: bytes) -> bool:
        """What the client sends next, now that *asked* is answered with *code*. True when that is not SMTP."""
        verb = asked.fields.get("verb", "")
        if (verb, code) == ("STARTTLS", b"220"):
            return not self.agree_on_tls()
        if (verb, code) in _LEAVES:
            self.stop_framing()
            return True
        if self.waiting[-1] is asked:  # nothing was sent ahead
            if (verb, code) == ("DATA", b"354"):
                self._expected = MESSAGE
            elif verb in ("AUTH", RESPONSE) and code == b"334":
                self._expected = RESPONSE
        return False


def _reply_line(read: Reader) -> Generator[Step, None, bytes]:
    line = yield from read.line(LINE_LIMIT)
    if not _REPLY.fullmatch(line):
        raise ParseError(f"{line[:40]!r} is not a reply")
    return line


def _fields(line: bytes) -> dict[str, str]:
    text = line.decode(errors="backslashreplace").strip()
    verb, _, argument = text.partition(" ")
    fields = {"verb": verb.upper()}
    path = _PATH.match(text)
    if path:
        fields["address"] = path[1]
    elif fields["verb"] in ("VRFY", "EXPN"):
        fields["address"] = argument.strip()
    return fields


_WHOLE_REPLY = re.compile(rb"(?:[2-5][0-9][0-9]-[^\n]*\n)*[2-5][0-9][0-9](?: [^\n]*)?\r?\n")
_OFFER = re.compile(rb"(?m)(^250[ -])STARTTLS(?=[ \r\n])", re.IGNORECASE)


class _Offer(NoOffer):
    """The keyword STARTTLS in the reply to EHLO (RFC 3207, section 4.1).

    Another word of its length takes its place, as firewalls do that look into mail (Cisco's inspection of ESMTP): lines
    stay where they are, and the last one is the last.
    """

    def __init__(self) -> None:
        self._begun = b""

    def from_server(self, data: bytes) -> bytes:
        """Without the keyword."""
        before = self._begun
        begun = before + data
        start = begun.rfind(b"\n") + 1
        line = begun[start:].upper()
        complete = not line or not any(offer.startswith(line) for offer in (b"250-STARTTLS", b"250 STARTTLS"))
        self._begun = b"" if complete else begun[start:]
        whole = begun if complete else begun[:start]
        passed = _OFFER.sub(rb"\1XXXXXXXA", whole)
        self.taken = passed != whole
        return data if passed == data and not before else passed

    def rest(self, *, to_backend: bool) -> bytes:
        """The beginning of a line."""
        rest, self._begun = (b"", self._begun) if to_backend else (self._begun, b"")
        return rest


_BEFORE_TLS = frozenset({b"EHLO", b"HELO", b"HELP", b"NOOP", b"QUIT", b"RSET", b"STARTTLS", b"VRFY", b""})
"""Commands before which a client may still ask for TLS. The lines behind others may be no commands."""


class _PretendedTls(TlsWords):
    """A backend without TLS that looks as if it had STARTTLS: its replies to EHLO offer it, and it is answered 220."""

    def __init__(self) -> None:
        self._asked: deque[bytes] = deque([b""])  # commands whose reply is due; the greeting is that to none
        self._line = self._reply = b""  # which are not complete
        self._offered = False
        self._wanted = False  # behind replies that are due

    def to_backend(self, data: bytes) -> bytes:
        begun, passed = self._line + data, b""
        while not self._wanted and (end := begun.find(b"\n") + 1):
            line, begun = begun[:end], begun[end:]
            verb = line.strip().upper().partition(b" ")[0]
            if verb == b"STARTTLS":
                self._wanted = True
                self._consent()
                break
            self._asked.append(verb)
            passed += line
            if verb not in _BEFORE_TLS:
                self.over = True
                break
        self._line = b"" if self._wanted else begun  # what is slipped in before TLS is not said inside
        self.over = self.over or len(begun) > LINE_LIMIT
        return passed

    def from_backend(self, data: bytes) -> bytes:
        begun, passed = self._reply + data, b""
        while end := begun.find(b"\n") + 1:
            passed += self._reply_line(begun[:end])
            begun = begun[end:]
        self._reply = begun
        self.over = self.over or len(begun) > LINE_LIMIT
        return passed

    def _reply_line(self, line: bytes) -> bytes:
        ehlo = line.startswith(b"250") and bool(self._asked) and self._asked[0] == b"EHLO"
        self._offered = self._offered or (ehlo and line[4:].strip().upper() == b"STARTTLS")
        if line[3:4] == b"-":
            return line
        if ehlo and not self._offered:
            line = b"250-" + line[4:] + b"250 STARTTLS\r\n"
        self._offered = False
        if self._asked:
            self._asked.popleft()
        self._consent()
        return line

    def _consent(self) -> None:
        """Answer STARTTLS, once everything before it is answered. What is said behind it is said inside TLS."""
        if self._wanted and not self._asked:
            self.answer = b"220 2.0.0 Ready to start TLS\r\n"
            self.over = True

    def rest(self, *, to_backend: bool) -> bytes:
        rest = self._line if to_backend else self._reply
        if to_backend:
            self._line = b""
        else:
            self._reply = b""
        return rest


class _RequestedTls(TlsWords):
    """A backend with STARTTLS that looks as if it had none: it is asked for TLS before its greeting is passed on."""

    asks = True

    def __init__(self) -> None:
        self._greeting = self._said = self._waiting = b""
        self._steps = iter((b"EHLO [127.0.0.1]\r\n", b"STARTTLS\r\n"))

    def to_backend(self, data: bytes) -> bytes:
        self._waiting += data  # a client that does not wait for the greeting
        return b""

    def from_backend(self, data: bytes) -> bytes:
        self._said += data
        whole = _WHOLE_REPLY.match(self._said)
        if whole is None:
            if len(self._said) > HEAD_LIMIT:
                self.failure = f"it says {self._said[:40]!r}, which is no reply of SMTP"
            return b""
        reply, self._said = self._said, b""
        self._greeting = self._greeting or reply
        self.question = next(self._steps, b"")
        refused = not reply.startswith(b"2")
        if refused and reply is self._greeting:  # it takes no client at all
            self.over, self.asks, self.question = True, False, b""
        elif refused or whole.end() < len(reply):
            self.failure = f"it answers {reply[:100]!r} to the request for TLS; expected 220"
        elif self.question == b"STARTTLS\r\n" and not _OFFER.search(reply):
            self.failure = "it does not offer STARTTLS"
        elif not self.question:
            self.begins = self.over = True
            self.asks = False
        return b""

    def rest(self, *, to_backend: bool) -> bytes:
        rest = self._waiting if to_backend else self._greeting
        if to_backend:
            self._waiting = b""
        else:
            self._greeting = b""
        return rest


class Smtp(Protocol, frozen=True):
    """SMTP with its extensions. An exchange is a command and its reply, of however many lines.

    The mail after DATA is an exchange of its own (verb ``MESSAGE``), as is each answer to a challenge of AUTH (verb
    ``RESPONSE``). After STARTTLS the proxy speaks TLS with the client, if it has a certificate; otherwise nothing is
    framed from there. It asks a ``tls://`` backend for TLS in the same way. Connections are always kept.
    """

    upgrades: ClassVar[bool] = True
    plain_hint: ClassVar[str] = "leave out STARTTLS"

    error_codes: ClassVar[tuple[str, ...]] = tuple(_TEXTS)
    fields: ClassVar[tuple[str, ...]] = ("verb", "address")

    def framer(self) -> SmtpFramer:
        return SmtpFramer()

    def asks_for_tls(self, head: Head) -> bool:
        return head.fields.get("verb") == "STARTTLS"

    def tls_refusal(self, *, stripped: bool) -> Reply:
        if stripped:
            return Reply(b"502 5.5.1 Command not implemented\r\n")
        return Reply(b"454 4.7.0 TLS not available due to temporary reason\r\n")

    def tls_offer(self) -> TlsOffer:
        return _Offer()

    def tls_words(self, *, backend_tls: bool) -> TlsWords:
        return _RequestedTls() if backend_tls else _PretendedTls()

    def codes_by_chance(self, head: Head) -> Sequence[str]:
        """All of them."""
        return self.error_codes

    def error_reply(self, head: Head, random: Random, code: str | None = None, message: str | None = None) -> Reply:
        """A refusal with *code*. The connection ends after 421, and where the backend waits for what it will not get.

        That is after `MESSAGE` and `RESPONSE`: a backend that has said 354 or 334 would take the next command for it.
        Raises `OptionError` for another code than these.
        """
        code = random.choice(self.codes_by_chance(head)) if code is None else code
        self.check_code(code)
        stuck = head.fields.get("verb") in (MESSAGE, RESPONSE)
        return Reply(
            f"{code} {_TEXTS[code] if message is None else message}\r\n".encode(), close=stuck or code == "421"
        )
