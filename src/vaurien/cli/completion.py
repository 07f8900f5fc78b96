"""``vaurien completion SHELL``: what a shell needs to complete command lines of `vaurien` and `vaurienctl`.

The scripts are click's; they call the program with ``_VAURIEN_COMPLETE`` set, and it answers with what may stand there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import click
from click.shell_completion import CompletionItem, get_completion_class, shell_complete

from vaurien import plugins
from vaurien.cli import flags
from vaurien.cli.configure import HELP, OK
from vaurien.cli.help import COMMANDS
from vaurien.config import Key, presets
from vaurien.config.catalogue import Catalogue
from vaurien.errors import UnknownName, VaurienError
from vaurien.options import Declaration

SHELLS = ("bash", "zsh", "fish")
PROGRAMS = ("vaurien", "vaurienctl")

USAGE = """Usage: vaurien completion bash|zsh|fish

  Print a script that completes options, behaviors, protocols, presets and files of vaurien, and commands, proxies and
  faults (those of the running server) of vaurienctl. Put the line of your shell into its start file:

    bash  ~/.bashrc                    eval "$(vaurien completion bash)"
    zsh   ~/.zshrc, behind compinit    eval "$(vaurien completion zsh)"
    fish  ~/.config/fish/config.fish   vaurien completion fish | source
"""


def main(arguments: Sequence[str], _variables: Mapping[str, str]) -> int:
    """Print the script for the shell that *arguments* name; returns the exit status."""
    if HELP.intersection(arguments):
        print(USAGE, end="")
        return OK
    if len(arguments) != 1:
        raise VaurienError("completion: expected one shell, such as: vaurien completion bash")
    shell = get_completion_class(arguments[0]) if arguments[0] in SHELLS else None
    if shell is None:
        raise UnknownName("shell", arguments[0], SHELLS)
    if arguments[0] == "bash":
        print("COMP_WORDBREAKS=${COMP_WORDBREAKS//:}  # else 20:error would be three words")
    for program in PROGRAMS:
        print(shell(click.Command(program), {}, program, _variable(program)).source())
    return OK


def complete(instruction: str) -> int:
    """Answer the shell's script: *instruction* is what it has put into ``_VAURIEN_COMPLETE``."""
    return shell_complete(_command(), {}, "vaurien", _variable("vaurien"), instruction)


def _variable(program: str) -> str:
    return f"_{program}_COMPLETE".upper()


def _completed(found: list[flags.Flag]) -> list[flags.Flag]:
    """*found*, which know now what may follow them."""
    for one in found:
        one.complete = values
    return found


def values(key: Key, declaration: Declaration, typed: str) -> list[CompletionItem]:
    """What may follow the flag of the option *key*, of which *typed* is there already."""
    if declaration.choices:
        return _items(declaration.choices, typed)
    match key[1]:
        case "behavior":  # 20:error,10:de
            before, _, last = typed.rpartition(",")
            percent, colon, name = last.rpartition(":")
            start = f"{before}," if before else ""
            names = [*plugins.names("behavior"), *plugins.names("handler")]
            return _items((f"{start}{percent}{colon}{one}" for one in names), f"{start}{percent}{colon}{name}")
        case "fault":
            return _items(plugins.names("behavior"), typed)
        case "protocol":
            return _items(plugins.names("protocol"), typed)
        case "preset":
            return _items(presets.names(), typed)
        case "config" | "trace" | "state" | "log_output" | "token_file" | "report":
            return [CompletionItem(typed, type="file")]
    return []


def _items(candidates: Iterable[object], typed: str) -> list[CompletionItem]:
    return [CompletionItem(str(one)) for one in candidates if str(one).startswith(typed)]


def _command() -> click.Group:
    """`vaurien` as click sees programs: all options, those of built-in and installed plugins too."""
    own = _completed(flags.own())
    group = click.Group("vaurien", params=[*own, *_completed(flags.of_all_plugins(Catalogue()))], add_help_option=False)
    for words, about in COMMANDS:
        name = words.split()[0]
        params: list[click.Parameter] = []
        if name in ("run", "check", "replay"):
            params = [click.Argument(["file"], type=click.Path()), *_completed(flags.own())]
        elif name == "completion":
            params = [click.Argument(["shell"], type=click.Choice(SHELLS))]
        group.add_command(click.Command(name, params=params, add_help_option=False, short_help=about))
    return group
