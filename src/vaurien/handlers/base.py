"""The path that legacy plugins import `BaseHandler` from; the code is in `vaurien.legacy`."""

from vaurien.legacy.handler import BaseHandler

__all__ = ["BaseHandler"]
