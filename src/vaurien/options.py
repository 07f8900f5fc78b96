"""Options are declared once, as typed fields, and every surface derives from the declaration.

A behavior or protocol is a `msgspec.Struct` whose fields are its options::

    class Delay(Behavior, frozen=True):
        sleep: Annotated[Duration, Option("How long to wait")] = 1.0

A legacy plugin declares ``options = {name: (description, type, default[, choices])}``. Both become the same
tuple of `Declaration`, from which the command line, files, environment, HTTP schemas and the reference pages are made.
"""

from __future__ import annotations

import enum
import functools
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec

from vaurien.errors import OptionError, UnknownName

_YES = frozenset({"y", "yes", "1", "on", "true"})
_NO = frozenset({"n", "no", "0", "off", "false", ""})

_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([A-Za-z]*)\s*")


class Option(msgspec.Struct, frozen=True):
    """What a reader of ``--help`` needs to know about a field: one sentence, no full stop."""

    help: str


class Unit(msgspec.Struct, frozen=True, eq=False):
    """How a number is written with a suffix, such as ``500ms``; *factors* maps suffixes to multiples of the base.

    *words* are some that stand for a number; *name* is what the base is called.
    """

    expected: str
    factors: Mapping[str, float]
    whole: bool = False
    words: Mapping[str, int] = {}
    name: str = ""

    def parse(self, text: str) -> float | int:
        """The number that *text* stands for, in the base unit. Raises ValueError for anything else."""
        if text in self.words:
            return self.words[text]
        match = _NUMBER.fullmatch(text)
        if match is None or match[2] not in self.factors:
            raise ValueError(text)
        number = float(match[1]) * self.factors[match[2]]
        if not self.whole:
            return number
        if not math.isfinite(number) or number != int(number):
            raise ValueError(text)
        return int(number)


# Suffixes of time are those of systemd.time(7) and Go's time.ParseDuration, without the ambiguous ones.
_TIME = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_SECONDS = Unit("seconds, zero or more, such as 1.5 or 500ms", {"": 1.0, **_TIME}, name="seconds")
_MILLISECONDS = Unit(
    "milliseconds, zero or more, such as 100 or 1.5s",
    {"": 1.0, **{unit: 1000 * n for unit, n in _TIME.items()}},
    name="milliseconds",
)
_MICROSECONDS = Unit(
    "microseconds, zero or more, such as 100 or 2ms",
    {"": 1.0, **{unit: 1e6 * n for unit, n in _TIME.items()}},
    name="microseconds",
)
# IEC 80000-13 for powers of two, SI for powers of ten.
_BYTES = {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_SIZE = Unit("a number of bytes, zero or more, such as 4096 or 64KiB", _BYTES, whole=True, name="bytes")
_POSITIVE_SIZE = Unit("a number of bytes, one or more, such as 4096 or 64KiB", _BYTES, whole=True, name="bytes")

MOST = 2**63 - 1
"""The largest whole number that every form of messages between programs can hold."""

Duration = Annotated[float, msgspec.Meta(ge=0, le=10**9, description="seconds"), _SECONDS]
"""Seconds, at most 31 years; text may have a suffix: us, ms, s, m, h."""

SocketTimeout = Annotated[float, msgspec.Meta(ge=0, le=2 * 10**6, description="seconds"), _SECONDS]
"""Seconds, at most 23 days: poll(2) takes as many milliseconds as a C int holds."""

Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=MOST, description="milliseconds"), _MILLISECONDS]
"""Milliseconds, as many as Toxiproxy's toxics take; text may have a suffix."""

Microseconds = Annotated[float, msgspec.Meta(ge=0, le=MOST, description="microseconds"), _MICROSECONDS]
"""Microseconds, as many as Toxiproxy's slicer takes; text may have a suffix."""

Size = Annotated[int, msgspec.Meta(ge=0, le=MOST, description="bytes"), _SIZE]
"""Bytes; text may have a suffix: kB, MB, GB, KiB, MiB, GiB."""

PositiveSize = Annotated[int, msgspec.Meta(ge=1, le=MOST, description="bytes"), _POSITIVE_SIZE]
"""Bytes, at least one."""

Ratio = Annotated[float, msgspec.Meta(ge=0, le=1)]
"""A share between 0 and 1."""

Count = Annotated[int, msgspec.Meta(ge=0, le=MOST)]
"""A whole number, zero or more."""

PositiveCount = Annotated[int, msgspec.Meta(ge=1, le=MOST)]
"""A whole number, one or more."""

CInt = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
"""A whole number, one or more, that a C int holds, as listen(2) takes it."""

BufferSize = Annotated[int, msgspec.Meta(ge=1, le=2**24, description="bytes"), _POSITIVE_SIZE]
"""Bytes that are kept in memory at once, for each connection: at least one, at most 16 MiB."""


