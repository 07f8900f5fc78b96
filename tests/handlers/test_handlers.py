from __future__ import annotations

import pytest

from vaurien import plugins
from vaurien.errors import PluginError, UnknownName
from vaurien.handlers import Handler, get_handler, get_handlers


class Forward:
    name = "forward"

    def __call__(self, client_sock, backend_sock, to_backend):
        return True


def test_register_works_as_a_call_and_as_a_decorator():
    assert Handler.register(Forward) is Forward
    assert get_handler("forward") is Forward
    assert get_handlers() == {"forward": Forward}


def test_a_class_without_a_name_is_known_by_its_own():
    class LoudHandler:
        def __call__(self, client_sock, backend_sock, to_backend):
            return True

    Handler.register(LoudHandler)
    assert get_handler("loud_handler") is LoudHandler


def test_no_handler_is_built_in():
    assert get_handlers() == {}
    with pytest.raises(UnknownName, match=r"^unknown handler 'forward'; none is known; a class that"):
        get_handler("forward")


def test_what_cannot_be_called_is_refused():
    class Silent:
        name = "silent"

    with pytest.raises(
        PluginError, match=r"Silent cannot be registered as a handler: it must be a class with __call__"
    ):
        Handler.register(Silent)


def test_a_registered_handler_is_not_hidden_by_a_built_in_behavior():
    class Mine(Forward):
        name = "dummy"

    assert plugins.find("dummy", "behavior", "handler").kind == "behavior"
    Handler.register(Mine)
    assert plugins.find("dummy", "behavior", "handler").target is Mine
