"""The plugin for pytest, there where Vaurien is installed: fixtures, the marker ``vaurien``, ``--vaurien-seed`` and
``--vaurien-dashboard``, a page that shows the proxies while tests run.

The seed of a run is drawn, and shown at its beginning; with ``--vaurien-seed`` it is given. When a test fails, its
report says which faults hit, and the line that repeats it. With xdist all workers have the same seed.

Every run of pytest loads this, so it imports nothing of Vaurien before a test asks for a fixture.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, Unpack

import pytest

if TYPE_CHECKING:
    from vaurien.library import Proxy
    from vaurien.library.page import Page
    from vaurien.library.session_authority import SessionAuthority
    from vaurien.library.settings import MarkerSettings
    from vaurien.library.suite import Proxies

_MARKER = (
    "vaurien(backend, faults=(), mix='', protocol='tcp', …): the proxy that the fixture vaurien_proxy is; see Proxy"
)
_SEED, _DASHBOARD, _DASHBOARD_PORT = "vaurien_seed", "vaurien_dashboard", "vaurien_dashboard_port"

_seed = pytest.StashKey[str]()
_proxies = pytest.StashKey["Proxies"]()
_used_marker = pytest.StashKey[bool]()
_page: pytest.StashKey[Page] = pytest.StashKey()
_page_address = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--vaurien-seed``, ``--vaurien-dashboard`` and ``--vaurien-dashboard-port``."""
    group = parser.getgroup("vaurien", "faults on connections")
    group.addoption(
        "--vaurien-seed",
        dest=_SEED,
        metavar="SEED",
        help="Repeat the draws of an earlier run; without it a seed is drawn.",
    )
    group.addoption(
        "--vaurien-dashboard",
        dest=_DASHBOARD,
        action="store_true",
        help="Show the proxies of the tests in a page while they run; its address is in the header.",
    )
    group.addoption(
        "--vaurien-dashboard-port",
        dest=_DASHBOARD_PORT,
        metavar="PORT",
        type=int,
        default=0,
        help="The port of that page on 127.0.0.1; without it a free one.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Have a seed: the given one, the controller's if this is a worker of xdist, or one that is drawn."""
    given = getattr(config, "workerinput", {}).get(_SEED) or config.getoption(_SEED)
    config.stash[_seed] = given or str(int.from_bytes(os.urandom(4), "big"))
    config.addinivalue_line("markers", _MARKER)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give a worker of xdist the seed of all."""
    if node.config.getoption(_DASHBOARD):
        raise pytest.UsageError("--vaurien-dashboard: xdist runs the tests in other processes; expected -n 0 beside it")
    node.workerinput[_SEED] = node.config.stash[_seed]


def pytest_sessionstart(session: pytest.Session) -> None:
    """Open the page that shows the proxies, if it is wanted."""
    config = session.config
    if not config.getoption(_DASHBOARD) or hasattr(config, "workerinput") or config.option.collectonly:
        return
    from vaurien.errors import VaurienError
    from vaurien.library.page import Page
    from vaurien.model import Address

    port = config.getoption(_DASHBOARD_PORT)
    if not 0 <= port <= 65535:
        raise pytest.UsageError(f"--vaurien-dashboard-port: {port} is not valid; expected a port from 0 to 65535")
    page = Page(Address("127.0.0.1", port), config.stash[_seed])
    try:
        config.stash[_page_address] = page.open()
    except VaurienError as error:
        raise pytest.UsageError(f"--vaurien-dashboard: {error}") from None
    config.stash[_page] = page


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Close the page."""
    page = session.config.stash.get(_page, None)
    if page is not None:
        page.close()


def pytest_report_header(config: pytest.Config) -> list[str]:
    """The seed, which repeats the whole run, and the address of the page."""
    address = config.stash.get(_page_address, None)
    shown = [f"vaurien: dashboard at {address}"] if address else []
    return [f"vaurien: --vaurien-seed={config.stash[_seed]}", *shown]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that has passed without the hits that its faults, or its marker, expect; or without its proxy."""
    result = yield
    own = any(marker.name == "vaurien" for marker in item.own_markers)
    if own and not item.stash.get(_used_marker, False):
        wrong = "the test does not use the proxy that it describes; expected the argument vaurien_proxy"
        raise pytest.fail.Exception(f"{item.nodeid}: @pytest.mark.vaurien: {wrong}", pytrace=False)
    proxies = item.stash.get(_proxies, None)
    if proxies is not None and (missed := proxies.missed()):
        raise pytest.fail.Exception(missed, pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell of a test that failed which faults hit, and how to repeat it."""
    report = yield
    proxies = item.stash.get(_proxies, None)
    if report.failed and proxies is not None and (told := proxies.report()):
        from vaurien.library.suite import repeating

        config = item.config
        command = repeating(_node(item), config.rootpath, config.invocation_params.dir, config.stash[_seed])
        report.sections.append(("vaurien", f"{told}\nrepeat it with: {command}"))
    return report


def _node(item: pytest.Item) -> str:
    """The test's id, without the group that xdist appends: the same with and without xdist."""
    marker = item.get_closest_marker("xdist_group")
    groups = [str(group) for group in (*marker.args, *marker.kwargs.values())] if marker else []
    return item.nodeid.removesuffix(f"@{groups[0]}") if groups else item.nodeid


def proxy(**settings: Unpack[MarkerSettings]) -> pytest.MarkDecorator:
    """The marker ``vaurien``, with arguments that editors know: ``@proxy(backend=":6379", faults=["hang"])``."""
    return pytest.mark.vaurien(**settings)


@pytest.fixture
def vaurien(request: pytest.FixtureRequest) -> Iterator[Proxies]:
    """Make a proxy: ``vaurien(backend="127.0.0.1:6379", protocol="redis")``, as ``vaurien.Proxy``, but started.

    All are closed at the end of the test. Their draws depend on ``--vaurien-seed`` and on the test, not on its place
    among the others.
    """
    from vaurien.library.suite import Proxies

    item = request.node
    proxies = item.stash[_proxies] = Proxies(f"{item.config.stash[_seed]} {_node(item)}")
    try:
        yield proxies
    finally:
        proxies.close()


@pytest.fixture(scope="session")
def vaurien_ca() -> SessionAuthority:
    """The certificate authority of this session, in memory: what proxies with ``tls="auto"`` sign by.

    Its `file` is what clients have to trust, and `ssl_context()` does; `server_context("localhost")` is for a backend
    of the test's own.
    """
    from vaurien.library.session_authority import session_authority

    return session_authority()


@pytest.fixture
def vaurien_proxy(request: pytest.FixtureRequest, vaurien: Proxies) -> Proxy:
    """The proxy that ``@pytest.mark.vaurien(backend=…, faults=[…])`` describes, started.

    The marker takes the arguments of ``vaurien.Proxy``, and *expect_hits*: ``{"error": "1.."}``, or a text for all
    faults; a test that passes with other hits than these fails, and so does one with a marker of its own that does not
    use this fixture. On a class or a module it is for all tests in it; what a test's own marker says comes before.
    *backend* is an address, or the name of a fixture that is one, or a callable that returns one.
    """
    from vaurien.errors import VaurienError
    from vaurien.library.settings import check_keywords

    request.node.stash[_used_marker] = True
    settings = _settings(request)
    try:
        check_keywords(settings.keys() - {"expect_hits"})
        if "backend" not in settings:
            raise VaurienError("it has no backend, which vaurien_proxy needs; expected @pytest.mark.vaurien(backend=…)")
        expected = settings.pop("expect_hits", {})
        made = vaurien(_backend(request, settings.pop("backend")), **settings)
        for name in made.hits() if isinstance(expected, str) else expected:
            made.require_hits(name, expected if isinstance(expected, str) else expected[name])
        return made
    except VaurienError as error:
        raise _misuse(request, str(error)) from None


def _misuse(request: pytest.FixtureRequest, wrong: str) -> BaseException:
    """What ends the test with one line: what is *wrong* with its marker."""
    return pytest.fail.Exception(f"{request.node.nodeid}: @pytest.mark.vaurien: {wrong}", pytrace=False)


def _settings(request: pytest.FixtureRequest) -> Any:
    settings: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("vaurien"))):  # the closest one last
        if marker.args:
            raise _misuse(request, f"{marker.args[0]!r} has no name; expected keywords, such as backend=…")
        settings |= marker.kwargs
    return settings


def _backend(request: pytest.FixtureRequest, backend: Any) -> Any:
    """The address that *backend* stands for; a name without a colon is that of a fixture."""
    if not isinstance(backend, str) or ":" in backend:
        return backend() if callable(backend) else backend
    try:
        return request.getfixturevalue(backend)
    except pytest.FixtureLookupError as error:
        if error.argname != backend:  # it is a fixture, and lacks another one
            raise
        wrong = f"backend={backend!r} is neither an address (host:port) nor the name of a fixture"
        raise _misuse(request, wrong) from None
