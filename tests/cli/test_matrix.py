"""Every option on every surface, and which surface wins."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vaurien import Behavior, Option, Protocol, config, plugins
from vaurien.cli import flags
from vaurien.config import declared
from vaurien.config.layers import flag, variable
from vaurien.framing import Turns
from vaurien.options import Duration, Ratio, Size, describe

SURFACES = ("ini", "toml", "environment", "flag")
PRECEDENCE = [pair for pair in itertools.combinations(SURFACES, 2) if pair != ("ini", "toml")]


class Modern(Behavior, frozen=True):
    """A behavior of today."""

    sleep: Annotated[Duration, Option("Seconds")] = 1.0
    share: Annotated[Ratio, Option("A share")] = 0.0
    max_size: Annotated[Size, Option("Bytes")] = 10
    before: Annotated[bool, Option("True by default")] = True
    after: Annotated[bool, Option("False by default")] = False
    text: Annotated[str, Option("Text")] = ""
    where: Annotated[Literal["head", "body"], Option("A choice")] = "head"
    names: Annotated[tuple[str, ...], Option("A list")] = ()
    limit: Annotated[int | None, Option("May be missing")] = None


class Legacy:
    """A legacy behavior."""

    options = {
        "inject": ("Into the middle", bool, False),
        "warmup": ("Calls before", int, 0),
        "factor": ("A number", float, 1.5),
        "word": ("A choice", str, "a", ("a", "b")),
    }

    def on_before_handle(self, protocol, source, dest, to_backend): ...


class Pause:
    """A handler of the first release."""

    options = {"keep_alive": ("Keep", bool, True), "sleep": ("Seconds", int, 1), "text": ("Text", str, "x")}

    def __call__(self, client_sock, backend_sock, to_backend): ...


class Wire(Protocol, frozen=True):
    """A protocol."""

    overwrite: Annotated[bool, Option("Overwrite")] = False
    buffer: Annotated[Size, Option("Bytes")] = 8124

    def framer(self):
        return Turns()


PLUGINS = {
    ("behavior", "slow_start"): Modern,
    ("behavior", "old"): Legacy,
    ("handler", "pause"): Pause,
    ("protocol", "wire"): Wire,
}
BY_KIND = {
    bool: [("yes", True), ("no", False)],
    int: [("3", 3), ("4", 4)],
    float: [("0.5", 0.5), ("0.25", 0.25)],
    str: [("one", "one"), ("two", "two")],
    list: [("a,b", ("a", "b")), ("c", ("c",))],
}
SPECIAL = {
    "proxy": [(":1", ":1"), ("[::1]:2", "[::1]:2")],
    "backend": [("h:1", "h:1"), ("unix:/x", "unix:/x")],
    "behavior": [("20:dummy", "20:dummy"), ("5:old,10:pause", "5:old,10:pause")],
    "fault": [("noop", ("noop",)), ("noop name=a skip=1", ("noop name=a skip=1",))],
    "preset": [("3g", ("3g",)), ("edge,slow-db", ("edge", "slow-db"))],
    "protocol": [("wire", "wire"), ("tcp", "tcp")],
    "route": [("*.a.test=h:1,b.test=[::1]:2", ("*.a.test=h:1", "b.test=[::1]:2")), ("c.test=h:3", ("c.test=h:3",))],
    "upstream_proxy": [("h:1", "h:1"), ("http://[::1]:2", "http://[::1]:2")],
}
BASE = ["--behavior", "10:slow_start,10:old,10:pause", "--protocol", "wire"]


@pytest.fixture(autouse=True)
def registered(registry):
    for (kind, name), target in PLUGINS.items():
        plugins.register(kind, target, name)


def samples(declaration):
    if declaration.choices:
        return [(str(choice), choice) for choice in declaration.choices[:2]]
    return SPECIAL.get(declaration.name, BY_KIND[declaration.kind])


OWN = [(group.section, option) for group in declared.GROUPS for option in describe(group.struct)]
THEIRS = [
    (f"{kind}:{name}", option)
    for (kind, name), target in PLUGINS.items()
    for option in plugins.Plugin(name, kind, target).declarations
]
CELLS = [pytest.param(*cell, id=f"{cell[0]}-{cell[1].name}") for cell in OWN + THEIRS]


class Surfaces:
    """Puts options onto surfaces, and reads the configuration that comes of it."""

    def __init__(self, folder):
        self.folder = folder
        self.arguments, self.variables = [], {}

    def put(self, surface, section, option, text):
        if surface == "environment":
            self.variables[variable(section, option.name)] = text
        elif surface == "flag" and option.kind is bool:
            spelling = flag(section, option.name)
            self.arguments.append(spelling if text == "yes" else f"--no-{spelling[2:]}")
        elif surface == "flag":
            self.arguments += [flag(section, option.name), text]
        else:
            path = self.folder / f"chaos.{surface}"
            path.write_text(self._ini(section, option, text) if surface == "ini" else self._toml(section, option, text))
            self.arguments += ["--config", str(path)]

    def _ini(self, section, option, text):
        return f"[{section}]\n{option.name} = {text}\n"

    def _toml(self, section, option, text):
        bare = {"yes": "true", "no": "false"}.get(text, text) if option.kind in (bool, int, float) else f'"{text}"'
        if option.kind is list:
            bare = "[" + ", ".join(f'"{part}"' for part in text.split(",")) + "]"
        return f"[{section.replace(':', '.')}]\n{option.name} = {bare}\n"

    def read(self):
        own = flags.parse(self.arguments, flags.own(), others=True)
        found = config.collect(own, self.variables, own.get(("command", "config")))
        typed = [*flags.own(), *flags.of_plugins(found.catalogue, self.arguments)]
        return found.configuration(flags.parse(self.arguments, typed))


def reached(configuration, section, name):
    """The value where the rest of the program looks for it."""
    [proxy] = configuration.proxies
    if section == "statsd":
        return getattr(configuration.statsd, name)
    if section.startswith("protocol:"):
        return proxy.protocol_options.get(name)
    if section != "vaurien":
        shares = {share.behavior: share.options for share in proxy.policy.mix.shares}
        return shares[section.partition(":")[2]].get(name)
    if name in ("fault", "preset"):
        return next(s.value for s in configuration.settings if (s.section, s.name) == (section, name))
    texts = {"proxy": str(proxy.listen), "backend": str(proxy.backend), "behavior": str(proxy.policy.mix)}
    if name in texts:
        return texts[name]
    places = [proxy, configuration.connections, configuration.process, configuration.http]
    return next(getattr(place, name) for place in places if hasattr(place, name))


def in_the_model(section, value):
    """*value* as the model has it: the options of plugins have lists, from wherever they come."""
    return list(value) if ":" in section and isinstance(value, tuple) else value


def source_of(configuration, section, name):
    return next(s.source for s in configuration.settings if (s.section, s.name) == (section, name))


def base(section):
    return list(BASE) if ":" in section else []


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize(("section", "option"), CELLS)
def test_every_option_arrives_from_every_surface(tmp_path, surface, section, option):
    for text, value in samples(option):
        surfaces = Surfaces(tmp_path)
        surfaces.arguments = base(section)
        surfaces.put(surface, section, option, text)
        configuration = surfaces.read()
        assert reached(configuration, section, option.name) == in_the_model(section, value)
        told = source_of(configuration, section, option.name)
        spelling = flag(section, option.name)
        expected = {"environment": f"environment {variable(section, option.name)}"}.get(surface, "")
        if surface == "flag":
            assert told in (spelling, f"--no-{spelling[2:]}")
        else:
            assert expected in told
            assert surface == "environment" or told.endswith(f"[{section}] {option.name}")


@pytest.mark.parametrize(("weak", "strong"), PRECEDENCE)
@pytest.mark.parametrize(("section", "option"), CELLS)
def test_the_stronger_surface_wins(tmp_path, weak, strong, section, option):
    for (lost, _), (won, value) in itertools.permutations(samples(option), 2):
        surfaces = Surfaces(tmp_path)
        surfaces.arguments = base(section)
        surfaces.put(weak, section, option, lost)
        surfaces.put(strong, section, option, won)
        assert reached(surfaces.read(), section, option.name) == in_the_model(section, value)


@given(
    cell=st.sampled_from(THEIRS),
    texts=st.dictionaries(st.sampled_from(["ini", "environment", "flag"]), st.booleans(), min_size=1),
    alias=st.booleans(),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_of_any_sources_the_strongest_wins(tmp_path, cell, texts, alias):
    section, option = cell
    spelled = section.replace("behavior:", "handler:") if alias else section
    surfaces = Surfaces(tmp_path)
    surfaces.arguments = list(BASE)
    for surface, first in texts.items():
        surfaces.put(surface, spelled, option, samples(option)[not first][0])
    strongest = next(surface for surface in ("flag", "environment", "ini") if surface in texts)
    value = samples(option)[not texts[strongest]][1]
    assert reached(surfaces.read(), section, option.name) == in_the_model(section, value)
