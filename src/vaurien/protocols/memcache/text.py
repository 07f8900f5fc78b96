"""The framing of memcached's text protocol and its meta commands (protocol.txt of memcached 1.6).

Every command is a line; a storage command has a data block after it, whose length the line states. A response is a
line too, but some announce data (``VALUE``, ``VA``) and some are followed by more lines (``VALUE``, ``STAT``…).
What a malformed command does follows memcached: the conditions here are those of its proto_text.c.

Quiet meta commands (flag ``q``) are answered only when there is something to say. A quiet ``mg`` waits for its answer
like any other; when an answer to a later command comes first, it is given an empty response, which is how the exchange
ends. A quiet ``ms``, ``md`` or ``ma`` is taken as not answered, so a stream of them leaves nothing behind; its failure
is a message aside.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence

from vaurien.errors import ParseError
from vaurien.framing import Frames, Head, Reader, Step

LINE_LIMIT = 2048
"""Bytes of a line: what memcached reads before it gives up on a line that is not a ``get`` of many keys."""

KEY_LIMIT = 250
"""Bytes of a key: memcached's KEY_MAX_LENGTH. A storage command with a longer one has no data block."""

DATA_LIMIT = 2**31 - 3
"""Bytes of a data block: memcached's INT_MAX - 2."""

# Where a storage command states its length, and how many words it has without and with noreply.
_STORAGE: Mapping[bytes, tuple[int, int, int]] = {
    **dict.fromkeys((b"set", b"add", b"replace", b"append", b"prepend"), (4, 5, 6)),
    b"cas": (4, 6, 7),
    b"ms": (2, 3, 24),  # its words after the length are flags
}
# How many words, noreply included, a command has that ends in noreply and says nothing, not even that it is malformed;
# with more or fewer it is answered ERROR. Tried with memcached 1.6.18, which splits a line into at most 23 words.
_NOREPLY: Mapping[bytes, range] = {
    **{command: range(least, most + 1) for command, (_, least, most) in _STORAGE.items() if command != b"ms"},
    **dict.fromkeys((b"incr", b"decr", b"touch", b"delete"), range(3, 5)),
    **dict.fromkeys((b"flush_all", b"verbosity", b"cache_memlimit"), range(2, 4)),
    **dict.fromkeys((b"lru", b"extstore"), range(2, 24)),
    b"slabs": range(3, 24),  # automove alone
}
_RETRIEVAL = frozenset({b"get", b"gets", b"gat", b"gats"})
_KEYED = frozenset({*_STORAGE, b"get", b"gets", b"incr", b"decr", b"touch", b"delete", b"mg", b"md", b"ma", b"me"})

_META = frozenset({b"mg", b"ms", b"md", b"ma", b"mn", b"me"})
_META_CODES = frozenset({b"VA", b"HD", b"EN", b"NF", b"NS", b"EX", b"MN", b"ME"})
_ERRORS = frozenset({b"ERROR", b"CLIENT_ERROR", b"SERVER_ERROR"})
# Answers without the opaque and key that were asked for: always EN, the others from some versions of memcached.
_BARE = frozenset({b"EN", b"NF", b"NS", b"EX"})
# What is said by a quiet command that waits for its answer.
_QUIET_CODES: Mapping[bytes, frozenset[bytes]] = {
    b"mg": frozenset({b"VA", b"HD"}),
    b"ma": frozenset({b"VA", b"NF", b"NS", b"EX"}),
}
_ASIDE = _ERRORS | {b"NF", b"NS", b"EX"}
"""What may come when nothing is waited for: failures of quiet commands, and "too many connections"."""

# Lines that announce data, and which word says how much; CONFIG is Amazon ElastiCache's.
_SIZE_AT: Mapping[bytes, int] = {b"VALUE": 3, b"CONFIG": 3, b"VA": 1}
# Lines after which another follows in the same response; mg and key= are those of lru_crawler's dumps.
_CONTINUED = frozenset({b"VALUE", b"CONFIG", b"STAT", b"ITEM", b"PREFIX", b"mg"})


