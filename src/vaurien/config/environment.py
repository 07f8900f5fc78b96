"""The variables of the environment that are meant for us."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vaurien.config import declared
from vaurien.config.catalogue import Catalogue
from vaurien.config.layers import Given, Key, Layer, variable
from vaurien.errors import nearest
from vaurien.platform import SWITCH

_SECTIONS = ("vaurien", "statsd")

OWN: Mapping[str, Key] = {
    variable(section, option): (section, option) for section in _SECTIONS for option in declared.known(section)
}
"""The variables of the options of ``vaurien`` itself."""

CONFIG = "VAURIEN_CONFIG"
"""Names the file; all other variables are more important than what it holds."""


def own(environment: Mapping[str, str]) -> Layer:
    """The options of ``vaurien`` itself that *environment* sets."""
    return {OWN[name]: _given(name, environment) for name in OWN if name in environment}


def plugins(environment: Mapping[str, str], catalogue: Catalogue) -> tuple[Layer, list[str]]:
    """The plugin options that *environment* sets, and a warning for each variable that looks misspelled.

    An unknown variable is not an error: Kubernetes sets some of its own for a service called ``vaurien``.
    """
    layer: dict[Key, Given] = {}
    warnings = []
    for name in sorted(environment):
        if not name.startswith("VAURIEN_") or name in OWN or name in (CONFIG, SWITCH):
            continue
        candidates = dict(_candidates(name, catalogue))
        if name in candidates:
            layer[candidates[name]] = _given(name, environment)
        elif near := nearest(name, [*candidates, *OWN, CONFIG], likeness=0.85):
            warnings.append(f"environment {name} is not known and has no effect; did you mean {near}?")
    return layer, warnings


def _candidates(name: str, catalogue: Catalogue) -> Iterator[tuple[str, Key]]:
    """The variables of the plugins that *name* may be about; other plugins are not imported."""
    for section in catalogue.sections():
        if name.startswith(variable(section, "")):
            for option in catalogue.find(section).declarations:
                yield variable(section, option), (section, option)


def _given(name: str, environment: Mapping[str, str]) -> Given:
    return Given(environment[name], f"environment {name}")
