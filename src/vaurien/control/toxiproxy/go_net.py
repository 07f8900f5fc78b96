"""Addresses to listen on as Go's ``net`` reads them, and what it says about those that cannot be had."""

from __future__ import annotations

from vaurien.errors import BindError, OptionError
from vaurien.model import Address

_WILDCARDS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - to Go all of them mean every interface, of both families


def listen_address(text: str, *, enabled: bool = True) -> Address:
    """The address that *text* stands for; empty text is any port of every interface.

    Until it is *enabled* a proxy shows its address as it was given, and that is how it is kept. Raises `BindError` with
    Go's reason for text that is no address.
    """
    if not text:
        return Address()
    try:
        address = Address.parse(text)
    except OptionError:
        raise BindError(f"listen tcp: {_complaint(text)}", step="parse") from None
    return every_interface(address) if enabled else address


def every_interface(address: Address) -> Address:
    """*address*, with no host if it stands for every interface."""
    return Address("", address.port) if address.path is None and address.host in _WILDCARDS else address


def listen_error(error: BindError) -> str:
    """*error* in Go's words."""
    address = error.address
    if error.step == "parse" or address is None:
        return str(error)
    if error.step == "lookup":
        return f"listen tcp: lookup {address.host}: no such host"
    shown = Address("127.0.0.1", address.port) if address.host == "localhost" else address
    return f"listen tcp {shown}: bind: {error.reason[:1].lower()}{error.reason[1:]}"


def resolve_error(error: BindError) -> BindError:
    """*error* as it is about a proxy that exists: its new address is resolved first, and that listens to nothing."""
    if error.step == "bind":
        return error
    return BindError(listen_error(error).removeprefix("listen tcp: "), step="parse")


def _complaint(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        return f"address {text}: missing port in address"
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        return f"address {text}: too many colons in address"
    if port.isascii() and port.isdigit():
        return f"address {port}: invalid port"
    return f"lookup tcp/{port}: unknown port"
