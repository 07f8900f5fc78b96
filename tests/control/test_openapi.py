"""What the OpenAPI document promises, schemathesis asks for, and much that it does not promise."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from tests.control.interface import interface
from tests.hubs import COUNTS
from vaurien.control import openapi, v1

schemathesis = pytest.importorskip("schemathesis")
checks = pytest.importorskip("schemathesis.specs.openapi.checks")

ENDLESS = "/api/v1/events"
POSITIVE, NEGATIVE = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
CASES = [
    pytest.param(route, mode, id=f"{route.name}-{mode.name.lower()}")
    for route in v1.ROUTES
    for mode in (POSITIVE, NEGATIVE)
    if route.path != ENDLESS and (mode is POSITIVE or route.body is not None)  # what else could be sent wrongly
]


@pytest.fixture(scope="module", params=COUNTS)
def served(request):
    with interface(workers=request.param) as served:
        yield served


@pytest.fixture(scope="module")
def schema(served):
    return schemathesis.openapi.from_url(f"http://127.0.0.1:{served.address.port}{openapi.PATH}")


@pytest.mark.slow
@pytest.mark.parametrize(("route", "mode"), CASES)
def test_the_interface_keeps_its_promises(served, schema, route, mode):
    """A body that has the right form may still name what there is not, so not everything that fits is accepted."""
    operation = schema[route.path][route.method]
    served.clear()
    served.proxy("p", faults=[{"name": "f", "behavior": "delay"}])

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=20, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def ask(case):
        case.call_and_validate(excluded_checks=[checks.positive_data_acceptance])

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
