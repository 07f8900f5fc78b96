"""The pages of ``vaurien --help``, made from the declarations."""

from __future__ import annotations

import contextlib
import os
import sys
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import click
import msgspec

from vaurien.cli.configure import coloured
from vaurien.config import declared, presets
from vaurien.config.catalogue import Catalogue, Entry
from vaurien.config.layers import flag
from vaurien.errors import UnknownName
from vaurien.options import Declaration, describe

_ABOUT = """Stand between an application and its backend, pass their bytes on, and break things on purpose."""

EXAMPLES = (
    ("A fifth of the requests waits a second:", "vaurien --backend localhost:8080 --behavior 20:delay"),
    (
        "Answers 100 ms late, for a third of the connections:",
        "vaurien --fault 'latency latency=100 jitter=20 stream=downstream probability=0.3'",
    ),
    ("A phone's network:", "vaurien --backend localhost:8080 --preset 3g"),
    ("What would run, and why:", "vaurien --config chaos.ini --show-config"),
)

MORE_EXAMPLES = (
    (
        "Errors and delays for a mail server:",
        "vaurien --proxy :6565 --backend mail:465 --protocol smtp --behavior 5:error,10:delay",
    ),
    (
        "Every MySQL call a second slower:",
        "vaurien --proxy :3307 --backend :3306 --stay-connected --behavior 100:delay --behavior-delay-sleep 1",
    ),
    ("A fault of your own:", "vaurien --behavior 20:package.module.Class --handler-NAME-OPTION VALUE"),
)
"""On the page with everything."""

COMMANDS = (
    ("run [SCENARIO.toml] [OPTIONS] -- COMMAND", "play faults while a command runs"),
    ("replay TRACE [OPTIONS]", "repeat the faults of an earlier run"),
    ("serve [FLAGS]", "many proxies, steered over HTTP"),
    ("mesh [FILE] [OPTIONS]", "partitions between the nodes of a cluster"),
    ("forward [OPTIONS]", "a forward proxy: HTTP and SOCKS"),
    ("fleet --dev", "a NATS server, to try a fleet of many nodes with"),
    ("mcp [OPTIONS]", "a server of the Model Context Protocol"),
    ("check FILE [OPTIONS]", "what a start would refuse, ports included"),
    ("ca [OPTIONS]", "a certificate authority, for TLS"),
    ("schema", "the JSON Schema of TOML files, for editors"),
    ("completion bash|zsh|fish", "completion for a shell"),
)
"""What else `vaurien` does, each with ``--help`` of its own."""

_SOURCES = """Each option can be given in a file (--config), in the environment (--proxy is VAURIEN_PROXY,
--behavior-delay-sleep is VAURIEN_BEHAVIOR_DELAY_SLEEP) and as a flag; the last of these wins. A list may be given by
several flags, or by one with commas."""

_FIRST = {"vaurien": (declared.TrafficSection, declared.FaultsSection), "command": (declared.CommandSection,)}
"""The groups of options on the first page."""

_GROUPS: Mapping[str, type[msgspec.Struct]] = {
    "connections": declared.Connections,
    "tls": declared.Tls,
    "process": declared.Process,
    "http": declared.HttpSection,
    "statsd": declared.StatsdSection,
}
"""The groups of options with a page of their own."""

TOPICS = (
    "connections",
    "tls",
    "process",
    "http",
    "statsd",
    "behaviors",
    "behaviors FAMILY",
    "protocols",
    "presets",
    "behavior NAME",
    "protocol NAME",
    "all",
)
"""What may stand behind ``--help``."""

_FAMILIES = {
    "grpc": "of gRPC",
    "h2": "of HTTP/2",
    "stream": "of event streams",
    "tls": "of TLS",
    "ws": "of WebSocket",
}
"""First words of names of behaviors, which have pages of their own; and what these behaviors are about."""

_METAVARS = {
    "proxy": "ADDRESS",
    "backend": "ADDRESS",
    "route": "NAME=ADDRESS",
    "upstream_proxy": "ADDRESS",
    "behavior": "MIX",
    "protocol": "NAME",
    "fault": "FAULT",
    "preset": "NAME",
    "config": "FILE",
    "tls_passphrase_file": "FILE",
    "tls_authority": "FOLDER",
    "tls_client_ca": "FILE",
}
_KINDS: Mapping[type, str] = {int: "NUMBER", float: "NUMBER", list: "LIST"}
_USUAL_COLUMNS = 80
_COLUMN = 32  # a longer flag has its explanation below it


def _columns() -> int:
    """As `shutil.get_terminal_size`, whose module imports three ways to compress files."""
    with contextlib.suppress(ValueError):
        if (columns := int(os.environ.get("COLUMNS", "0"))) > 0:
            return columns
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or _USUAL_COLUMNS
    except (OSError, ValueError):  # no terminal, or no file at all
        return _USUAL_COLUMNS


