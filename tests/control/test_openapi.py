"""What the OpenAPI document promises, schemathesis asks for, and much that it does not promise."""

from __future__ import annotations

import copy

import pytest
from hypothesis import HealthCheck, given, settings

from tests.control.interface import interface
from tests.hubs import COUNTS
from vaurien import plugins
from vaurien.control import openapi, v1

schemathesis = pytest.importorskip("schemathesis")
checks = pytest.importorskip("schemathesis.specs.openapi.checks")

ENDLESS = {"/api/v1/events", "/api/v1/live", "/api/v1/proxies/{proxy}/exchanges"}
POSITIVE, NEGATIVE = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
CASES = [
    pytest.param(route, mode, id=f"{route.name}-{mode.name.lower()}")
    for route in v1.ROUTES
    for mode in (POSITIVE, NEGATIVE)
    if route.path not in ENDLESS and (mode is POSITIVE or route.body is not None)  # what else could be sent wrongly
]


IN_WORDS = frozenset({"set_config", "read_config_text", "create_proxy", "change_proxy", "set_mix", "add_fault"})
"""Operations whose bodies name addresses, mixes, plugins and their options, or are TOML, of which the document says
no more than that they are text and objects: what there is to name depends on what is installed, a mix has a grammar."""


@pytest.fixture(scope="module", params=COUNTS)
def served(request):
    with interface(workers=request.param) as served:
        served.hub.tls_files.allow(["/*"])
        yield served


@pytest.fixture(scope="module")
def schema(served):
    return schemathesis.openapi.from_url(f"http://127.0.0.1:{served.address.port}{openapi.PATH}")


@pytest.mark.slow
@pytest.mark.parametrize(("route", "mode"), CASES)
def test_the_interface_keeps_its_promises(served, schema, route, mode):
    """What fits is accepted, where it can name nothing that there is not."""
    excluded = [checks.positive_data_acceptance] if route.name in IN_WORDS else []
    check(served, schema[route.path][route.method], mode, excluded)


def check(served, operation, mode, excluded):
    """Ask for *operation*, and check all but what is *excluded*."""
    served.clear()
    served.proxy("p", faults=[{"name": "f", "behavior": "delay"}])

    @given(case=operation.as_strategy(generation_mode=mode))
    @QUICKLY
    def ask(case):
        case.call_and_validate(base_url=f"http://127.0.0.1:{served.address.port}", excluded_checks=excluded)

    ask()


QUICKLY = settings(max_examples=20, deadline=None, database=None, suppress_health_check=list(HealthCheck))

WORDS = {
    "listen": ["127.0.0.1:0", "localhost:0"],
    "backend": ["localhost:9", "[::1]:9", "unix:/run/nobody"],
    "protocol": ["tcp", "http", "redis"],
    "protocol_options": [{}, {"keep_alive": False}],
    "behavior": ["latency", "noop", "coalesce"],
    "options": [{}],
    "match": [{}, {"client": "10.0.0.0/8"}],
    "mix": ["", "20:delay,10:error", [{"percent": 50, "behavior": "delay"}]],
    "route": [[], ["*.example.test=10.0.0.1:443"]],
    "upstream_proxy": [None],
    "expect_hits": ["1..", "0", "2..5"],
    "tls": [[]],
    "toml": ["", '[[proxy]]\nname = "p"\nbackend = "localhost:9"\nfault = ["noop"]'],
}
"""What the document cannot say, said: only a forward proxy has an upstream proxy, TLS takes files there are, and a
range ends behind its beginning."""


@pytest.fixture(scope="module")
def worded(served):
    """The document, with words that there are in place of any text."""
    document = copy.deepcopy(served.get(openapi.PATH))
    for component in document["components"]["schemas"].values():
        for name, values in WORDS.items():
            if name in component.get("properties", {}):
                component["properties"][name] = {"enum": values}
        faults = component.get("properties", {}).get("faults", {})
        for form in (faults, *faults.get("anyOf", ())):
            if "items" in form:
                form["maxItems"] = 1  # two may have the same name
    document["components"]["schemas"]["Config"]["properties"]["proxies"]["maxItems"] = 1
    return schemathesis.openapi.from_dict(document)


