"""Certificates, and what can be read of TLS without a key.

```
  authority       a certificate authority: in a folder (`vaurien ca`), or in memory for a test session
      │ issue(names, flaw)
      ▼
  leaf            a key and a chain for one server name, right or with one flaw; contexts are cached by name
  client_hello    server name, ALPN and versions of a ClientHello, from its bytes
  records         alerts and records as bytes, for faults that need no key
```

The keys are made by `cryptography` (the extra ``tls``), which is imported when the first one is needed; what reads or
writes records needs the standard library alone. Sockets and connections are the engine's.
"""

from __future__ import annotations

import importlib.util

from vaurien.errors import VaurienError


def require() -> None:
    """Raise `VaurienError` where the extra ``tls`` is not installed: before `authority` is imported."""
    if importlib.util.find_spec("cryptography") is None:
        raise VaurienError("certificates need the package cryptography; expected: pip install 'vaurien[tls]'")
