"""The path that legacy plugins import handlers from; the code is in `vaurien.legacy`."""

from vaurien.legacy.handler import BaseHandler
from vaurien.legacy.handlers import Handler, get_handler, get_handlers

__all__ = ["BaseHandler", "Handler", "get_handler", "get_handlers"]
