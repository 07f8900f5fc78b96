"""The file of ``vaurien serve -config``: JSON as Toxiproxy has it, or TOML as ``vaurien --config`` has it."""

from __future__ import annotations

import os
from pathlib import Path

from vaurien import config
from vaurien.cli import check
from vaurien.config import Configuration, Given, declared
from vaurien.config.assemble import DEFAULT
from vaurien.control.toxiproxy import app as toxiproxy
from vaurien.control.toxiproxy import go_json
from vaurien.errors import BindError, ConfigError
from vaurien.model import ProxyConfig

_FLAG = "-config"


class ProxiesFile:
    """The file at *path*. Its JSON is read by *reader*; *seed* is that of the proxies of its TOML."""

    def __init__(self, path: str, reader: toxiproxy.GoReader, seed: str) -> None:
        self.path, self._reader, self._seed = path, reader, seed
        self.is_toml = path.lower().endswith(".toml")

    def read(self) -> tuple[list[ProxyConfig], BindError | None]:
        """Its proxies; of JSON up to the first whose address is none, and what that is.

        Raises `OSError` for a file that cannot be read, one of `toxiproxy.ERRORS` for JSON, what is wrong with TOML.
        """
        if not self.is_toml:
            return self._reader.configs(go_json.decode(Path(self.path).read_bytes()))
        given = {("vaurien", "seed"): Given(self._seed, "-seed")}
        configuration = config.load(given, os.environ, Given(self.path, _FLAG))
        self._check(configuration)
        return list(configuration.proxies), None

    def _check(self, configuration: Configuration) -> None:
        """Refuse settings that have no effect in this program. Raises `ConfigError`."""
        several = any(setting.section.startswith("proxy ") for setting in configuration.settings)
        if not several and configuration.source("vaurien", "backend") == DEFAULT:
            raise ConfigError(f"file {self.path!r} (from {_FLAG}) has no proxy; expected [[proxy]] tables")
        if configuration.schedule.steps:
            source = configuration.schedule.steps[0].source
            raise ConfigError(f"{source}: a schedule is played by `vaurien --config FILE --http`; expected no [[step]]")
        for setting in configuration.settings:
            ours = setting.source == DEFAULT or setting.source.startswith("environment ")
            if (setting.section, setting.name) in _OF_PROGRAM and not ours:
                wanted = f"a flag of this program, or `vaurien --config {self.path} --http`"
                raise ConfigError(f"{setting.source}: it has no effect here; expected {wanted}")
        check.policies(configuration)


_OF_PROGRAM = declared.of_program()
"""Options of a whole program, which is another one here: a file that has them would do less than it says."""
