"""Options that several protocols have, with the names and defaults of Mozilla's Vaurien."""

from __future__ import annotations

from typing import Annotated

from vaurien.legacy.configurable import BUFFER
from vaurien.model import Fault
from vaurien.options import Option, Size

__all__ = ["BUFFER", "HEADER_FAULTS", "Buffer", "HeaderFaults", "KeepAlive", "ReuseSocket"]

KeepAlive = Annotated[bool, Option("Keep the connection after the first exchange")]
ReuseSocket = Annotated[bool, Option("Give the backend's socket to the next client when this one is done")]
HeaderFaults = Annotated[bool, Option("Let requests ask for faults by headers: the fault header_faults")]
Buffer = Annotated[Size, Option("Accepted for old configurations; has no effect")]

HEADER_FAULTS = (Fault("header_faults", "header_faults"),)
"""The fault that the option sets."""
