"""The HTTP interface of ``vaurien``, as its options describe it."""

from __future__ import annotations

import os

from vaurien import plugins
from vaurien.config import Configuration
from vaurien.console import to_user
from vaurien.control import security
from vaurien.control.app import app
from vaurien.control.events import RecentEvents
from vaurien.control.history import History
from vaurien.control.kept import KeepBeforeAnswer, Settled
from vaurien.control.routes import ScheduleControl
from vaurien.control.server import Server
from vaurien.errors import BindError
from vaurien.events import Event
from vaurien.model import Address
from vaurien.observers.hits import HitCounter
from vaurien.observers.lag import LoopLag
from vaurien.observers.prometheus import ProxyFigures, page
from vaurien.proxies.hub import Hub


class HttpInterface:
    """The interface, ready to start; an answer waits for *settled*.

    Raises `OptionError` for an address or a token that cannot be used.
    """

    def __init__(self, configuration: Configuration, settled: Settled | None = None) -> None:
        self._configuration, self._settled = configuration, settled
        plugins.allow(configuration.http.allow_plugin)
        self._listen = _listen(configuration)
        self._token = _token(configuration)
        self._server: Server | None = None
        self._recent = RecentEvents()
        self.history = History()
        """Observes the proxies by itself: it wants details, but only while a page is open."""
        self.hits = HitCounter()
        """The hits of each fault, for the hub that it steers."""
        self.address = self._listen
        """Where it serves; the port is the real one once it has started."""
        self._lag: LoopLag | None = None
        self._figures: ProxyFigures | None = None

    def __call__(self, event: Event) -> None:
        """Observe the proxies."""
        self._recent(event)
        self.hits(event)
        if self._figures is not None:
            self._figures(event)

    async def start(self, hub: Hub, schedule: ScheduleControl | None = None) -> str:
        """Steer *hub*, and the program's *schedule*, from now on. Returns what to tell the user. Raises `BindError`."""
        options = self._configuration
        hub.tls_files.allow(options.http.allow_tls_file)
        self._lag = LoopLag()
        own = self._lag
        self._figures = ProxyFigures(hub.proxies, lambda: max(own.take(), hub.lag()))
        served = app(
            hub,
            self._recent,
            self._listen,
            options=options.plugins,
            names=options.http.http_names,
            token=self._token,
            metrics=page(self._figures, runtime=True),
            seed=options.proxies[0].seed,
            mesh=options.mesh,
            history=self.history,
            settings=options.settings,
            schedule=schedule,
            dashboard=options.http.dashboard,
        )
        if self._settled is not None:
            served = KeepBeforeAnswer(served, self._settled)
        self._server = Server(served, self._listen, complain=to_user)
        try:
            address = self.address = await self._server.start()
        except BindError as error:
            self._server = None
            name = "api" if options.http.api else "http_port"
            source = options.source("vaurien", name)
            raise BindError(f"option {name} (from {source}): {error}; expected an address that is free") from None
        hub.reserve(self._server.names)
        if security.exposed(self._listen, self._token):
            to_user(security.warning(address, f"--token-file, {security.BEARER_VARIABLE} in the environment"))
        return f"HTTP interface at {address if address.path else f'http://{address}'}"

    async def stop(self) -> None:
        """Stop; requests in progress have a moment."""
        self._recent.close()
        if self._server is not None:
            await self._server.stop()
        if self._lag is not None:
            self._lag.close()


def _listen(configuration: Configuration) -> Address:
    http = configuration.http
    if http.api:
        return Address.parse(http.api, option="option api", source=configuration.source("vaurien", "api"))
    return Address(http.http_host, http.http_port)


def _token(configuration: Configuration) -> str | None:
    path = configuration.http.token_file
    if path is None:
        return security.token_of(os.environ)
    return security.read_token(path, source=configuration.source("vaurien", "token_file"))
