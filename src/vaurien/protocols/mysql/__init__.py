"""MySQL and MariaDB: the classic client/server protocol."""

from __future__ import annotations

from vaurien.protocols.mysql.framer import MysqlFramer
from vaurien.protocols.mysql.protocol import Mysql

__all__ = ["Mysql", "MysqlFramer"]
