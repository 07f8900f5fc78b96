"""What can go wrong, as few classes as there are situations.

Every error says what is wrong, with which value, where the value came from and what would be right. The text of an
error is made for the user who caused it: the command line prints it as one line, the HTTP interfaces send it as it is.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, ParamSpec, Protocol, TypeAlias

P = ParamSpec("P")

BindStep: TypeAlias = Literal["parse", "lookup", "bind"]


_LONGEST_NAME = 200
"""Characters of a name that is shown, and compared with others: comparing takes their product."""

_MOST_NAMES, _MOST_COMPARED = 100, 1000
"""Names that are listed, and compared."""


class VaurienError(Exception):
    """The root: ``except VaurienError`` catches everything that Vaurien raises on purpose."""

    proxy: str | None = None
    """The name of the proxy whose configuration it is about, where a change is of several at once."""


class OptionError(VaurienError):
    """An option's value cannot be used.

    *option* is the option's name, *value* what was given, *expected* what would be right, *source* where the value came
    from (a flag, a file and its key, an environment variable) or ``None`` when it was given by a call.
    """

    def __init__(self, option: str, value: object, expected: str, source: str | None = None) -> None:
        self.option, self.value, self.expected, self.source = option, value, expected, source
        origin = f" (from {source})" if source else ""
        super().__init__(f"{option}: {value!r}{origin} is not valid; expected {expected}")

    def __reduce__(self) -> tuple[type[OptionError], tuple[object, ...]]:
        return type(self), (self.option, self.value, self.expected, self.source)


class UnknownName(VaurienError):
    """A behavior, protocol, handler, option, section or key that does not exist.

    *kind* says which of these, and may say of what: "option of fault 'slow'". *name* is what was asked for, *known*
    what exists; the message names the nearest, and unless that is very near, *hint*.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], source: str | None = None, hint: str = "") -> None:
        self.kind, self.name, self.known, self.source, self.hint = kind, name, sorted(known), source, hint
        origin = f" (from {source})" if source else ""
        shown = repr(name) if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]!r}..."
        noun, of, owner = kind.partition(" of ")
        super().__init__(f"unknown {noun} {shown}{of}{owner}{origin}; {self._advice()}")

    def _advice(self) -> str:
        near = nearest(self.name, self.known)
        if near is not None:
            surely = not self.hint or nearest(self.name, self.known, likeness=0.7)
            return f"did you mean {near!r}?" + ("" if surely else f" Otherwise {self.hint}")
        more = f" and {len(self.known) - _MOST_NAMES} more" if len(self.known) > _MOST_NAMES else ""
        known = f"known are: {', '.join(self.known[:_MOST_NAMES])}{more}" if self.known else "none is known"
        return f"{known}; {self.hint}" if self.hint else known

    def __reduce__(self) -> tuple[type[UnknownName], tuple[object, ...]]:
        return type(self), (self.kind, self.name, self.known, self.source, self.hint)


class Conflict(VaurienError):
    """Something of that name exists already. *kind* says what: a proxy, a fault."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind, self.name = kind, name
        super().__init__(f"{kind} {name!r} exists already; expected a name that is free")

    def __reduce__(self) -> tuple[type[Conflict], tuple[object, ...]]:
        return type(self), (self.kind, self.name)


class Unavailable(VaurienError):
    """What is needed does not answer now, and may later; the message says what and why."""


class PartlyDone(VaurienError):
    """A change of several things stopped on the way: *done* are those that succeeded, *error* is why it stopped."""

    def __init__(self, done: Sequence[Any], error: VaurienError) -> None:
        self.done, self.error = done, error
        super().__init__(f"{error} ({len(done)} done before)")

    def __reduce__(self) -> tuple[type[PartlyDone], tuple[object, ...]]:
        return type(self), (self.done, self.error)


@contextlib.contextmanager
def about_proxy(name: str) -> Iterator[None]:
    """An error that is raised inside is about the configuration of the proxy *name*."""
    try:
        yield
    except VaurienError as error:
        error.proxy = name
        raise


class ConfigError(VaurienError):
    """A configuration file that cannot be read or parsed; the message names the file and the line."""


class PluginError(VaurienError):
    """A class named by its dotted path that does not import, or is not what it is used as."""


def missing_package(feature: str, package: str, extra: str) -> str:
    """The text of an error: *feature* needs *package*, which is not installed, and which *extra* would have brought.

    The command names the package itself: another program of the name ``vaurien`` is on PyPI.
    """
    return f"{feature} needs the package {package}; expected pip install {package} (the extra {extra!r})"


class ListeningAddress(Protocol):
    """An address to listen on, as `vaurien.model.Address` is one: a Unix socket's *path*, or *host* and *port*."""

    @property
    def host(self) -> str:
        """Numeric, or a name."""

    @property
    def port(self) -> int:
        """Zero where the system chooses one."""

    @property
    def path(self) -> str | None:
        """Of a Unix socket."""


class BindError(VaurienError):
    """A listening address that cannot be bound; the message names the address and the system's reason.

    *address* and *reason* are these two for programs; *step* is what failed: ``parse``, ``lookup`` or ``bind``.
    """

    def __init__(
        self, message: str, *, address: ListeningAddress | None = None, reason: str = "", step: BindStep = "bind"
    ) -> None:
        self.address, self.reason, self.step = address, reason, step
        super().__init__(message)


DialFailureKind: TypeAlias = Literal["refused", "unreachable", "late", "loop", "forbidden"]
"""Why a backend is not reached."""


class DialError(VaurienError):
    """A backend that cannot be reached: it has *refused*, is *unreachable* or has no address, or is too *late*.

    Or it is not dialled: the way would lead back to the proxy (a *loop*), or to what is *forbidden*.
    """

    def __init__(self, message: str, kind: DialFailureKind = "unreachable") -> None:
        super().__init__(message)
        self.kind: DialFailureKind = kind


class ParseError(VaurienError):
    """Bytes that are not of the protocol. Never fatal: the connection goes on as plain tcp."""


def known_keywords(known: Iterable[str]) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Have a constructor raise `UnknownName` for a keyword that is not in *known*, not Python's TypeError.

    That names no near one, and where an argument is missing for it, says only that.
    """
    names = list(known)

    def decorate(method: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(method)
        def call(*arguments: P.args, **keywords: P.kwargs) -> None:
            for keyword in keywords:
                if keyword not in names:
                    raise UnknownName(f"argument of {type(arguments[0]).__name__}", keyword, names)
            method(*arguments, **keywords)

        return call

    return decorate


def nearest(name: str, known: Iterable[str], likeness: float = 0.5) -> str | None:
    """That of *known* which is most like *name*, if one is: *likeness* from 0 to 1 is the least that counts."""
    import difflib  # takes milliseconds, and most programs make no mistake

    if len(name) > _LONGEST_NAME:
        return None
    likely = [one for one in known if len(one) <= _LONGEST_NAME][:_MOST_COMPARED]
    return next(iter(difflib.get_close_matches(name, likely, n=1, cutoff=likeness)), None)
