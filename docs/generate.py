"""Writes the reference pages from what the code declares: ``make docs``. A test fails when they are stale."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import json
import re
import shlex
import textwrap
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from docs import man, overloads
from vaurien import events, framing, hooks, library, options, plugins, pytest_plugin, testing
from vaurien.config import declared, fault, presets, topologies
from vaurien.config.layers import flag, variable
from vaurien.config.selection import OF_CONNECTIONS
from vaurien.control import openapi, v1
from vaurien.library import settings
from vaurien.library.base import BaseProxy
from vaurien.library.changes import LiveChange
from vaurien.library.suite import Proxies
from vaurien.model import Fault, Window
from vaurien.observers import trace
from vaurien.scenario import environment, report
from vaurien.testing import framing as laws

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
in the environment and as a flag; the last of these wins. A list may be given by several flags, or by
one with commas. `vaurien --show-config` prints every option, its value, and where it came from. Flags
take `.`, `_` and `-` for the same, and what is on or off has a `--no-` form.
In a file, `${NAME}` stands for that variable of the environment, and `$${NAME}` for the text `${NAME}`."""


_MATCH = """`match.FIELD=PATTERN` says which clients or exchanges are meant; all that are given have to match.
`match.client` is a network or several, separated by commas. `match.sni`, `match.alpn` and `match.tls_version` (`1.3`)
are what the client offers in its ClientHello, and work on TLS that passes through; a server name may be a glob
(`match.sni=*.example.test`). On a forward proxy `match.host`, a glob too, and `match.port` are the server that the
client names. The other fields are those of the
[protocol](protocols/index.md). A pattern is the text itself, or `exact:…`, `prefix:…`, `glob:…`, `regex:…`. It
tells upper and lower case apart. An expression may match anywhere, and begins with `(?i)` to take both cases. A search
that takes more than a few milliseconds, as of `(a+)+$`, ends the connection, and the log says so.
A field of the response (HTTP's `status`) is for faults that act on responses: for `delay` with `before=false`, say."""

_MORE = """[Time and chance](../explanation/time-and-chance.md) says when dice are thrown and what windows count."""

_SCENARIO = """A scenario is a configuration file in TOML, with everything that such a file may have: the
[options](options.md) of `vaurien` under `[vaurien]`, those of [behaviors](behaviors/index.md) and
[protocols](protocols/index.md) under `[behavior.NAME]` and `[protocol.NAME]`. Besides, it has faults that come and go.
`vaurien run SCENARIO.toml -- COMMAND` runs a command against it; `vaurien --config SCENARIO.toml` just plays it. It is
checked as a whole before anything starts, and what is wrong is said with its line."""

_PRESETS = """`--preset NAME`, or `preset = "NAME"` in a file, adds the faults of a network or a backend, and plays its
schedule if it has one. `--preset NAME:0.1` multiplies the probabilities of its faults by that. A preset whose name
begins with a protocol is a *cause*: what a server of that protocol answers when it is in such a state. It asks for a
proxy that speaks the protocol. Its faults have its name, in hits and in `expect_hits`.

On a running proxy it is added by `vaurienctl preset add PROXY NAME`, `POST /api/v1/proxies/PROXY/presets` or
`proxy.preset("NAME")`; in a test by `@pytest.mark.vaurien(preset="NAME")`. A preset is a file like those that you
write; copy it to begin with figures of your own."""

_REPORTS = (report.RunReport, report.ProxyReport, report.FaultReport, report.Delays, report.FailedStep, report.Unmet)


_FRAMING = """[Write a protocol](../how-to/write-a-protocol.md) shows how the parts fit together. A generator of a
`Framer` yields a `Head` when a head is complete, `Step.END` when the message is, and `Step.ASIDE` when what follows
belongs to no exchange; what it reads, it reads by a `Reader`. What is not the protocol's own is a
`vaurien.errors.ParseError`.

A `Protocol` has three class attributes: `error_codes`, what `error_reply` takes as *code*; `fields`, the names in
`Head.fields` that a match may use (one that ends in a dot is a prefix); `response_fields`, those of them that only a
response has."""

