"""The sources in order: defaults < those of a command < file < environment < command line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

import msgspec

from vaurien.config import declared, early_spellings, environment, files, mesh, proxies
from vaurien.config.assemble import Configuration, assemble, mix
from vaurien.config.catalogue import Catalogue, Entry
from vaurien.config.layers import Given, Key, Layer, Section, Tables, is_plugin
from vaurien.errors import ConfigError, OptionError, UnknownName

NONE: Layer = MappingProxyType({})


def load(arguments: Layer, variables: Mapping[str, str], config: Given | None = None) -> Configuration:
    """The configuration that the command line's *arguments*, the environment's *variables* and a file add up to.

    *config* names the file; without it ``VAURIEN_CONFIG`` may. Raises a `VaurienError` for the first thing that is
    wrong: the error names it, its value, where it came from and what would be right.
    """
    return collect(arguments, variables, config).configuration(arguments)


def collect(
    arguments: Layer, variables: Mapping[str, str], config: Given | None = None, defaults: Layer = NONE
) -> Sources:
    """Look at the sources, to know which plugins there are before flags for their options can be read.

    Of *arguments* only ``behavior`` and ``protocol`` matter here. *defaults* are those of a command, which come before
    those of the options. Raises `VaurienError`, as `load` does.
    """
    if config is None and variables.get(environment.CONFIG):
        config = Given(variables[environment.CONFIG], f"environment {environment.CONFIG}")
    tables, spellings = early_spellings.of_tables(
        files.read(str(config.value), variables, config.source) if config else {}
    )
    proxy_tables = proxies.take(tables)
    cluster, edges = mesh.take(tables, arguments)
    proxy_tables += edges
    own = (defaults, dict(_own(tables)), *(one.layer for one in proxy_tables), environment.own(variables), arguments)
    return Sources(tables, proxy_tables, variables, _catalogue(tables, own), spellings, cluster, defaults)


def _catalogue(tables: Tables, own: Iterable[Layer]) -> Catalogue:
    catalogue = Catalogue()
    for name, section in tables.items():
        if is_plugin(name) and (path := section.values.pop("callable", None)):
            catalogue.add_callable(name, str(path.value), path.source)
    for name, source in sorted(_behaviors(own), key=lambda used: "." in used[0]):  # what has a name before what has not
        try:
            catalogue.use("behavior", name, source)
        except UnknownName as error:
            raise _without_callable(tables, name) or error from None
    for layer in own:
        if given := layer.get(("vaurien", "protocol")):
            catalogue.use("protocol", str(given.value), given.source)
    catalogue.close()
    return catalogue


def _without_callable(tables: Tables, name: str) -> ConfigError | None:
    """The error that says so, if the file has a section for what the mix calls *name*, and that lacks its class."""
    for section in (f"behavior:{name}", f"handler:{name}"):
        if section in tables:
            wanted = f"callable = MODULE.CLASS, because no installed behavior or handler is called {name!r}"
            return ConfigError(f"{tables[section].source}: [{section}] has no callable; expected {wanted}")
    return None


def _behaviors(layers: Iterable[Layer]) -> Iterator[tuple[str, str]]:
    for layer in layers:
        if given := layer.get(("vaurien", "behavior")):
            for share in mix(given.value, given.source).shares:
                yield share.behavior, given.source


def _own(tables: Tables) -> Iterator[tuple[Key, Given]]:
    """The options of ``vaurien`` itself that the file sets. Raises `UnknownName` for a key that is none."""
    for name in ("statsd", "vaurien"):
        for key, given in tables.get(name, Section("", {})).values.items():
            yield _own_key(name, key, given.source), given


def _own_key(section: str, key: str, source: str) -> Key:
    option = key.replace("-", "_").replace(".", "_")
    if section == "vaurien" and option.startswith("statsd_"):
        section, option = "statsd", option.removeprefix("statsd_")
    if option not in declared.known(section):
        raise UnknownName(f"key of [{section}]", key, declared.known(section), source)
    return section, option


class Sources:
    """What the sources hold, and in *catalogue* the plugins they speak about."""

    def __init__(
        self,
        tables: Tables,
        proxy_tables: list[proxies.ProxyTable],
        variables: Mapping[str, str],
        catalogue: Catalogue,
        warnings: Iterable[str] = (),
        cluster: mesh.Mesh | None = None,
        defaults: Layer = NONE,
    ) -> None:
        self.catalogue, self._mesh, self._defaults = catalogue, cluster, defaults
        self._warnings = tuple(warnings)
        self._schedule = tables.pop("schedule", None)
        self._environment = tables.pop("environment", Section("", {})).values
        for name, given in self._environment.items():
            if not isinstance(given.value, str | int | float):
                raise OptionError(f"environment {name}", given.value, "text, a number, true or false", given.source)
        self._tables, self._proxy_tables, self._variables = tables, proxy_tables, variables

    def configuration(self, arguments: Layer) -> Configuration:
        """Everything together, with all of the command line's *arguments*. Raises `VaurienError`."""
        warnings = list(self._warnings)
        from_file = {**self._defaults, **dict(_own(self._tables)), **dict(self._plugins(warnings))}
        own = environment.own(self._variables)
        where = "the file has [[proxy]] tables; expected it in one of them"
        if self._mesh is not None:
            where = "the proxies are the edges of the mesh; expected it to be left out"
        proxies.refuse_of_one(self._proxy_tables, where, own, arguments)
        variables, misspelled = environment.plugins(self._variables, self.catalogue)
        above = (own, variables, arguments)
        proxy_tables = [
            msgspec.structs.replace(one, layer=self._merged(from_file, one.layer, *above)) for one in self._proxy_tables
        ]
        merged = self._merged(from_file, *above)
        made = assemble(self.catalogue, merged, (*warnings, *misspelled), proxy_tables, self._schedule, self._mesh)
        return msgspec.structs.replace(made, environment=self._environment)

    def _merged(self, *layers: Layer) -> Layer:
        """What *layers* give together; the last one has the last word."""
        merged: dict[Key, Given] = {}
        for layer in layers:
            merged.update({self._canonical(key): given for key, given in layer.items()})
        return merged

    def _plugins(self, warnings: list[str]) -> Iterator[tuple[Key, Given]]:
        """The options of plugins that the file sets. Raises `UnknownName` for a section or a key that is none."""
        for name, section in self._tables.items():
            if name in ("vaurien", "statsd"):
                continue
            entry = self.catalogue.find(name, section.source)
            for key, given in section.values.items():
                yield (name, _option(name, entry, key, given.source, warnings)), given

    def _canonical(self, key: Key) -> Key:
        section, option = key
        return (self.catalogue.find(section).section, option) if is_plugin(section) else key


def _option(section: str, entry: Entry, key: str, source: str, warnings: list[str]) -> str:
    """The option of *entry* that *key* means. A handler brought by its path may be given others, with a warning."""
    for option in (key, key.replace("-", "_")):
        if option in entry.declarations:
            return option
    unknown = UnknownName(f"key of [{section}]", key, entry.declarations, source)
    if not entry.free:
        raise unknown
    warnings.append(f"{unknown}; passed on in the handler's settings as it is")
    return key