class TextRequest(Head):
    """A command. *echo* are the words that its answer repeats: opaque and key, where the command asks for them."""

    command: bytes = b""
    quiet: bool = False
    echo: frozenset[bytes] = frozenset()


def silent(head: Head) -> bool:
    """Whether even an error would be an answer too much: ``noreply`` and ``quit``, but not the quiet meta commands."""
    return isinstance(head, TextRequest) and not head.answered and head.command not in _META


def failure(head: Head) -> bytes:
    """The word that an error in answer to *head* begins with: only ``ERROR`` is an answer to ``mn``."""
    return b"ERROR" if isinstance(head, TextRequest) and head.command == b"mn" else b"SERVER_ERROR"


def requests(read: Reader, waiting: Sequence[Head]) -> Frames:
    """Read commands; *waiting* are those that have no answer yet."""
    while (yield from _begins(read)):
        line = yield from _command_line(read)
        words = _words(line)
        request = _request(words)
        request.needed = request.answered and not request.quiet and _ends_in_quiet(waiting)
        yield request
        if not line.endswith(b"\n"):
            yield from read.past(b"\n")
        size = _data_size(words)
        if size is not None:
            yield from read.skip(size + len(b"\r\n"))
        yield Step.END


def responses(read: Reader, waiting: Sequence[Head], stop_framing: Callable[[], None]) -> Frames:
    """Read answers to *waiting*; calls *stop_framing* when the server goes over to writing a log (``watch``)."""
    while (yield from _begins(read)):
        line = yield from read.line(LINE_LIMIT)
        words = _words(line)
        passed = _passed_over(waiting, words)
        if passed:
            read.unread(len(line))
            yield from _say_nothing(passed)
            line = yield from read.line(LINE_LIMIT)
        watched = passed is not None and _watches(waiting[0], words)
        yield Step.ASIDE if passed is None else Head(request=False, fields={"status": _text(words[:1])})
        yield from _rest(read, words)
        if watched:
            stop_framing()
        yield Step.END
        if watched:
            return


def _begins(read: Reader) -> Generator[Step, None, bool]:
    """Whether a line begins. Raises `ParseError` at the first byte of other protocols: they may have no line's end."""
    first = yield from read.peek(1)
    if first and not (b" " <= first <= b"~" or first in b"\r\n"):
        raise ParseError(f"a line of text that begins with byte 0x{first[0]:02x}")
    return bool(first)


def _command_line(read: Reader) -> Generator[Step, None, bytes]:
    """The next line; of a longer retrieval, which has no limit, the first part."""
    try:
        return (yield from read.line(LINE_LIMIT))
    except ParseError:
        start = yield from read.exactly(LINE_LIMIT)
        if start.split(b" ", 1)[0] not in _RETRIEVAL:
            raise
        return start


def _words(line: bytes) -> list[bytes]:
    return [word for word in line.rstrip(b"\r\n").split(b" ") if word]


def _text(words: Sequence[bytes]) -> str:
    return b" ".join(words).decode(errors="backslashreplace")


def _request(words: list[bytes]) -> TextRequest:
    command = words[0] if words else b""
    fields = {"command": _text([command])}
    keys = _keys(words)
    if keys:
        fields["key"] = _text(keys)
    if command in _META:
        return _meta(words, fields)
    told = len(words) in _NOREPLY.get(command, ()) and words[-1] == b"noreply"
    told = told and (command != b"slabs" or words[1] == b"automove")
    leaves = command == b"quit"
    return TextRequest(
        True,
        fields,
        answered=not (told or leaves),
        refusable=not leaves,
        repeatable=command != b"watch",
        command=command,
    )


def _ends_in_quiet(waiting: Sequence[Head]) -> bool:
    return bool(waiting) and isinstance(waiting[-1], TextRequest) and waiting[-1].quiet


