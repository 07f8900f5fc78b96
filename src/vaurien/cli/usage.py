"""Command lines that click reads, and mistakes that it finds, told as all others: what, the value, what is right."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import click

from vaurien.errors import nearest

_NUMBERS = {
    "float": "a number",
    "float range": "a number",
    "integer": "a whole number",
    "integer range": "a whole number",
}
_QUOTED = re.compile(r"'(?P<value>[^']*)'")


def run_command(command: click.Command, arguments: Sequence[str], variables: Mapping[str, str]) -> int:
    """Run *command* of `vaurien` with *arguments*, and *variables* as its object; returns the exit status.

    Raises `VaurienError` and `click.UsageError`.
    """
    try:
        command.main(list(arguments), prog_name=f"vaurien {command.name}", standalone_mode=False, obj=variables)
    except click.exceptions.Exit as done:
        return done.exit_code
    return 0


def explain(error: click.UsageError) -> str:
    """What the user is told of *error*, as one line."""
    match error:
        case click.MissingParameter(param=click.Option() as option):
            return f"{option.opts[0]} is missing; expected {option.opts[0]} {_operand(option)}, {_small(option.help)}"
        case click.MissingParameter(param=click.Argument() as argument):
            return f"{argument.human_readable_name} is missing; {_usage(error)}"
        case click.BadParameter(param=click.Parameter() as parameter):
            return _bad_value(error.message, parameter)
        case click.NoSuchOption():
            return _unknown_option(error)
        case click.BadOptionUsage(option_name=name) if "does not take a value" in error.message:
            other = f" or --no-{name.removeprefix('--')}" if _has_opposite(error, name) else ""
            return f"{name} takes no value; expected {name}{other}"
        case click.BadOptionUsage(option_name=name):
            return f"{name} has no value; expected one behind it"
    found = re.fullmatch(r"Got unexpected extra arguments? \((.*)\)", error.message)
    if found is not None:
        return f"unexpected argument {found[1]!r}; {_usage(error)}"
    if error.message == "Missing command." and error.ctx is not None and isinstance(error.ctx.command, click.Group):
        return f"no command; expected one of {', '.join(error.ctx.command.list_commands(error.ctx))}"
    return error.format_message()


def _bad_value(message: str, parameter: click.Parameter) -> str:
    """*message* is click's: a value in quotes, and what is wrong with it."""
    name = parameter.opts[0] if isinstance(parameter, click.Option) else parameter.human_readable_name
    value = _QUOTED.search(message)
    if value is not None and parameter.type.name in _NUMBERS:
        return f"{name}: {value[0]} is not valid; expected {_NUMBERS[parameter.type.name]}"
    if value is not None and isinstance(parameter.type, click.File | click.Path):
        reason = message.removeprefix(f"{value[0]}: ")
        return f"{name}: {value[0]} cannot be read ({reason}); expected a file"
    return f"{name}: {message}"


def _unknown_option(error: click.NoSuchOption) -> str:
    context = error.ctx
    if context is not None and (place := _place_above(error.option_name, context)):
        return place
    known = [one for param in context.command.get_params(context) for one in param.opts] if context else []
    bare = {one.lstrip("-"): one for one in known if one.startswith("--")}
    near = nearest(error.option_name.lstrip("-"), bare)
    advice = f"did you mean {bare[near]!r}?" if near else f"{context.command_path} --help lists them" if context else ""
    return f"unknown option {error.option_name!r}; {advice}"


def _place_above(option: str, context: click.Context) -> str:
    """Where *option* stands, if one of the groups of *context*'s command has it; else nothing."""
    above = context.parent
    while above is not None:
        if any(option in param.opts for param in above.command.get_params(above)):
            words = context.command_path.removeprefix(f"{above.command_path} ")
            return f"{option} stands before the command; expected {above.command_path} {option} ... {words}"
        above = above.parent
    return ""


def _has_opposite(error: click.UsageError, name: str) -> bool:
    params = error.ctx.command.get_params(error.ctx) if error.ctx is not None else []
    return any(name in param.opts and param.secondary_opts for param in params)


def _usage(error: click.UsageError) -> str:
    return f"expected {error.ctx.get_usage().removeprefix('Usage: ')}" if error.ctx is not None else "expected none"


def _operand(option: click.Option) -> str:
    return option.metavar or option.type.name.upper()


def _small(text: str | None) -> str:
    return f"{(text or '')[:1].lower()}{(text or '')[1:]}".rstrip(".")
