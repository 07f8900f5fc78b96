"""Certificates, and what can be read of TLS without a key.

```
  authority       a certificate authority: in a folder (`vaurien ca`), or in memory for a test session
      │ issue(names, flaw)
      ▼
  certificates    a key and a chain, from an authority or from files, and the names that they are for
  client_hello    server name, ALPN and versions of a ClientHello, from its bytes
```

The keys are made by `cryptography` (the extra ``tls``), which is imported when the first one is needed; what reads
records needs the standard library alone. Sockets and connections are the engine's.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path

from vaurien.errors import VaurienError, missing_package

MISSING = missing_package("TLS", "cryptography", "tls")
"""The text of the error where the extra is not installed."""


def installed() -> bool:
    """Whether the extra ``tls`` is."""
    return importlib.util.find_spec("cryptography") is not None


def require() -> None:
    """Raise `VaurienError` where the extra ``tls`` is not installed: before `authority` is imported."""
    if not installed():
        raise VaurienError(MISSING)


def default_folder(variables: Mapping[str, str]) -> Path:
    """Where the authority is if nothing else is said (the XDG base directory specification)."""
    home = variables.get("XDG_DATA_HOME") or os.path.join(
        variables.get("HOME") or os.path.expanduser("~"), ".local/share"
    )
    return Path(home) / "vaurien"
