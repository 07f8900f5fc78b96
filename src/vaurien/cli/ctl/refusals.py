"""What the interface refuses, in words of the command line that was typed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from vaurien.client import Refused, Unreachable
from vaurien.errors import VaurienError


class Rejected(VaurienError):
    """The interface refused what a command asked for; the text is for the user of the command."""


def explained(command: Callable[..., Any]) -> Callable[..., Any]:
    """*command*, whose `Refused` and `Unreachable` name what was typed and where it came from."""

    @functools.wraps(command)
    def run(*arguments: Any, **given: Any) -> Any:
        try:
            return command(*arguments, **given)
        except Refused as error:
            raise Rejected(_in_words(error, click.get_current_context())) from None
        except ValueError as error:  # how the calls of the first proxy are refused
            if not isinstance(error.__cause__, Refused):
                raise
            raise Rejected(_in_words(error.__cause__, click.get_current_context())) from None
        except Unreachable as error:
            raise Unreachable(f"{error} (the address is {click.get_current_context().obj.url_source})") from None

    return run


def _in_words(error: Refused, context: click.Context) -> str:
    """The message of *error*; of a field also how it was typed, and the pointer that the interface gave."""
    if error.status == 401:
        source = context.obj.token_source
        if source:
            return f"{source}: the interface at {context.obj.url} refuses this token; expected its own"
        remedies = "--token-file FILE, or VAURIEN_TOKEN_FILE or TOXIPROXY_AUTH_TOKEN in the environment"
        return f"the interface at {context.obj.url} wants a token; expected {remedies}"
    text = str(error)
    if not error.pointer:
        return text
    field = error.pointer.rpartition("/")[2].replace("~1", "/").replace("~0", "~")
    typed = _typed(field, context)
    if typed and text.startswith(f"{field}: "):
        text = typed + text.removeprefix(field)
    return f"{text} (field {error.pointer})"


def _typed(field: str, context: click.Context) -> str | None:
    """What of the command line gave *field* its value: an option, an argument, or an ``OPTION=VALUE``."""
    for parameter in context.command.params:
        given = context.params.get(parameter.name or "")
        if isinstance(given, tuple):
            for one in given:
                if isinstance(one, str) and one.partition("=")[0] == field:
                    return one if isinstance(parameter, click.Argument) else f"{parameter.opts[0]} {one}"
        elif parameter.name == field and given is not None:
            return parameter.opts[0] if isinstance(parameter, click.Option) else field.upper()
    return None