def text(catalogue: Catalogue, topic: Sequence[str] = ()) -> str:
    """The page about *topic*: what most people need without one, everything with ``all``.

    *catalogue* has the plugins. Raises `UnknownName` for a topic that there is not.
    """
    page = click.HelpFormatter(width=min(_columns(), 100) - 2)
    match [word.lower() for word in topic]:
        case []:
            _first(page, catalogue)
        case ["all"]:
            _everything(page, catalogue)
        case [group] if group in _GROUPS:
            _group(page, declared.Group("statsd" if group == "statsd" else "vaurien", _GROUPS[group]))
        case ["behaviors" | "protocols" | "handlers" as plural]:
            _names(page, catalogue, plural.removesuffix("s"))
        case ["behaviors", family] if family in _FAMILIES:
            _names(page, catalogue, "behavior", family)
        case ["presets"]:
            _presets(page)
        case ["behavior" | "protocol" | "handler" as kind, name]:
            known = [one.partition(":")[2] for one in catalogue.sections() if one.startswith(f"{kind}:")]
            if name not in known:
                raise UnknownName(kind, name, known)
            _plugin(page, f"{kind}:{name}", catalogue.find(f"{kind}:{name}"))
        case words:
            raise UnknownName("topic of --help", " ".join(words), TOPICS)
    return page.getvalue()


def _usage(page: click.HelpFormatter) -> None:
    page.write_usage("vaurien", "[OPTIONS]")
    for command, about in COMMANDS:
        page.write(f"   or: vaurien {command:<40} {about}\n")
    page.write_paragraph()
    page.write_text(_ABOUT)


def _examples(page: click.HelpFormatter, examples: Iterable[tuple[str, str]]) -> None:
    with page.section("Examples"):
        for about, command in examples:
            page.write(f"  {about}\n    $ {command}\n")


def _first(page: click.HelpFormatter, catalogue: Catalogue) -> None:
    _usage(page)
    _examples(page, EXAMPLES)
    for section, structs in _FIRST.items():
        for struct in structs:
            _group(page, declared.Group(section, struct))
    brought = list(catalogue.brought())
    for section, entry in listed(catalogue) if brought else ():
        if entry in brought:
            _plugin(page, section, entry)
    page.write_paragraph()
    page.write_text(f"More: vaurien --help TOPIC, with {', '.join(TOPICS[:-1])} or {TOPICS[-1]}.")


def _everything(page: click.HelpFormatter, catalogue: Catalogue) -> None:
    _usage(page)
    _examples(page, (*EXAMPLES, *MORE_EXAMPLES))
    page.write_paragraph()
    page.write_text(_SOURCES)
    for group in (*declared.GROUPS, declared.Group("command", declared.CommandSection)):
        _group(page, group)
    for section, entry in listed(catalogue):
        _plugin(page, section, entry)


def _group(page: click.HelpFormatter, group: declared.Group) -> None:
    _write(page, _sentence(group.struct), group.section, describe(group.struct))


def _names(page: click.HelpFormatter, catalogue: Catalogue, kind: str, family: str = "") -> None:
    """Those of *family*, or those that are of none, each on a line; and how to see the families."""
    which = f"{kind} {_FAMILIES[family]}" if family else kind
    page.write_text(f"Each {which}; vaurien --help {kind} NAME has its options:")
    rows, counts = [], Counter[str]()
    for section, entry in listed(catalogue):
        name = section.partition(":")[2]
        if entry.plugin.kind != kind:
            continue
        first = name.partition("_")[0] if kind == "behavior" and "_" in name else ""
        if first in _FAMILIES and first != family:
            counts[first] += 1
        elif first == family or not family:
            rows.append(
                (
                    name,
                    textwrap.shorten(_sentence(entry.plugin.target).split(": ")[0], page.width - 30, placeholder=" …"),
                )
            )
    with page.indentation():
        page.write_dl(rows or [("none", "")])
    if not family and counts:
        page.write_paragraph()
        page.write_text("More of them:")
        with page.indentation():
            page.write_dl(
                [(f"vaurien --help behaviors {one}", f"{counts[one]} {what}") for one, what in _FAMILIES.items()],
                col_max=40,
            )


def _presets(page: click.HelpFormatter) -> None:
    page.write_text("Each preset, for --preset NAME; a cause takes a share, as in postgres.deadlock:0.1:")
    page.write_paragraph()
    with page.indentation():
        page.write_text(", ".join(presets.names()))


def _plugin(page: click.HelpFormatter, section: str, entry: Entry) -> None:
    kind, _, name = section.partition(":")
    title = ": ".join(filter(None, [f"{kind} {name}".capitalize(), _sentence(entry.plugin.target)]))
    _write(page, title, section, entry.declarations.values())


def listed(catalogue: Catalogue) -> Iterator[tuple[str, Entry]]:
    """Each plugin once, under its own kind."""
    usable = list(catalogue.usable())
    for kind in ("behavior", "handler", "protocol"):
        for section, entry in usable:
            word, _, name = section.partition(":")
            if word == kind == entry.plugin.kind and "." not in name:
                yield section, entry


def _write(page: click.HelpFormatter, title: str, section: str, options: Iterable[Declaration]) -> None:
    page.write_paragraph()
    page.write_text(click.style(title, bold=True) if coloured(sys.stdout) else title)
    with page.indentation():
        rows = [(spelling(section, option), explanation(section, option)) for option in options]
        if rows:
            page.write_dl(rows, col_max=_COLUMN)


def spelling(section: str, option: Declaration) -> str:
    """The flag of *option*, and what may follow it."""
    spelling = flag(section, option.name)
    if option.kind is not bool:
        return f"{spelling} {_metavar(option)}"
    return spelling if section == "command" else f"--[no-]{spelling.removeprefix('--')}"


def _metavar(option: Declaration) -> str:
    if option.choices:
        return "|".join(map(str, option.choices))
    return option.unit.upper() or _METAVARS.get(option.name) or _KINDS.get(option.kind, "TEXT")


def explanation(section: str, option: Declaration) -> str:
    """What *option* means, and its default."""
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