_OF_FRAMING: Mapping[type, tuple[str, ...]] = {
    framing.Protocol: ("framer", "error_reply", "rewrite"),
    framing.Framer: ("requests", "responses", "parse_whole", "stop_framing"),
    framing.Reader: (
        *("line", "block", "exactly", "peek", "match"),
        *("skip", "skip_line", "past", "unread", "until_eof"),
    ),
}
"""What the author of a protocol overrides or calls; the rest is between the framer and the engine."""


def pages() -> dict[Path, str]:
    """Every reference page: where it belongs, and its text."""
    found = {
        "options.md": _settings(),
        "faults.md": _faults(),
        "scenario.md": _scenario(),
        "topologies.md": _topologies(),
        "presets.md": _presets(),
        "hooks.md": _hooks(),
        "framing.md": _framing(),
        "events.md": _events(),
        "test-kit.md": _test_kit(),
        "library.md": _library(),
        "http-api.md": _http_api(),
    }
    for kind in ("behavior", "protocol"):
        known = list(_built_in(kind))
        found[f"{kind}s/index.md"] = _index(kind, known)
        found |= {f"{kind}s/{plugin.name}.md": _plugin(plugin) for plugin in known}
    return {REFERENCE / name: f"{NOTE}\n\n{text}" for name, text in found.items()}


def _built_in(kind: plugins.Kind) -> Iterator[plugins.Plugin]:
    for name in plugins.names(kind):
        plugin = plugins.find(name, kind)
        if f"{plugin.target.__module__}.".startswith(f"vaurien.{kind}s.{name}."):
            yield plugin


def _index(kind: str, known: list[plugins.Plugin]) -> str:
    rows = [f"| [{plugin.name}]({plugin.name}.md) | {_summary(plugin.target)} |" for plugin in known]
    return "\n".join(
        [f"# {kind.capitalize()}s", "", _INTROS[kind], "", "| name | what it does |", "|---|---|", *rows, ""]
    )


_CLIENTS = {
    page: f"## Clients\n\n[What clients report](../{page}) of it: a table that a test has made."
    for page in ("tls-errors.md", "stream-errors.md")
}


@functools.cache
def _read(page: str) -> str:
    return (REFERENCE / page).read_text(encoding="utf-8")


def _plugin(plugin: plugins.Plugin) -> str:
    parts = [f"# {plugin.name}", _prose(plugin.target)]
    parts += _used(plugin) if plugin.kind == "behavior" else []
    parts += ["## Options", _options(plugin)]
    parts += _acts(plugin.target) if plugin.kind == "behavior" else _speaks(plugin.target)
    parts += [text for page, text in _CLIENTS.items() if re.search(rf"^\| \[`{plugin.name}[ `]", _read(page), re.M)]
    by_hand = Path(f"{plugin.kind}s", f"{plugin.name}.md")
    if (REFERENCE.parent / by_hand).exists():
        link = f"[{plugin.name} on the wire](../../{by_hand.as_posix()})"
        parts += ["## More", f"{link}: where messages end, what the fields of a match hold, what an error looks like"]
    return "\n\n".join(parts) + "\n"


EXAMPLES: Mapping[str, str] = tomllib.loads(
    (Path(__file__).parent / "examples_of_behaviors.toml").read_text(encoding="utf-8")
)
"""A fault of each behavior, as text."""

BACKEND = "127.0.0.1:8001"


def protocol_of(behavior: plugins.Plugin) -> str:
    """The protocol of the example of *behavior*: http where it acts on requests or bodies."""
    of_its_own = {"h2": "http2", "grpc": "grpc", "starttls": "smtp"}.get(behavior.name.partition("_")[0])
    if of_its_own is not None:
        return of_its_own
    on_exchanges = hooks.overridden(behavior.target) & {"on_request", "on_response"}
    on_messages = on_exchanges or behavior.target.reads_content or behavior.target.one_way or "body" in behavior.name
    return "http" if on_messages else "tcp"


