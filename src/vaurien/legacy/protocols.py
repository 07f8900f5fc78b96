"""The built-in protocols of Mozilla's Vaurien, for plugins to subclass and to call by super().

They know no messages: as `TCP`, they move a chunk per call, or with ``keep_alive`` off a request and all up to the
backend's end. A proxy without a legacy plugin as its protocol uses those in `vaurien.protocols`.
"""

from __future__ import annotations

import re

from vaurien.legacy.protocol import TCP

_HOST = re.compile(rb"(\A[A-Z]+ [^\r\n]* HTTP/1\.[01]\r\n(?:[^\r\n]+\r\n)*?Host:)[^\r\n]*", re.IGNORECASE)


class Http(TCP):
    """HTTP, with the name of the backend in place of the proxy's where a chunk begins with a request's head."""

    name = "http"
    options = {
        **TCP.options,
        "overwrite_host_header": ("If True, the HTTP Host header will be rewritten with backend address", bool, True),
    }

    def _rewrite(self, data: bytes) -> bytes:
        if self.proxy is None or not self.option("overwrite_host_header"):
            return data
        return _HOST.sub(lambda head: head[1] + b" " + self.proxy.backend.encode(), data, count=1)


class Redis(TCP):
    """Redis."""

    name = "redis"


class Memcache(TCP):
    """Memcached."""

    name = "memcache"


class SMTP(TCP):
    """SMTP."""

    name = "smtp"


class MySql(TCP):
    """MySQL."""

    name = "mysql"
