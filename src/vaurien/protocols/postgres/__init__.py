"""PostgreSQL, and what speaks its protocol."""

from __future__ import annotations

from vaurien.protocols.postgres.framer import PostgresFramer
from vaurien.protocols.postgres.protocol import Postgres

__all__ = ["Postgres", "PostgresFramer"]