def _used(plugin: plugins.Plugin) -> list[str]:
    """Whether it belongs into a mix, and an example for the command line and for Python."""
    text, protocol = EXAMPLES[plugin.name], protocol_of(plugin)
    acts = hooks.overridden(plugin.target)
    fault_only = plugin.target.closes_port or (acts and acts <= OF_CONNECTIONS)
    speaks, spoken = (f" --protocol {protocol}", f', protocol="{protocol}"') if protocol != "tcp" else ("", "")
    shell = [f"$ vaurien --backend {BACKEND}{speaks} --fault {_quoted(text)}"]
    if fault_only:
        use = "Use it as a fault."
    else:
        use = f"Use it in a mix (`20:{plugin.name}`) or as a fault."
        shell.append(f"$ vaurien --backend {BACKEND}{speaks} --behavior 20:{plugin.name}")
    python = [f'with vaurien.Proxy(backend="{BACKEND}"{spoken}) as proxy:']
    python += [f"    with proxy.fault({_call(fault.parse(text))}):", "        ..."]
    return [
        f"## Example\n\n{use}",
        "\n".join(["```console", *shell, "```"]),
        "\n".join(["In a test:", "", "```python", *python, "```"]),
    ]


def _call(one: Fault) -> str:
    """*one* as the arguments of ``proxy.fault``."""
    plain = Fault(name=one.name, behavior=one.behavior)
    fields = ("stream", "probability", "scope", "ttl", "match")
    told = {name: getattr(one, name) for name in fields if getattr(one, name) != getattr(plain, name)}
    if one.window.seconds is not None:
        told["window"] = {"seconds": one.window.seconds}
    words = {name: str(value) if isinstance(value, str) else value for name, value in {**told, **one.options}.items()}
    return ", ".join([repr(one.behavior), *(f"{name}={value!r}" for name, value in words.items())]).replace("'", '"')


def _quoted(text: str) -> str:
    """*text* as one word of a shell."""
    return f'"{text}"' if "'" in text else shlex.quote(text)


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
    for group in (*declared.GROUPS, declared.Group("command", declared.CommandSection)):
        where = "On the command line only" if group.section == "command" else f"In a file: `[{group.section}]`"
        parts.append(f"## {group.struct.__name__.removesuffix('Section')}\n\n{_prose(group.struct)} {where}.")
        parts.append(_table(group.section, options.describe(group.struct)))
    return "\n\n".join(parts) + "\n"


def _faults() -> str:
    window = options.describe(Window)
    fields = [*options.describe(Fault), *window]
    rows = [
        _key_of_fault(option, "for" if option in window and option.name == "seconds" else option.name)
        for option in fields
    ]
    return "\n\n".join(["# Faults", _prose(fault), _rows(filter(None, rows)), _MATCH, _MORE]) + "\n"


def _key_of_fault(option: options.Declaration, name: str) -> str | None:
    if name not in fault.FIELDS:
        return None
    default = "the behavior's" if name == "name" else f"`{_shown(option.default)}`"
    return f"| `{name}` | {default} | {option.expected} | {option.help} |"


def _rows(rows: Iterable[str]) -> str:
    return "\n".join(["| key | default | value | meaning |", "|---|---|---|---|", *rows])


def _keys(struct: type[msgspec.Struct]) -> str:
    return _rows(
        f"| `{option.name}` | `{_shown(option.default)}` | {option.expected} | {option.help} |"
        for option in options.describe(struct)
    )


def _scenario() -> str:
    forms = ", ".join(f"`{ending}`" for ending in report.FORMS)
    parts = [
        "# The scenario file",
        _SCENARIO,
        "## [[fault]]",
        "A fault that acts from the start; [its keys](faults.md) are those of `--fault`.",
        "## [schedule]",
        _prose(declared.ScheduleSection) + " In each round the faults and the mix begin as they were at the start.",
        _keys(declared.ScheduleSection),
        "## [[step]]",
        _prose(declared.StepSection)
        + " Within a step, what is removed goes first, then come changes, additions, the mix.",
        _keys(declared.StepSection),
        "## [environment]",
        _prose(environment),
        "## Reports",
        f"`vaurien run … --report FILE` writes what happened; the file's ending, {forms}, says how.",
        *(f"**{struct.__name__}.** {_prose(struct)}" for struct in _REPORTS),
        "## Traces",
        _prose(trace),
    ]
    return "\n\n".join(parts) + "\n"


