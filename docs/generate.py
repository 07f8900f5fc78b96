"""Writes the reference pages from what the code declares: ``make docs``. A test fails when they are stale."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from vaurien import events, hooks, options, plugins
from vaurien.config import declared
from vaurien.config.layers import flag, variable

REFERENCE = Path(__file__).parent / "reference"
NOTE = "<!-- Written by docs/generate.py from the code: change the docstring or the option there, then `make docs`. -->"

_INTROS = {
    "behavior": """A behavior is a fault as a class. On the command line it is used by its name, alone or in a mix with
percentages: `--behavior 20:delay,10:error`. Its options are `--behavior-NAME-OPTION`.""",
    "protocol": """A protocol marks where messages start and end; it never changes bytes. It is chosen by
`--protocol NAME`, and its options are `--protocol-NAME-OPTION`.""",
}


_SETTINGS = """What `vaurien` itself can be told, besides the options of
[behaviors](behaviors/index.md) and [protocols](protocols/index.md). Each option can be given in a file (`--config`),
in the environment and as a flag; the last of these wins. `vaurien --show-config` prints every option, its value, and
where it came from. Flags take `.`, `_` and `-` for the same, and what is on or off has a `--no-` form."""


def pages() -> dict[Path, str]:
    """Every reference page: where it belongs, and its text."""
    found = {"options.md": _settings(), "hooks.md": _hooks(), "events.md": _events()}
    for kind in ("behavior", "protocol"):
        known = list(_built_in(kind))
        found[f"{kind}s/index.md"] = _index(kind, known)
        found |= {f"{kind}s/{plugin.name}.md": _plugin(plugin) for plugin in known}
    return {REFERENCE / name: f"{NOTE}\n\n{text}" for name, text in found.items()}


def _built_in(kind: plugins.Kind) -> Iterator[plugins.Plugin]:
    for name in plugins.names(kind):
        plugin = plugins.find(name, kind)
        if plugin.target.__module__ == f"vaurien.{kind}s.{name}":
            yield plugin


def _index(kind: str, known: list[plugins.Plugin]) -> str:
    rows = [f"| [{plugin.name}]({plugin.name}.md) | {_summary(plugin.target)} |" for plugin in known]
    return "\n".join(
        [f"# {kind.capitalize()}s", "", _INTROS[kind], "", "| name | what it does |", "|---|---|", *rows, ""]
    )


def _plugin(plugin: plugins.Plugin) -> str:
    parts = [f"# {plugin.name}", _prose(plugin.target), "## Options", _options(plugin)]
    parts += _acts(plugin.target) if plugin.kind == "behavior" else _speaks(plugin.target)
    by_hand = Path(f"{plugin.kind}s", f"{plugin.name}.md")
    if (REFERENCE.parent / by_hand).exists():
        parts += ["## More", f"[{plugin.name} on the wire](../../{by_hand.as_posix()})"]
    return "\n\n".join(parts) + "\n"


def _options(plugin: plugins.Plugin) -> str:
    if not plugin.declarations:
        return "None."
    return _table(f"{plugin.kind}:{plugin.name}", plugin.declarations)


def _table(section: str, declarations: Iterable[options.Declaration]) -> str:
    rows = [_row(section, option) for option in declarations]
    return "\n".join(["| option | default | value | meaning |", "|---|---|---|---|", *rows])


def _row(section: str, option: options.Declaration) -> str:
    spellings = [flag(section, option.name)]
    if section != "command":
        spellings = [option.name, *spellings, variable(section, option.name)]
    names = "<br>".join(f"`{name}`" for name in spellings)
    cells = [names, f"`{_shown(option.default)}`", option.expected, option.help]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _settings() -> str:
    parts = ["# Options", _SETTINGS]
    for group in (*declared.GROUPS, declared.Group("command", declared.Command)):
        where = "On the command line only" if group.section == "command" else f"In a file: `[{group.section}]`"
        parts.append(f"## {group.struct.__name__}\n\n{_prose(group.struct)} {where}.")
        parts.append(_table(group.section, options.describe(group.struct)))
    return "\n\n".join(parts) + "\n"


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return ", ".join(map(str, default))
    return "none" if default is None else str(default) or '""'


def _acts(behavior: type[hooks.Behavior]) -> list[str]:
    used = sorted(hooks.overridden(behavior), key=hooks.HOOKS.index)
    if not used:
        return ["## Hooks", "None: it is not in the path of the bytes, which travel in the direct lane."]
    return ["## Hooks", "It acts in " + ", ".join(f"[`{name}`](../hooks.md#{name})" for name in used) + "."]


def _speaks(protocol: type) -> list[str]:
    codes = ", ".join(f"`{code}`" for code in protocol.error_codes) or "None: an error is 1000 random bytes."
    fields = ", ".join(f"`{name}`" for name in protocol.fields) or "None."
    return ["## Errors it can answer", codes, "## What a match can ask", fields]


def _hooks() -> str:
    parts = ["# Hooks", _prose(hooks)]
    parts += [_member(hooks.Behavior, name) for name in hooks.HOOKS]
    for port in (hooks.Port, hooks.Connection, hooks.Link, hooks.Exchange):
        parts += [f"# {port.__name__}", _prose(port)]
        parts += [_member(port, name) for name in vars(port) if not name.startswith("_")]
    return "\n\n".join(parts) + "\n"


def _member(owner: type, name: str) -> str:
    member = vars(owner)[name]
    if isinstance(member, property):
        return f"## {name}\n\n*An attribute.* {_prose(member)}"
    words = list(inspect.signature(member).parameters)
    if owner is hooks.Behavior:  # written by the reader
        usage = f"async def {name}({', '.join(words)})"
    else:  # called by the reader
        usage = f"{'await ' if inspect.iscoroutinefunction(member) else ''}{name}({', '.join(words[1:])})"
    return f"## {name}\n\n`{usage}`\n\n{_prose(member)}"


def _events() -> str:
    parts = ["# Events", _prose(events)]
    for event in [events.Event, *events.Event.__subclasses__()]:
        names = [field.name for field in msgspec.structs.fields(event)]
        own = names if event is events.Event else [name for name in names if name not in events.Event.__struct_fields__]
        parts.append(
            f"## {event.__name__}\n\n{_prose(event)}\n\nFields: " + ", ".join(f"`{name}`" for name in own) + "."
        )
    return "\n\n".join(parts) + "\n"


def _prose(documented: object) -> str:
    """A docstring as Markdown."""
    text = inspect.getdoc(documented)
    if not text:
        raise SystemExit(f"{documented} has no docstring")
    return re.sub(r"::$", ":", text.replace("``", "`"), flags=re.MULTILINE)


def _summary(documented: object) -> str:
    return _prose(documented).split("\n\n")[0].replace("\n", " ")


def main() -> None:
    """Write the pages, and remove those of plugins that are gone."""
    wanted = pages()
    for path in set(REFERENCE.rglob("*.md")) - set(wanted):
        if path.read_text(encoding="utf-8").startswith(NOTE):
            path.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
