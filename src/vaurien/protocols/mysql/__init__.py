"""MySQL and MariaDB: the classic client/server protocol.

`MySql` is the class that legacy plugins derive from and import from here.
"""

from __future__ import annotations

from vaurien.legacy.protocols import MySql
from vaurien.protocols.mysql.framer import MysqlFramer
from vaurien.protocols.mysql.protocol import Mysql

__all__ = ["MySql", "Mysql", "MysqlFramer"]