def _topologies() -> str:
    mesh = "`vaurien mesh`, `vaurien --config` and `vaurien run` take it from a file. It has the keys:"
    parts = [
        "# Topologies",
        _prose(topologies),
        "## [mesh]",
        _prose(declared.MeshSection) + " " + mesh,
        _keys(declared.MeshSection),
    ]
    return "\n\n".join(parts) + "\n"


def _presets() -> str:
    parts = ["# Presets", _PRESETS]
    for name in presets.names():
        file = Path(presets.path(name)).read_text(encoding="utf-8")
        tables = file.partition("\n\n")[2]  # behind [preset]
        words = f"{presets.about(name)}\n\n*Where it comes from.* {presets.source(name)}"
        parts.append(f"## {name}\n\n{words}\n\n```toml\n{tables}```")
    return "\n\n".join(parts) + "\n"


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return ", ".join(map(str, default)) or "none"
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
    parts = ["# Hooks", _prose(hooks), "## Behavior", _prose(hooks.Behavior)]
    parts += [_member(hooks.Behavior, name) for name in hooks.HOOKS]
    for port in (hooks.FaultContext, hooks.Connection, hooks.Link, hooks.Exchange):
        parts += [f"# {port.__name__}", _prose(port)]
        parts += [_member(port, name) for name in vars(port) if not name.startswith("_")]
    return "\n\n".join(parts) + "\n"


def _framing() -> str:
    parts = ["# Framing", _prose(framing), _FRAMING]
    for kind in (framing.Protocol, framing.Framer, framing.Reader):
        parts += [f"# {kind.__name__}", _prose(kind)]
        parts += [_called(kind, name) for name in vars(kind) if name in _OF_FRAMING[kind]]
    for kind in (framing.Head, framing.Reply):
        fields = "".join(f"* `{one.name}`: {_field_type(kind, one.name)}\n" for one in msgspec.structs.fields(kind))
        parts.append(f"# {kind.__name__}\n\n`{kind.__name__}{_signature(kind)}`\n\n{_prose(kind)}\n\n{fields}".rstrip())
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


def _test_kit() -> str:
    parts = ["# The test kit", _prose(testing), _TEST_KIT]
    things = sorted(((name, getattr(testing, name)) for name in testing.__all__), key=lambda pair: pair[0].lower())
    for name, thing in [pair for pair in things if inspect.isfunction(pair[1])]:
        parts.append(f"## {name}\n\n`{name}{_signature(thing)}`\n\n{_prose(thing)}")
    parts += ["## The laws of framing", _prose(laws).partition("\n\n")[2]]
    for name, thing in [pair for pair in things if inspect.isclass(pair[1])]:
        parts += [f"## {name}\n\n`{name}{_signature(thing)}`\n\n{_prose(thing)}", *_attributes(thing), *_members(thing)]
    return "\n\n".join(parts) + "\n"


def _attributes(kind: type) -> list[str]:
    """The attributes that ``__init__`` sets and says something about, its own and those of its bases."""
    lines: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        if "__init__" not in vars(owner) or owner is object or not inspect.isfunction(vars(owner)["__init__"]):
            continue
        try:
            [function] = ast.parse(textwrap.dedent(inspect.getsource(vars(owner)["__init__"]))).body
        except OSError:  # of a struct or a data class, which has no source
            continue
        assert isinstance(function, ast.FunctionDef)  # noqa: S101 - it is an __init__
        for statement, following in itertools.pairwise(function.body):
            match statement, following:
                case (
                    ast.AnnAssign(target=ast.Attribute(attr=name)) | ast.Assign(targets=[ast.Attribute(attr=name)]),
                    ast.Expr(value=ast.Constant(value=str(said))),
                ) if not name.startswith("_"):
                    lines[name] = f"* `{name}`: {' '.join(said.split()).replace('``', '`')}"
    return ["*Attributes.*", "\n".join(lines.values())] if lines else []