@functools.lru_cache(maxsize=16)  # hooks ask again and again for what an option stands for
def unescaped(text: str) -> bytes:
    r"""The bytes that *text* stands for: UTF-8, with the escapes ``\n``, ``\r``, ``\t``, ``\\`` and ``\xNN``."""
    return _ESCAPE.sub(lambda match: _ESCAPED.get(match[1]) or bytes.fromhex(match[1][1:].decode()), text.encode())


_ESCAPE = re.compile(rb"\\(n|r|t|\\|x[0-9a-fA-F]{2})")
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"\\": b"\\"}


class Declaration(msgspec.Struct, frozen=True):
    """One declared option: what every surface needs to offer it, and to convert what it was given.

    *kind* is the Python type of a converted value (``bool``, ``int``, ``float``, ``str``, ``list``); *accepts* converts
    and checks one value, raising ValueError when it does not fit; *expected* is the end of the error message. *unit* is
    what a number counts (``seconds``, ``bytes``), or empty.
    """

    name: str
    kind: type
    default: Any
    help: str
    expected: str
    accepts: Callable[[object], Any]
    choices: tuple[Any, ...] | None = None
    unit: str = ""
    limits: Mapping[str, float] = {}
    """The range of a number, in the words of JSON Schema: ``minimum``, ``exclusiveMinimum``…"""

    def convert(self, value: object, *, owner: str = "", source: str | None = None) -> Any:
        """*value* as the declared type. Raises `OptionError` that names the option (*owner* before it) and *source*."""
        try:
            return self.accepts(value)
        except (ValueError, TypeError, msgspec.ValidationError):
            option = f"{owner} option {self.name}" if owner else f"option {self.name}"
            raise OptionError(option, value, self.expected + self._bound(value), source) from None

    def _bound(self, value: object) -> str:
        """The greatest number, where *value* is greater, and `expected` spares its readers that."""
        most, number = self.limits.get("maximum"), _NUMBER.fullmatch(str(value))
        if most is None or number is None or float(number[1]) <= most or any(word in self.expected for word in _BOUNDS):
            return ""
        return f", at most {most}"


_BOUNDS = ("at most", " to ")


@functools.cache  # a class does not change, and resolving its annotations takes longer than all else a new fault needs
def describe(struct: type[msgspec.Struct]) -> tuple[Declaration, ...]:
    """The options that the fields of *struct* declare, in order."""
    return tuple(_declaration(field) for field in msgspec.structs.fields(struct))


def _declaration(field: msgspec.structs.FieldInfo) -> Declaration:
    hint = field.type
    base, extras = _unwrap(hint)
    unit = next((extra for extra in extras if isinstance(extra, Unit)), None)
    option = next((extra for extra in extras if isinstance(extra, Option)), Option(""))
    return Declaration(
        name=field.name,
        kind=_kind(base),
        default=field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory(),
        help=option.help,
        expected=_expected_unit(unit, extras) if unit else _expected(base, extras),
        accepts=_converter(hint, _kind(base), unit),
        choices=_choices(base),
        unit=unit.name if unit else "",
        limits={_JSON_LIMITS[name]: value for name, value in _limits(extras).items()},
    )


