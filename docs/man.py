"""Manual pages from the same declarations as ``--help``: ``make docs`` writes them, and a wheel installs them."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from vaurien.cli import help
from vaurien.cli.ctl import main as ctl
from vaurien.cli.main import COMMANDS
from vaurien.config import declared
from vaurien.config.catalogue import Catalogue
from vaurien.options import Declaration, describe

PAGES = Path(__file__).parent / "man"
EXIT_STATUS = """0 at the end, 2 for what is not understood, 1 when the reader of its output has gone.
For vaurien run that of the command; 123 when that is 0 and a step could not be played, 124 when a fault has not hit as
often as was expected, 125 when the run could not begin, 126 when the command cannot be started, 127 when it is not
there. vaurien check ends with 2 for a file that a start would refuse."""
WIDTH = 76
"""Characters of a line, as man(1) shows them."""

NOTE = '.\\" Written by docs/man.py from the code.'


def pages() -> dict[Path, str]:
    """Every manual page: where it belongs, and its text in man(7)'s macros."""
    return {PAGES / "vaurien.1": _page(_vaurien()), PAGES / "vaurienctl.1": _page(_vaurienctl())}


def _page(lines: Iterable[str]) -> str:
    return "\n".join([NOTE, *lines]) + "\n"


def _vaurien() -> Iterator[str]:
    yield from _title("vaurien", "break the connection between an application and its backend on purpose")
    yield ".SH SYNOPSIS\n.B vaurien\n.RI [ options ]"
    for command, _ in help.COMMANDS:
        yield f".br\n.B vaurien\n{_escaped(command)}"
    yield ".SH COMMANDS"
    for command, about in help.COMMANDS:
        yield f".TP\n.B {_escaped(command)}\n{_escaped(about[0].upper() + about[1:])}."
    for name, module in COMMANDS.items():
        yield f".SS vaurien {name}\n.nf\n{_escaped(_help(module))}\n.fi"
    yield ".SH OPTIONS\nEach option can be given in a file, in the environment and as a flag; the last of these wins."
    for group in (*declared.GROUPS, declared.Group("command", declared.CommandSection)):
        yield from _group(inspect.getdoc(group.struct) or "", group.section, describe(group.struct))
    catalogue = Catalogue()
    for section, entry in help.listed(catalogue):
        yield from _group(f"{section.replace(':', ' ').capitalize()}", section, entry.declarations.values())
    yield ".SH EXAMPLES"
    for about, command in (*help.EXAMPLES, *help.MORE_EXAMPLES):
        yield f".TP\n{_escaped(about)}\n{_escaped(command)}"
    yield f".SH EXIT STATUS\n{_escaped(EXIT_STATUS)}\n.SH SEE ALSO\n.BR vaurienctl (1)"


def _help(module: str) -> str:
    """What the command of *module* prints for ``--help``, in the width of a manual page."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), _columns(WIDTH):
        importlib.import_module(module).main(["--help"], {})
    return printed.getvalue().strip("\n")


@contextlib.contextmanager
def _columns(width: int) -> Iterator[None]:
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(width)
    try:
        yield
    finally:
        del os.environ["COLUMNS"]
        if before is not None:
            os.environ["COLUMNS"] = before


def _group(title: str, section: str, options: Iterable[Declaration]) -> Iterator[str]:
    yield f".SS {_escaped(title.split('. ')[0].rstrip('.'))}"
    for option in options:
        yield f".TP\n.B {_escaped(help.spelling(section, option))}\n{_escaped(help.explanation(section, option))}"


_HELP: Any = ctl.command.context_settings
"""A command keeps the names of its help option from the first context that it is in: each has those of the program."""


def _vaurienctl() -> Iterator[str]:
    yield from _title("vaurienctl", "steer running proxies")
    yield '.SH SYNOPSIS\n.B vaurienctl\n.RI [ options ] " command " [ arguments ]'
    yield from _params(ctl.command)
    yield ".SH COMMANDS"
    yield from _commands(ctl.command, "")
    yield f".SH EXIT STATUS\n{_escaped(ctl.command.epilog.partition(chr(10))[0])}\n.SH SEE ALSO\n.BR vaurien (1)"


def _commands(group: click.Group, before: str) -> Iterator[str]:
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from _commands(command, f"{before}{name} ")
            continue
        context = click.Context(command, info_name=name, **_HELP)
        yield f".SS {before}{name} {_escaped(' '.join(command.collect_usage_pieces(context)))}"
        yield _escaped(inspect.cleandoc((command.help or "").replace("\b", "")))
        yield from _params(command)


def _params(command: click.Command) -> Iterator[str]:
    context = click.Context(command, **_HELP)
    for param in command.params:
        record = param.get_help_record(context)
        if record is not None:
            yield f".TP\n.B {_escaped(record[0])}\n{_escaped(record[1])}"


def _title(name: str, about: str) -> Iterator[str]:
    yield f".TH {name.upper()} 1\n.SH NAME\n{name} \\- {about}"


def _escaped(text: str) -> str:
    lines = text.replace("\\", "\\e").replace("-", "\\-").splitlines()
    return "\n".join(f"\\&{line}" if line[:1] in (".", "'") else line for line in lines)
