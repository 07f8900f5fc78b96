"""The text of ``vaurien --help``, made from the declarations."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping

import click

from vaurien.config import declared
from vaurien.config.catalogue import Catalogue, Entry
from vaurien.config.layers import flag
from vaurien.options import Declaration, describe

_ABOUT = """Stand between an application and its backend, pass their bytes on, and break things on purpose."""

EXAMPLES = (
    ("A fifth of the requests waits a second:", "vaurien --backend localhost:8080 --behavior 20:delay"),
    (
        "Errors and delays for a mail server:",
        "vaurien --proxy :6565 --backend mail:465 --protocol smtp --behavior 5:error,10:delay",
    ),
    (
        "Every MySQL call a second slower:",
        "vaurien --proxy :3307 --backend :3306 --stay-connected --behavior 100:delay --behavior-delay-sleep 1",
    ),
    (
        "Answers 100 ms late, for a third of the connections:",
        "vaurien --fault 'latency latency=100 jitter=20 stream=downstream probability=0.3'",
    ),
    ("A phone's network:", "vaurien --backend localhost:8080 --preset 3g"),
    ("A fault of your own:", "vaurien --behavior 20:package.module.Class --handler-NAME-OPTION VALUE"),
    ("What would run, and why:", "vaurien --config chaos.ini --show-config"),
)

COMMANDS = (
    "run SCENARIO.toml [OPTIONS] -- COMMAND [ARGUMENTS]",
    "replay TRACE [OPTIONS]",
    "serve [FLAGS]",
)
"""What else `vaurien` does, each with ``--help`` of its own."""

_SOURCES = """Each option can be given in a file (--config), in the environment (--proxy is VAURIEN_PROXY,
--behavior-delay-sleep is VAURIEN_BEHAVIOR_DELAY_SLEEP) and as a flag; the last of these wins."""

_METAVARS = {
    "proxy": "ADDRESS",
    "backend": "ADDRESS",
    "behavior": "MIX",
    "protocol": "NAME",
    "fault": "FAULT",
    "preset": "NAME",
    "config": "FILE",
}
_KINDS: Mapping[type, str] = {int: "NUMBER", float: "NUMBER", list: "LIST"}
_COLUMN = 32  # a longer flag has its explanation below it


def text(catalogue: Catalogue) -> str:
    """Usage, examples, and each option of ``vaurien`` and of the plugins that *catalogue* knows."""
    page = click.HelpFormatter(width=min(shutil.get_terminal_size().columns, 100) - 2)
    page.write_usage("vaurien", "[OPTIONS]")
    for command in COMMANDS:
        page.write_usage("vaurien", command, prefix="   or: ")
    page.write_paragraph()
    page.write_text(_ABOUT)
    with page.section("Examples"):
        for about, command in EXAMPLES:
            page.write(f"  {about}\n    $ {command}\n")
    page.write_paragraph()
    page.write_text(_SOURCES)
    for group in (*declared.GROUPS, declared.Group("command", declared.Command)):
        _write(page, _sentence(group.struct), group.section, describe(group.struct))
    for section, entry in _listed(catalogue):
        kind, _, name = section.partition(":")
        title = ": ".join(filter(None, [f"{kind} {name}".capitalize(), _sentence(entry.plugin.target)]))
        _write(page, title, section, entry.declarations.values())
    return page.getvalue()


def _listed(catalogue: Catalogue) -> Iterator[tuple[str, Entry]]:
    """Each plugin once, under its own kind."""
    usable = list(catalogue.usable())
    for kind in ("behavior", "handler", "protocol"):
        for section, entry in usable:
            word, _, name = section.partition(":")
            if word == kind == entry.plugin.kind and "." not in name:
                yield section, entry


def _write(page: click.HelpFormatter, title: str, section: str, options: Iterable[Declaration]) -> None:
    page.write_paragraph()
    page.write_text(title)
    with page.indentation():
        rows = [(_spelling(section, option), _explanation(section, option)) for option in options]
        if rows:
            page.write_dl(rows, col_max=_COLUMN)


def _spelling(section: str, option: Declaration) -> str:
    spelling = flag(section, option.name)
    if option.kind is not bool:
        return f"{spelling} {_metavar(option)}"
    return spelling if section == "command" else f"--[no-]{spelling.removeprefix('--')}"


def _metavar(option: Declaration) -> str:
    if option.choices:
        return "|".join(map(str, option.choices))
    return option.unit.upper() or _METAVARS.get(option.name) or _KINDS.get(option.kind, "TEXT")


def _explanation(section: str, option: Declaration) -> str:
    default = option.default
    if section == "command" or default in (None, "", ()):
        return option.help
    if isinstance(default, list | tuple):
        default = ",".join(map(str, default))
    elif isinstance(default, bool):
        default = "yes" if default else "no"
    elif isinstance(default, float):
        default = f"{default:g}"
    return f"{option.help} [default: {default}]".lstrip()


def _sentence(target: object) -> str:
    """The first sentence of the docstring of *target*, or nothing."""
    doc = " ".join((getattr(target, "__doc__", None) or "").split())
    return doc.partition(". ")[0].removesuffix(".")
