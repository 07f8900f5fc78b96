"""What Go's ``encoding/json`` says of text that is not JSON, to the byte.

Python's parser finds the place, at the speed of C. What Go calls that place follows from a few characters around it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

_SPACE = " \t\r\n"
_LITERALS = {"t": "true", "f": "false", "n": "null"}
_HEX = frozenset("0123456789abcdefABCDEF")

_CONSTANTS = {"NaN": "N_N", "Infinity": "I_finity"}
"""Words that Python takes for numbers, and words of that length that it does not; Go stops at their first letter."""

_NUMBER_BEFORE = re.compile(r"(?<![\w.+-])-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?\Z")
_LONGEST_NUMBER = 100
"""Characters of a number that are looked at; one that is longer is described as if it ended."""

# What Python's parser expected; what Go says where it met something else.
_PLACES: Mapping[str, str] = {
    "Expecting value": "looking for beginning of value",
    "Expecting property name": "looking for beginning of object key string",
    "Illegal trailing comma before end of object": "looking for beginning of object key string",
    "Illegal trailing comma before end of array": "looking for beginning of value",
    "Expecting ':'": "after object key",
}

# strconv.Quote has these escapes; other characters that cannot be printed are shown by their number.
_ESCAPES = {"\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v"}
_ESCAPES |= {"\\": r"\\", "'": r"\'"}


def complaint(body: bytes) -> str:
    """What Go says of *body*, whose first value is not valid JSON."""
    text = body.decode("utf-8", "surrogateescape").lstrip(_SPACE)
    for constant, no_constant in _CONSTANTS.items():
        text = text.replace(constant, no_constant)
    try:
        _, end = _PARSER.raw_decode(text)
    except json.JSONDecodeError as error:
        return _described(text, error.msg, error.pos)
    return _in_number(text, end)


def number_goes_on(number: str, following: str) -> bool:
    """Whether Go reads *following*, a character or none, as part of *number*, at which Python's parser stops."""
    exponent = "e" in number or "E" in number
    return not exponent and (following in ("e", "E") or (following == "." and "." not in number))


def _described(text: str, expected: str, position: int) -> str:
    if expected.startswith("Invalid control character"):
        return _invalid(text, position, "in string literal")
    if expected.startswith("Unterminated string") or position >= len(text.rstrip(_SPACE)):
        return "unexpected EOF"
    if expected.startswith("Invalid \\"):
        return _in_escape(text, text.rindex("\\", 0, position + 1))
    if expected.startswith("Illegal trailing comma"):
        position = _beyond_space(text, position + 1)
    if expected.startswith("Expecting value"):
        if text[position] in _LITERALS:
            return _in_literal(text, position)
        if text[position] == "-":
            return _invalid(text, position + 1, "in numeric literal")
    if expected.startswith("Expecting ','"):
        number = _NUMBER_BEFORE.search(text, max(0, position - _LONGEST_NUMBER), position)
        if number and number_goes_on(number[0], text[position]):
            return _in_number(text, position)
        place = "after array element" if _in_array(text, position) else "after object key:value pair"
        return _invalid(text, position, place)
    place = next((place for start, place in _PLACES.items() if expected.startswith(start)), "in value")
    return _invalid(text, position, place)


def _in_literal(text: str, start: int) -> str:
    word = _LITERALS[text[start]]
    length = next((place for place, letter in enumerate(word) if text[start + place : start + place + 1] != letter), 0)
    return _invalid(text, start + length, f"in literal {word} (expecting '{word[length]}')")


def _in_number(text: str, position: int) -> str:
    """The number ends before *position*, but what stands there would have it go on."""
    if text[position] == ".":
        return _invalid(text, position + 1, "after decimal point in numeric literal")
    signed = text[position + 1 : position + 2] in ("+", "-")
    return _invalid(text, position + (2 if signed else 1), "in exponent of numeric literal")


def _in_escape(text: str, backslash: int) -> str:
    if text[backslash + 1 : backslash + 2] != "u":
        return _invalid(text, backslash + 1, "in string escape code")
    position = backslash + 2
    while position < len(text) and text[position] in _HEX:
        position += 1
    return _invalid(text, position, "in \\u hexadecimal character escape")


def _in_array(text: str, position: int) -> bool:
    """Whether what stands at *position* follows an element of an array: then a bracket there would be right."""
    try:
        _PARSER.raw_decode(text[:position] + "]")
    except json.JSONDecodeError as error:
        return error.pos > position
    return True


def _beyond_space(text: str, position: int) -> int:
    while text[position] in _SPACE:
        position += 1
    return position


def _invalid(text: str, position: int, place: str) -> str:
    """Go reads bytes: of a character it shows the first, as if it were a character of Latin-1."""
    if position >= len(text):
        return "unexpected EOF"
    byte = text[position].encode("utf-8", "surrogateescape")[0]
    return f"invalid character {_quoted(chr(byte))} {place}"


def _quoted(character: str) -> str:
    if character in _ESCAPES:
        return f"'{_ESCAPES[character]}'"
    if character.isprintable():
        return f"'{character}'"
    return f"'\\x{ord(character):02x}'" if character < "\x80" else f"'\\u{ord(character):04x}'"


_PARSER = json.JSONDecoder(parse_int=str, parse_float=str)
