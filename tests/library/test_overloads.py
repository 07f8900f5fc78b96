"""`proxy.fault` has an overload for each built-in behavior, with all its options."""

from __future__ import annotations

import ast
import inspect
import traceback

import pytest

import vaurien
from vaurien import plugins
from vaurien.errors import Conflict, UnknownName, VaurienError
from vaurien.library import overloads


def test_each_behavior_has_an_overload_with_its_options():
    [port] = [one for one in ast.parse(inspect.getsource(overloads)).body if getattr(one, "name", "") == "AddFault"]
    found = {}
    for method in port.body[1:]:
        annotation = ast.unparse(method.args.posonlyargs[1].annotation)
        found[annotation] = {argument.arg for argument in method.args.kwonlyargs}
    built_in = list(plugins.names("behavior"))
    assert list(found) == [*(f"Literal['{name}']" for name in built_in), "str"]
    for name in built_in:
        declared = {option.name for option in plugins.find(name, "behavior").declarations}
        assert found[f"Literal['{name}']"] == declared


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda proxy: proxy.fault("latnecy"), UnknownName),
        (lambda proxy: proxy.fault("latency", latnecy=1), UnknownName),
        (lambda proxy: proxy.fault("latency", latency=-1), VaurienError),
        (lambda proxy: (proxy.fault("noop"), proxy.fault("noop")), Conflict),
        (lambda proxy: proxy.mix("20:dely"), UnknownName),
        (lambda proxy: proxy.hits("nope"), UnknownName),
    ],
)
def test_an_error_ends_at_the_line_of_the_caller(call, kind):
    with vaurien.Proxy(backend="127.0.0.1:9") as proxy, pytest.raises(kind) as raised:
        call(proxy)
    frames = traceback.extract_tb(raised.value.__traceback__)
    ours = [frame for frame in frames if "/vaurien/" in frame.filename and frame.name != "call"]
    assert ours == []
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


def test_faults_and_hits_without_a_name():
    with vaurien.Proxy(backend="127.0.0.1:9", faults=["noop"]) as proxy:
        with proxy.fault("latency", latency=1):
            assert [fault.name for fault in proxy.faults()] == ["noop", "latency"]
        assert [fault.name for fault in proxy.faults()] == ["noop"]
        assert proxy.hits() == {"noop": 0, "latency": 0}


def test_the_marker_with_known_arguments():
    from vaurien.pytest_plugin import proxy

    marker = proxy(backend="127.0.0.1:9", faults=["noop"]).mark
    assert (marker.name, marker.args) == ("vaurien", ())
    assert marker.kwargs == {"backend": "127.0.0.1:9", "faults": ["noop"]}
