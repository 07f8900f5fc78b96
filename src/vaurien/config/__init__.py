"""Configuration: defaults < file (ini or TOML) < environment < command line, and every value knows where it came from.

`declared` names the options of `vaurien` once. `ini` and `toml` read a file into sections, `environment` finds the
variables that are meant for us, `catalogue` says which plugin a section speaks about, `load` puts the sources in order,
and `assemble` converts what they hold and makes a `Configuration` of it. Nothing here knows the command line.
"""

from vaurien.config.assemble import Configuration, EffectiveSetting
from vaurien.config.layers import Given, Key, Layer
from vaurien.config.load import NONE, Sources, collect, load

__all__ = ["NONE", "Configuration", "EffectiveSetting", "Given", "Key", "Layer", "Sources", "collect", "load"]