def _unwrap(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """The bare type and its annotations; of ``X | None`` those of ``X``."""
    if get_origin(hint) is Annotated:
        base, extras = _unwrap(get_args(hint)[0])
        return base, extras + tuple(hint.__metadata__)
    if get_origin(hint) in (Union, types.UnionType):
        return _unwrap(next(part for part in get_args(hint) if part is not type(None)))
    return hint, ()


def _kind(base: Any) -> type:
    origin = get_origin(base)
    if origin is typing.Literal:
        return type(get_args(base)[0])
    if origin in (tuple, list, frozenset, set):
        return list
    return base if isinstance(base, type) and not issubclass(base, enum.Enum) else str


def _choices(base: Any) -> tuple[Any, ...] | None:
    if isinstance(base, type) and issubclass(base, enum.Enum):
        return tuple(choice.value for choice in base)
    return get_args(base) if get_origin(base) is typing.Literal else None


def _expected(base: Any, extras: tuple[Any, ...]) -> str:
    choices = _choices(base)
    if choices is not None:
        return "one of " + ", ".join(str(choice) for choice in choices)
    kind = _kind(base)
    words = {bool: "true or false", list: "a list", dict: "a table"}
    examples = [str(one) for meta in extras if isinstance(meta, msgspec.Meta) for one in meta.examples or ()]
    words[str] = f"text such as {', '.join(examples)}" if examples else "text"
    if kind is str and any(isinstance(meta, msgspec.Meta) and meta.min_length for meta in extras):
        return f"{words[str]}, one character or more"
    return number(kind, **_limits(extras)) if kind in (int, float) else words.get(kind, kind.__name__)


_JSON_LIMITS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def _expected_unit(unit: Unit, extras: tuple[Any, ...]) -> str:
    most = _limits(extras).get("le")
    said = most in (None, MOST) or f"to {most}" in unit.expected
    return unit.expected if said else f"{unit.expected}; at most {most}"


def _limits(extras: tuple[Any, ...]) -> dict[str, Any]:
    """The range that the annotations of a field state, by the names of `msgspec.Meta`."""
    limits: dict[str, Any] = {}
    for meta in (extra for extra in extras if isinstance(extra, msgspec.Meta)):
        limits |= {name: getattr(meta, name) for name in _JSON_LIMITS if getattr(meta, name) is not None}
    return limits


def number(
    kind: type, *, ge: float | None = None, gt: float | None = None, le: float | None = None, lt: float | None = None
) -> str:
    """A number of *kind*, ``int`` or ``float``, in a range, in words; a bound that is None, or `MOST`, is none."""
    word = "a whole number" if kind is int else "a number"
    le = None if le == MOST else le
    if (kind, ge, le) == (float, 0, 1):
        return "a number from 0 to 1, such as 0.3 for 30 %"
    if ge is not None and le is not None:
        return f"{word} from {ge:g} to {le}"
    bounds = {"of {} or more": ge, "above {}": gt, "of at most {}": le, "below {}": lt}
    return " ".join(
        [word, " and ".join(text.format(bound) for text, bound in bounds.items() if bound is not None)]
    ).rstrip()


def _converter(hint: Any, kind: type, unit: Unit | None) -> Callable[[object], Any]:
    def accepts(value: object) -> Any:
        if isinstance(value, str):
            value = unit.parse(value) if unit else _from_text(value, kind)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(value)
        return msgspec.convert(value, hint)

    return accepts


def _from_text(text: str, kind: type) -> object:
    if kind is bool:
        return _boolean(text)
    if kind is int:
        return int(text)
    if kind is float:
        return float(text)
    if kind is list:
        return [part.strip() for part in _items(text) if part.strip()]
    return text


_SEPARATOR = re.compile(r"(\\*)([,\n])")


def list_text(items: Iterable[object]) -> str:
    r"""*items* with commas between them, as an option that is a list takes them from a text.

    ``\,`` is a comma of an item; backslashes are doubled before a comma, and are themselves elsewhere.
    """
    *others, last = [re.sub(r"(\\*),", r"\1\1\,", str(item)) for item in items] or [""]
    return ",".join([*(re.sub(r"(\\+)$", r"\1\1", item) for item in others), last])


def _items(text: str) -> Iterator[str]:
    """The items of a list, which `list_text` has joined; a line ends one too."""
    item, at = "", 0
    for found in _SEPARATOR.finditer(text):
        item += text[at : found.start()]
        at = found.end()
        slashes, separator = found.groups()
        if separator == "\n":
            item += slashes
        else:
            item += slashes[: len(slashes) // 2]
            if len(slashes) % 2:
                item += ","
                continue
        yield item
        item = ""
    yield item + text[at:]


def _boolean(value: object) -> bool:
    word = str(value).strip().lower()
    if word in _YES:
        return True
    if word in _NO:
        return False
    raise ValueError(value)


def declared(options: Mapping[str, tuple[Any, ...]]) -> tuple[Declaration, ...]:
    """The options of a legacy plugin: ``{name: (description, type, default[, choices])}``."""
    return tuple(_of_legacy(name, *entry) for name, entry in options.items())


def _of_legacy(name: str, help: str, kind: type, default: Any, choices: tuple[Any, ...] | None = None) -> Declaration:
    def accepts(value: object) -> Any:
        converted = _boolean(value) if kind is bool else kind(value)
        if choices and converted not in choices:
            raise ValueError(value)
        return converted

    expected = "one of " + ", ".join(str(choice) for choice in choices) if choices else _expected(kind, ())
    return Declaration(name, kind, default, help, expected, accepts, tuple(choices) if choices else None)


def build(
    struct: type[msgspec.Struct],
    values: Mapping[str, object],
    *,
    owner: str,
    sources: Mapping[str, str] | None = None,
) -> Any:
    """An instance of *struct* from *values*, which may be text (``"500ms"``, ``"yes"``) or already typed.

    *owner* names it in errors (``"behavior 'delay'"``); *sources* maps an option to where its value came from.
    Raises `UnknownName` for an option that is not declared and `OptionError` for a value that does not fit.
    """
    sources = sources or {}
    known = {declaration.name: declaration for declaration in describe(struct)}
    converted = {}
    for name, value in values.items():
        if name not in known:
            raise UnknownName(f"option of {owner}", name, known, sources.get(name))
        converted[name] = known[name].convert(value, owner=owner, source=sources.get(name))
    try:
        return struct(**converted)
    except ValueError as error:  # a rule between options, stated in the class's __post_init__
        origins = dict.fromkeys(sources[name] for name in values if name in sources)
        raise OptionError(owner, dict(values), str(error), ", ".join(origins) or None) from None