def _keys(words: list[bytes]) -> list[bytes]:
    if not words:
        return []
    if words[0] in _RETRIEVAL:
        return words[2 if words[0].startswith(b"gat") else 1 :]
    return words[1:2] if words[0] in _KEYED else []


def _meta(words: list[bytes], fields: dict[str, str]) -> TextRequest:
    flags = words[3 if words[0] == b"ms" else 2 :]
    echo = {flag for flag in flags if flag.startswith(b"O")}
    if b"k" in flags:
        echo.add(b"k" + words[1])
    hushed = b"q" in flags and words[0] not in (b"mn", b"me") and not _malformed(words)
    awaited = words[0] == b"mg" or (words[0] == b"ma" and b"v" in flags)
    return TextRequest(True, fields, awaited or not hushed, command=words[0], quiet=hushed, echo=frozenset(echo))


def _malformed(words: list[bytes]) -> bool:
    """Whether memcached answers a meta command by CLIENT_ERROR, however quiet it is to be."""
    return len(words[1]) > KEY_LIMIT or (words[0] == b"ms" and _data_size(words) is None)


def _data_size(words: list[bytes]) -> int | None:
    """The length of the data block after the command, ``None`` when memcached reads none."""
    if not words or words[0] not in _STORAGE:
        return None
    at, least, most = _STORAGE[words[0]]
    if not least <= len(words) <= most or len(words[1]) > KEY_LIMIT:
        return None
    numbers = words[2:least]
    if not all(number.removeprefix(b"-").isdigit() for number in numbers):
        return None
    return _size(words[at])


def _size(word: bytes) -> int | None:
    if not word.isdigit() or len(word) > len(str(DATA_LIMIT)) or int(word) > DATA_LIMIT:
        return None
    return int(word)


def _passed_over(waiting: Sequence[Head], words: list[bytes]) -> int | None:
    """How many quiet requests say nothing, because the answer is to a later one; ``None``: it answers no request."""
    for passed, request in enumerate(waiting):
        if not isinstance(request, TextRequest):
            break
        if _answers(request, words):
            return passed
        if not request.quiet:
            break
    if words and words[0].rstrip(b":") in _ASIDE:
        return None
    raise ParseError(f"{_text(words[:1])!r} answers no request")


def _answers(request: TextRequest, words: list[bytes]) -> bool:
    code = words[0].rstrip(b":") if words else b""
    if code in _ERRORS:  # MN is what there is to say of "mn"; an error before it is that of a quiet command
        return request.command != b"mn" or code == b"ERROR"
    if request.command not in _META:
        return code not in _META_CODES
    if code not in (_QUIET_CODES[request.command] if request.quiet else _META_CODES):
        return False
    if request.command in (b"mn", b"me"):
        return code in (b"MN" if request.command == b"mn" else b"ME", b"EN")
    echo = frozenset(word for word in words[1:] if word[:1] in (b"O", b"k"))
    return code != b"MN" and (echo == request.echo or (not echo and code in _BARE))


def _say_nothing(count: int) -> Frames:
    """The empty responses of *count* quiet requests."""
    for _ in range(count):
        yield Head(request=False, fields={"status": ""})
        yield Step.END


def _watches(request: Head, words: list[bytes]) -> bool:
    return isinstance(request, TextRequest) and request.command == b"watch" and words[:1] == [b"OK"]


def _rest(read: Reader, words: list[bytes]) -> Generator[Step, None, None]:
    """Read what follows the first line of a response, *words*."""
    while words:
        if words[0] in _SIZE_AT:
            yield from read.skip(_announced(words) + len(b"\r\n"))
        if words[0] not in _CONTINUED and not words[0].startswith(b"key="):
            return
        words = _words((yield from read.line(LINE_LIMIT)))


def _announced(words: list[bytes]) -> int:
    size = _size(words[_SIZE_AT[words[0]]]) if len(words) > _SIZE_AT[words[0]] else None
    if size is None:
        raise ParseError(f"{_text(words[:5])!r} does not say how long its data is")
    return size