def _field_type(kind: type, name: str) -> str:
    """The type of a field, as it is written."""
    return (
        f"`{next(hints[name] for owner in kind.__mro__ if name in (hints := vars(owner).get('__annotations__', {})))}`"
    )


def _library() -> str:
    parts = ["# The library", _prose(library), "## Arguments", _prose(settings), _arguments()]
    for kind in (BaseProxy, library.Proxy, library.AsyncProxy, LiveChange):
        parts += [f"# {kind.__name__}", _prose(kind)]
        parts += [_called(kind, name) for name in vars(kind) if not name.startswith("_")]
    parts += ["# In pytest", _prose(pytest_plugin)]
    parts += [
        f"## {name}\n\n*A fixture.* {_prose(getattr(pytest_plugin, name))}" for name in ("vaurien", "vaurien_proxy")
    ]
    parts += [f"# {Proxies.__name__}", _prose(Proxies)]
    parts += [_called(Proxies, name) for name in ("seed", "asynchronous")]
    return "\n\n".join(parts) + "\n"


def _called(kind: type, name: str) -> str:
    """A method or an attribute of *kind*, as its user sees it."""
    member = vars(kind)[name]
    if isinstance(member, property):
        return f"## {name}\n\n*An attribute.* {_prose(member)}"
    signature = re.sub(r"^\(self(, )?", "(", _signature(member))
    awaited = "await " if inspect.iscoroutinefunction(member) else ""
    return f"## {name}\n\n`{awaited}{name}{signature}`\n\n{_prose(member)}"


_IN_A_PROGRAM = {"seed": "Makes chance repeatable; if not given one is drawn, and is the proxy's `seed`"}
"""What is said of an argument that the command line prints."""


def _arguments() -> str:
    groups = (declared.TrafficSection, declared.FaultsSection, declared.Connections, declared.Tls)
    known = {option.name: option for group in groups for option in options.describe(group)}
    rows = [f"| `backend` | needed | {known['backend'].expected} | {known['backend'].help} |"]
    for name in settings.Settings.__annotations__:
        if name in settings.APART:
            rows.append(f"| `{name}` | none | a table | {settings.APART[name]} |")
            continue
        option = known[settings.SPELLINGS.get(name, name)]
        default = _shown(settings.DEFAULTS.get(name, option.default))
        expected = option.expected.replace("a list", "text, or a list")
        rows.append(f"| `{name}` | `{default}` | {expected} | {_IN_A_PROGRAM.get(name, option.help)} |")
    return "\n".join(["| argument | default | value | meaning |", "|---|---|---|---|", *rows])


_TEST_KIT = """Everything here is imported from `vaurien.testing`, and stays as it is within a major version.
How to use it: [Write a behavior](../how-to/write-a-behavior.md#test-it),
[Write a protocol](../how-to/write-a-protocol.md#test-it)."""


def _signature(thing: object) -> str:
    """Names and defaults, without types."""
    signature = inspect.signature(thing)
    plain = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    return str(signature.replace(parameters=plain, return_annotation=inspect.Signature.empty))


def _members(kind: type) -> list[str]:
    """What a reader may call or ask of *kind*."""
    owners = [*(base for base in kind.__mro__[1:] if base.__name__.startswith("_")), kind]
    members = {name: member for owner in owners for name, member in vars(owner).items() if not name.startswith("_")}
    rows = [(name, member) for name, member in members.items() if isinstance(member, property)]
    for name, member in members.items():
        if inspect.isfunction(member):
            rows.append((name + re.sub(r"^\(self(, )?", "(", _signature(member)), member))
    return ["\n".join(f"* `{shown}`: {_summary(member)}" for shown, member in rows)] if rows else []