@pytest.mark.slow
@pytest.mark.parametrize("route", [route for route in v1.ROUTES if route.name in IN_WORDS], ids=lambda one: one.name)
def test_everything_that_fits_is_accepted(served, worded, route):
    answers_differ = checks.response_schema_conformance  # a port is shown as a number, and a mix as its shares
    check(served, worded[route.path][route.method], POSITIVE, [answers_differ])


def of_options(options):
    """What fits *options*, a JSON Schema."""
    content = {"application/json": {"schema": options}}
    operation = {"requestBody": {"required": True, "content": content}, "responses": {"200": {"description": ""}}}
    document = {"openapi": "3.1.0", "info": {"title": "", "version": ""}, "paths": {"/": {"post": operation}}}
    return schemathesis.openapi.from_dict(document)["/"]["POST"].as_strategy(generation_mode=POSITIVE)


OF_THE_PROTOCOL = ("/options/code", "/options/status", "/options/message")
"""Options whose values depend on the protocol."""


@pytest.mark.slow
@pytest.mark.parametrize("name", [*plugins.names("behavior"), *plugins.names("handler")])
def test_options_that_fit_their_schema_are_accepted(served, name):
    """But for rules between options, or with the protocol, which no schema says; those are of no option alone."""
    served.clear()
    served.proxy("p", protocol="http")

    @given(of_options(served.get(f"/api/v1/behaviors/{name}")["options"]))
    @settings(QUICKLY, max_examples=10)
    def ask(case):
        body = {"name": "f", "behavior": name, "options": case.body}
        answer = served.ask("POST", "/api/v1/proxies/p/faults", body)
        pointer = "" if answer.status == 201 else answer.json["error"].get("pointer", "")
        assert pointer in ("", "/behavior", "/options", *OF_THE_PROTOCOL), (case.body, answer)
        assert answer.status in (201, 400)
        served.ask("DELETE", "/api/v1/proxies/p/faults/f")

    ask()


@pytest.mark.slow
@pytest.mark.parametrize("name", plugins.names("protocol"))
def test_options_of_protocols_that_fit_are_accepted(served, name):
    served.clear()
    served.proxy("p", enabled=False)

    @given(of_options(served.get(f"/api/v1/protocols/{name}")["options"]))
    @QUICKLY
    def ask(case):
        answer = served.ask("PATCH", "/api/v1/proxies/p", {"protocol": name, "protocol_options": case.body})
        assert answer.status == 200, (case.body, answer)

    ask()


def test_every_route_is_in_the_document(served):
    document = served.get(openapi.PATH)
    listed = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert listed == {(route.method, route.path) for route in v1.ROUTES}


def test_operations_have_names_of_their_own():
    names = [route.name for route in v1.ROUTES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("route", v1.ROUTES, ids=lambda route: route.name)
def test_every_route_says_what_it_does(route):
    assert route.description.split("\n")[0].endswith(".") or "\n" in route.description


def test_descriptions_are_the_same_on_every_python():
    """Python 3.13 takes the indentation from docstrings; earlier ones leave it."""
    schemas = openapi.document(v1.ROUTES)["components"]["schemas"].values()
    lines = [line for schema in schemas for line in schema.get("description", "").splitlines()]
    assert [line for line in lines if line.startswith("  ")] == []


def test_every_integer_of_a_request_has_a_maximum():
    """A number that does not fit into 64 bits is read as a float, which is no integer."""
    shapes = openapi.document(v1.ROUTES)["components"]["schemas"]
    missing, seen = [], set()

    def walk(part, where):
        if isinstance(part, list):
            for one in part:
                walk(one, where)
        elif isinstance(part, dict):
            if part.get("type") == "integer" and "maximum" not in part:
                missing.append(where)
            if (name := part.get("$ref", "").rpartition("/")[2]) and name not in seen:
                seen.add(name)
                walk(shapes[name], name)
            for key, one in part.items():
                walk(one, f"{where}.{key}")

    for route in v1.ROUTES:
        if route.body is not None:
            walk(shapes[route.body.__name__], route.body.__name__)
    assert missing == []
