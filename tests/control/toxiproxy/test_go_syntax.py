"""Go's complaints about text that is not JSON, beside a scanner that goes through its states byte by byte."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vaurien.control.toxiproxy.go_json import BadBody, decode


class Invalid(Exception):
    """The byte at *position* is not allowed at *place*."""

    def __init__(self, position: int, place: str) -> None:
        self.position, self.place = position, place
        super().__init__(position, place)


class Scanner:
    """The grammar of RFC 8259 with Go's names for its places. Runs off the end with IndexError."""

    def __init__(self, body: bytes) -> None:
        self.body, self.at = body, 0

    def byte(self) -> str:
        return chr(self.body[self.at])

    def space(self) -> None:
        while self.byte() in " \t\r\n":
            self.at += 1

    def fail(self, place: str) -> None:
        raise Invalid(self.at, place)

    def value(self) -> None:
        self.space()
        match self.byte():
            case "{":
                self.object()
            case "[":
                self.array()
            case '"':
                self.string()
            case "t" | "f" | "n":
                self.literal({"t": "true", "f": "false", "n": "null"}[self.byte()])
            case "-" | "0" | "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9":
                self.number()
            case _:
                self.fail("looking for beginning of value")

    def object(self) -> None:
        self.at += 1
        self.space()
        if self.byte() == "}":
            self.at += 1
            return
        while True:
            self.space()
            if self.byte() != '"':
                self.fail("looking for beginning of object key string")
            self.string()
            self.space()
            if self.byte() != ":":
                self.fail("after object key")
            self.at += 1
            self.value()
            self.space()
            if self.byte() not in ",}":
                self.fail("after object key:value pair")
            self.at += 1
            if self.body[self.at - 1] == ord("}"):
                return

    def array(self) -> None:
        self.at += 1
        self.space()
        if self.byte() == "]":
            self.at += 1
            return
        while True:
            self.value()
            self.space()
            if self.byte() not in ",]":
                self.fail("after array element")
            self.at += 1
            if self.body[self.at - 1] == ord("]"):
                return

    def string(self) -> None:
        self.at += 1
        while self.byte() != '"':
            if self.byte() < " ":
                self.fail("in string literal")
            if self.byte() == "\\":
                self.at += 1
                if self.byte() == "u":
                    for _ in range(4):
                        self.at += 1
                        if self.byte() not in "0123456789abcdefABCDEF":
                            self.fail("in \\u hexadecimal character escape")
                elif self.byte() not in 'bfnrt\\/"':
                    self.fail("in string escape code")
            self.at += 1
        self.at += 1

    def literal(self, word: str) -> None:
        for letter in word:
            if self.byte() != letter:
                self.fail(f"in literal {word} (expecting '{letter}')")
            self.at += 1

    def number(self) -> None:
        if self.byte() == "-":
            self.at += 1
        if not self.byte().isdigit() or self.byte() > "9":
            self.fail("in numeric literal")
        self.at += 1
        if self.body[self.at - 1] != ord("0"):
            self.digits()
        if self.here(".") and self.skip():
            self.digit("after decimal point in numeric literal")
        if self.here("eE") and self.skip():
            if self.byte() in "+-":
                self.at += 1
            self.digit("in exponent of numeric literal")

    def here(self, characters: str) -> bool:
        return self.at < len(self.body) and self.byte() in characters

    def skip(self) -> bool:
        self.at += 1
        return True

    def digits(self) -> None:
        while self.here("0123456789"):
            self.at += 1

    def digit(self, place: str) -> None:
        if self.byte() not in "0123456789":
            self.fail(place)
        self.digits()


def expected(body: bytes) -> str | None:
    if not body.strip(b" \t\r\n"):
        return "EOF"
    try:
        Scanner(body).value()
    except IndexError:
        return "unexpected EOF"
    except Invalid as invalid:
        shown = {"'": r"'\''", "\\": r"'\\'", "\n": r"'\n'", "\r": r"'\r'", "\t": r"'\t'", "\a": r"'\a'"}
        shown |= {"\b": r"'\b'", "\f": r"'\f'", "\v": r"'\v'"}
        byte = body[invalid.position]
        hexadecimal = rf"'\x{byte:02x}'" if byte < 0x80 else rf"'\u{byte:04x}'"
        plain = f"'{chr(byte)}'" if chr(byte).isprintable() else hexadecimal
        return f"invalid character {shown.get(chr(byte), plain)} {invalid.place}"
    return None


def found(body: bytes) -> str | None:
    try:
        decode(body)
    except BadBody as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"nope", "invalid character 'o' in literal null (expecting 'u')"),
        (b"trux", "invalid character 'x' in literal true (expecting 'e')"),
        (b"fals", "unexpected EOF"),
        (b"\xef\xbb\xbf{}", "invalid character 'ï' looking for beginning of value"),
        (b"\xff", "invalid character 'ÿ' looking for beginning of value"),
        (b"\x80", r"invalid character '\u0080' looking for beginning of value"),
        (b"\x00", r"invalid character '\x00' looking for beginning of value"),
        (b"\x07", r"invalid character '\a' looking for beginning of value"),
        (b"'", r"invalid character '\'' looking for beginning of value"),
        (b'{"a": "b"x"}', "invalid character 'x' after object key:value pair"),
        (b'["{", 1 2]', "invalid character '2' after array element"),
        (b'{"[": 1 2}', "invalid character '2' after object key:value pair"),
        (b'"\\x"', "invalid character 'x' in string escape code"),
        (b'"\\u12g4"', "invalid character 'g' in \\u hexadecimal character escape"),
        (b'"a\nb"', r"invalid character '\n' in string literal"),
        (b"-x", "invalid character 'x' in numeric literal"),
        (b"[-Infinity]", "invalid character 'I' in numeric literal"),
        (b"[NaN]", "invalid character 'N' looking for beginning of value"),
        (b"1.x", "invalid character 'x' after decimal point in numeric literal"),
        (b"[1.]", "invalid character ']' after decimal point in numeric literal"),
        (b"[1.5.5]", "invalid character '.' after array element"),
        (b"1e", "unexpected EOF"),
        (b"[1e+]", "invalid character ']' in exponent of numeric literal"),
        (b"[1,]", "invalid character ']' looking for beginning of value"),
        (b'{"a":1, }', "invalid character '}' looking for beginning of object key string"),
        (b"[" + b"9" * 5000 + b" 1]", "invalid character '1' after array element"),
        (b"3 x", None),
    ],
)
def test_complaints(body: bytes, message: str | None) -> None:
    assert found(body) == message
    assert expected(body) == message


PIECES = [b"{", b"}", b"[", b"]", b",", b":", b'"', b'"a"', b"1", b"-", b".", b"e", b"+", b"0", b" ", b"\\", b"\\u0041"]
PIECES += [b"true", b"nul", b"NaN", b"Infinity", b"\n", b"\xff", b"\xc3\xa9", b"x", b'"a":', b"1.5", b"2e5"]


@given(st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join))
@example(b'["\\')
@settings(max_examples=500, deadline=None)
def test_every_complaint_is_that_of_the_states(body: bytes) -> None:
    assert found(body) == expected(body)


@given(st.binary(max_size=8), st.integers(0, 45))
@settings(max_examples=300, deadline=None)
def test_every_complaint_about_a_broken_body_is_that_of_the_states(piece: bytes, place: int) -> None:
    whole = b'{"name": "a\\u0041", "size": [1, {"b": -2.5e5}]}'
    body = whole[:place] + piece + whole[place:]
    assert found(body) == expected(body)
