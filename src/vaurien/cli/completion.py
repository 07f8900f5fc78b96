"""``vaurien completion SHELL``: what a shell needs to complete command lines of `vaurien` and `vaurienctl`.

The scripts call the program with ``_VAURIEN_COMPLETE`` set, and it answers with what may stand there.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence

import click
from click.shell_completion import CompletionItem, shell_complete

from vaurien import plugins
from vaurien.cli import flags, shells
from vaurien.cli.configure import HELP, OK
from vaurien.cli.help import COMMANDS
from vaurien.config import Key, declared, presets
from vaurien.config.catalogue import Catalogue
from vaurien.errors import UnknownName, VaurienError
from vaurien.options import Declaration, describe

PROGRAMS = ("vaurien", "vaurienctl")
_FILES = frozenset(
    {"config", "trace", "state", "log_output", "token_file", "report", "tls", "tls_key", "tls_passphrase_file"}
    | {"tls_client_ca", "fleet_credentials", "fleet_nkey", "fleet_ca"}
)
"""Options that name a file."""

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
    shell = shells.SHELLS.get(arguments[0])
    if shell is None:
        raise UnknownName("shell", arguments[0], shells.SHELLS)
    if arguments[0] == "bash":
        print("COMP_WORDBREAKS=${COMP_WORDBREAKS//:}  # else 20:error would be three words")
    for program in PROGRAMS:
        print(shell(click.Command(program), {}, program, _variable(program)).source())
    return OK


def complete(instruction: str) -> int:
    """Answer the shell's script: *instruction* is what it has put into ``_VAURIEN_COMPLETE``."""
    shells.register()
    return shell_complete(_command(), {}, "vaurien", _variable("vaurien"), instruction)


def _variable(program: str) -> str:
    return f"_{program}_COMPLETE".upper()


def values(key: Key, declaration: Declaration, typed: str) -> list[CompletionItem]:
    """What may follow the flag of the option *key*, of which *typed* is there already."""
    return _candidates(key[1], declaration.choices or (), typed)


def _candidates(option: str, choices: Iterable[object], typed: str) -> list[CompletionItem]:
    if choices:
        return _items(choices, typed)
    match option:
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
        case name if name in _FILES:
            return [CompletionItem(typed, type="file")]
        case "tls_authority":
            return [CompletionItem(typed, type="dir")]
    return []


def _items(candidates: Iterable[object], typed: str) -> list[CompletionItem]:
    return [CompletionItem(str(one)) for one in candidates if str(one).startswith(typed)]


def _command() -> click.Group:
    """`vaurien` as click sees programs: all options, those of built-in and installed plugins too."""
    group = click.Group("vaurien", params=_options(), add_help_option=False)
    for words, about in COMMANDS:
        group.add_command(_Command(words.split()[0], short_help=about, add_help_option=False))
    return group


class _Command(click.Command):
    """A command of `vaurien`; its options, and what declares them, are looked for when they are needed."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The options and arguments, the same ones each time."""
        self.params = self.params or _parameters(str(self.name))
        return self.params


def _parameters(name: str) -> list[click.Parameter]:
    """What may stand behind the command *name*."""
    file = click.Argument(["file"], type=click.Path())
    match name:
        case "run":
            command = click.Argument(["command"], nargs=-1, type=click.Path())
            more = [flags.Flag(("command", one.name), one) for one in describe(declared.RunSection)]
            return [file, command, *_options(*more)]
        case "check" | "replay":
            return [file, *_options()]
        case "forward":
            return [click.Option(["--listen"]), *_options()]
        case "mesh":
            from vaurien.cli import mesh

            return [file, *_options(*mesh.own_flags())]
        case "serve":
            return _of_serve()
        case "completion":
            return [click.Argument(["shell"], type=click.Choice(list(shells.SHELLS))), _HELP]
        case "ca" | "fleet" | "mcp":
            command = importlib.import_module(f"vaurien.cli.{name}").command
            return [*command.params, _HELP]
    return [_HELP]


_HELP = click.Option(["--help"], is_flag=True)


def _options(*more: flags.Flag) -> list[click.Parameter]:
    """*more*, the options of `vaurien`, and those of all plugins."""
    found = [*more, *flags.own(), *flags.of_all_plugins(Catalogue())]
    for one in found:
        one.complete = values
    return [*found]


def _of_serve() -> list[click.Parameter]:
    """The flags of ``vaurien serve``, with two dashes and with one."""
    from vaurien.cli.serve.daemon import OUR_FLAGS

    declarations = {
        one.name: one for group in declared.GROUPS if group.section == "vaurien" for one in describe(group.struct)
    }

    def of(option: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
        choices = (option in declarations and declarations[option].choices) or ()
        return lambda _context, _parameter, typed: _candidates(option, choices, typed)

    found: list[click.Parameter] = [click.Option(["--help", "-help"], is_flag=True)]
    for name, flag in OUR_FLAGS.items():
        spellings, switch = [f"--{name}", f"-{name}"], isinstance(flag.default, bool)
        found.append(click.Option(spellings, is_flag=switch, help=flag.help, shell_complete=of(name.replace("-", "_"))))
    return found
