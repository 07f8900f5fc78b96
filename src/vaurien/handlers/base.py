"""The original's import path of `BaseHandler`; the code is in `vaurien.legacy`."""

from vaurien.legacy.handler import BaseHandler

__all__ = ["BaseHandler"]