_HTTP_API = """# The HTTP interface

Everything that can be seen and changed while Vaurien runs, as JSON over HTTP. How to start it, who may ask, and the
interfaces of Mozilla's Vaurien and of Toxiproxy beside it: [Steer a running proxy](../how-to/steer-a-running-proxy.md).
The same as an OpenAPI document is at `/openapi.json`.

An error is `{"error": {"message": "…", "pointer": "/faults/0/options/sleep"}}`: the pointer (RFC 6901), where there is
one, leads to the field of the body that is meant. A request that is refused has changed nothing.

| status | meaning |
|---|---|
| 400 | the body or the query is not as it must be |
| 401, 403 | the token is missing; the request may come from a web page |
| 404, 405 | there is no such path or thing; the path has no such method |
| 408, 413 | the body takes longer than 10 seconds, or is longer than 1 MiB |
| 409 | the name is taken, or the address cannot be had |"""


def _http_api() -> str:
    document = openapi.document(v1.ROUTES)
    parts = [_HTTP_API, "# Operations"]
    for path, item in document["paths"].items():
        parts += [_operation(method, path, operation) for method, operation in item.items()]
    parts.append("# Objects")
    parts += [_object(name, schema) for name, schema in document["components"]["schemas"].items()]
    return "\n\n".join(parts) + "\n"


def _operation(method: str, path: str, operation: dict) -> str:
    parts = [f"## {operation['operationId']}", f"`{method.upper()} {path}`", operation["description"]]
    given = [parameter for parameter in operation["parameters"] if parameter["in"] == "query"]
    if given:
        parts.append("\n".join(f"* `?{one['name']}=`: {one['description']}" for one in given))
    if "requestBody" in operation:
        parts.append(f"Body: {_kind(operation['requestBody']['content']['application/json']['schema'])}.")
    for status, answer in operation["responses"].items():
        if status.startswith("2"):
            content = answer.get("content", {}).get("application/json")
            parts.append(f"Answer: {status}" + (f", {_kind(content['schema'])}." if content else "."))
    return "\n\n".join(parts)


def _object(name: str, schema: dict) -> str:
    parts = [f"## {name}"]
    if "description" in schema:
        parts.append(schema["description"])
    if "enum" in schema:
        parts.append("One of " + ", ".join(f"`{choice}`" for choice in schema["enum"]) + ".")
    if "properties" in schema:
        rows = [_field(field, of, field in schema.get("required", ())) for field, of in schema["properties"].items()]
        parts.append("\n".join(["| field | value | default | meaning |", "|---|---|---|---|", *rows]))
    return "\n\n".join(parts)


def _field(name: str, schema: dict, required: bool) -> str:
    default = "needed" if required else f"`{json.dumps(schema['default'])}`" if "default" in schema else ""
    return f"| `{name}` | {_kind(schema)} | {default} | {schema.get('description', '')} |"


def _kind(schema: dict) -> str:
    """What a value of *schema* is, in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(map(_kind, schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}" if "items" in schema else "list"
    signs = (("minimum", "≥"), ("maximum", "≤"))
    bounds = [f"{sign} {schema[word]}" for word, sign in signs if schema.get(word, options.MOST) != options.MOST]
    return " ".join([schema.get("type", "anything"), *bounds])


def _prose(documented: object) -> str:
    """A docstring as Markdown."""
    text = inspect.getdoc(documented)
    if not text:
        raise SystemExit(f"{documented} has no docstring")
    return re.sub(r"::$", ":", text.replace("``", "`"), flags=re.MULTILINE)


def _summary(documented: object) -> str:
    return _prose(documented).split("\n\n")[0].replace("\n", " ")


def written() -> dict[Path, str]:
    """What else is written from the code: manual pages, and the overloads of `proxy.fault`."""
    return {**man.pages(), overloads.PATH: overloads.text()}


def main() -> None:
    """Write the pages, and remove those of plugins that are gone."""
    wanted = pages()
    for path in set(REFERENCE.rglob("*.md")) - set(wanted):
        if path.read_text(encoding="utf-8").startswith(NOTE):
            path.unlink()
    for path, text in (wanted | written()).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
