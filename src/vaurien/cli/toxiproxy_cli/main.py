"""``toxiproxy-cli``: the commands, flags and output of Toxiproxy's command line, for scripts and images that call it.

Health checks of containers call it as ``/toxiproxy-cli list``. What it offers beyond Toxiproxy is `vaurienctl`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from vaurien.cli.serve.go_flags import GoFlag, HelpWanted, parse
from vaurien.cli.toxiproxy_cli import commands
from vaurien.cli.toxiproxy_cli.api import Api, ApiError
from vaurien.cli.toxiproxy_cli.commands import CommandFailed
from vaurien.control.toxiproxy import VERSION
from vaurien.errors import UnknownName, VaurienError

PROGRAM = "toxiproxy-cli"
URL = "http://localhost:8474"

OK, FAILED, UNKNOWN_COMMAND = 0, 1, 3


class ToxiproxyCommand(msgspec.Struct, frozen=True):
    """A command: its *names*, the first of which is its name, *about* it, its *flags*, its *arguments* in the usage."""

    names: tuple[str, ...]
    about: str
    do: Callable[[Api, Mapping[str, Any], Sequence[str]], None] | None = None
    flags: Mapping[str, GoFlag] = {}
    arguments: str = ""
    below: tuple[ToxiproxyCommand, ...] = ()


_HOST = GoFlag(f"Where the interface is (default: {URL})", "", aliases=("h",), variable="TOXIPROXY_URL")
_VERSION = GoFlag("Print the version", False, aliases=("v",))
_NAME = GoFlag("Name of the toxic", "", aliases=("n",))
_TOXICITY = GoFlag("Share of connections that the toxic works on, from 0 to 1", "", aliases=("tox",))
_ATTRIBUTE = GoFlag("An attribute of the toxic, key=value; may be repeated", (), aliases=("a",))
_PROXY = "<proxyName>"

_TOXIC = (
    ToxiproxyCommand(
        ("add", "a"),
        "Add a toxic to a proxy.",
        commands.add_toxic,
        {
            "toxicName": _NAME,
            "type": GoFlag("Type of the toxic", "", aliases=("t",)),
            "toxicity": _TOXICITY,
            "attribute": _ATTRIBUTE,
            "upstream": GoFlag("Work on what clients send", False, aliases=("u",)),
            "downstream": GoFlag("Work on what the upstream sends; this is the default", False, aliases=("d",)),
        },
        _PROXY,
    ),
    ToxiproxyCommand(
        ("update", "u"),
        "Change attributes of a toxic, or its toxicity.",
        commands.update_toxic,
        {"toxicName": _NAME, "toxicity": _TOXICITY, "attribute": _ATTRIBUTE},
        _PROXY,
    ),
    ToxiproxyCommand(
        ("remove", "r", "delete", "d"), "Remove a toxic.", commands.remove_toxic, {"toxicName": _NAME}, _PROXY
    ),
)
_TOP = ToxiproxyCommand(
    (PROGRAM,),
    "Steer the proxies of a Toxiproxy or Vaurien server.",
    flags={"host": _HOST, "version": _VERSION},
    below=(
        ToxiproxyCommand(("list", "l", "li", "ls"), "List all proxies.", commands.show_all),
        ToxiproxyCommand(("inspect", "i", "ins"), "Show a proxy and its toxics.", commands.inspect, arguments=_PROXY),
        ToxiproxyCommand(
            ("create", "c", "new"),
            "Create a proxy.",
            commands.create,
            {
                "listen": GoFlag("Where clients connect, host:port", "", aliases=("l",)),
                "upstream": GoFlag("The server behind the proxy, host:port", "", aliases=("u",)),
            },
            _PROXY,
        ),
        ToxiproxyCommand(("toggle", "tog"), "Disable a proxy, or enable it again.", commands.toggle, arguments=_PROXY),
        ToxiproxyCommand(("delete", "d"), "Delete a proxy.", commands.delete, arguments=_PROXY),
        ToxiproxyCommand(("toxic", "t"), "Add, change or remove a toxic.", below=_TOXIC),
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    left = list(sys.argv[1:] if arguments is None else arguments)
    command, path, url = _TOP, [PROGRAM], os.environ.get("TOXIPROXY_URL") or URL
    values: Mapping[str, Any] = {}
    try:
        while True:
            values, positional = parse(left, command.flags, interspersed=command.do is not None)
            left = list(positional)
            if command is _TOP:
                if values["version"]:
                    print(f"{PROGRAM} version {VERSION}")
                    return OK
                url = str(values["host"]) or url
            if command.do is not None:
                command.do(Api(url, VERSION), values, left)
                return OK
            if not left or left[0] in ("help", "h"):
                print(_help(_found(command, left[1:]), path), end="")
                return OK
            name = left.pop(0)
            below = _below(command, name)
            if below is None:
                known = [known for one in command.below for known in one.names]
                print(f"{' '.join(path)}: {UnknownName('command', name, known)}", file=sys.stderr)
                return UNKNOWN_COMMAND
            command, path = below, [*path, below.names[0]]
    except HelpWanted:
        print(_help(command, path), end="")
        return OK
    except VaurienError as error:
        print(f"Incorrect Usage: {error}\n\n{_help(command, path)}", end="")
        return FAILED
    except (CommandFailed, ApiError) as error:
        if isinstance(error, CommandFailed) and error.usage:
            print(_help(command, path), end="")
        print(error, file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        return OK


def _below(command: ToxiproxyCommand, name: str) -> ToxiproxyCommand | None:
    return next((below for below in command.below if name in below.names), None)


def _found(command: ToxiproxyCommand, names: Sequence[str]) -> ToxiproxyCommand:
    below = _below(command, names[0]) if names else None
    return command if below is None else below


def _help(command: ToxiproxyCommand, path: Sequence[str]) -> str:
    """The help of *command*, in the layout that scripts for Toxiproxy's command line know."""
    name = " ".join(path if command.names[0] == path[-1] else [*path, command.names[0]])
    usage = f"{name}{' [options]' if command.flags else ''}"
    usage += " <command>" if command.below else f" {command.arguments}" if command.arguments else ""
    lines = ["NAME:", f"   {name} - {command.about}", "", "USAGE:", f"   {usage}", ""]
    if command.below:
        rows = [(", ".join(below.names), below.about) for below in command.below]
        lines += ["COMMANDS:", *_rows([*rows, ("help, h", "Show help.")]), ""]
    rows = [(_spelled(flag_name, flag), _described(flag)) for flag_name, flag in command.flags.items()]
    lines += ["OPTIONS:", *_rows([*rows, ("--help", "Show help.")])]
    return "\n".join(lines) + "\n"


def _rows(rows: Sequence[tuple[str, str]]) -> list[str]:
    width = max(len(left) for left, _ in rows)
    return [f"   {left:{width}}  {right}" for left, right in rows]


def _spelled(name: str, flag: GoFlag) -> str:
    value = "" if isinstance(flag.default, bool) else " value"
    return ", ".join(f"{'-' if len(one) == 1 else '--'}{one}{value}" for one in (name, *flag.aliases))


def _described(flag: GoFlag) -> str:
    default = f' (default: "{flag.default}")' if flag.default and not isinstance(flag.default, bool) else ""
    variable = f" [${flag.variable}]" if flag.variable else ""
    return f"{flag.help}.{default}{variable}"


if __name__ == "__main__":
    sys.exit(main())
