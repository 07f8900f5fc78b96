"""``vaurien serve`` and ``toxiproxy-server``: no proxies at first, and an HTTP interface to make them.

The second is the first by the name, the flags and the manners of Toxiproxy's program, for scripts and images that call
it: it offers Toxiproxy's interface only, and where it listens on other addresses than this machine's own it can be
called by any name, as in a container.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from vaurien import __version__, plugins
from vaurien.cli import hubs
from vaurien.cli.runner import on_signals
from vaurien.cli.serve import precedence
from vaurien.cli.serve.go_flags import FlagError, GoFlag, HelpWanted, Value, parse, usage
from vaurien.cli.serve.proxies_file import ProxiesFile
from vaurien.cli.serve.reloading import at_hangup
from vaurien.cli.serve.report import Report, TextReport
from vaurien.cli.serve.state import StateFile
from vaurien.cli.serve.toxiproxy_log import AccessLog, ToxiproxyLog
from vaurien.config import declared
from vaurien.config.assemble import EffectiveSetting
from vaurien.config.layers import variable
from vaurien.console import to_user
from vaurien.control import security
from vaurien.control.app import Dashboard, app
from vaurien.control.asgi import ASGIApp
from vaurien.control.events import RecentEvents
from vaurien.control.history import History
from vaurien.control.kept import KeepBeforeAnswer
from vaurien.control.server import Server
from vaurien.control.toxiproxy import VERSION
from vaurien.control.toxiproxy import app as toxiproxy
from vaurien.engine.loop import event_loop as loop
from vaurien.errors import BindError, ConfigError, PartlyDone, Unavailable, VaurienError
from vaurien.events import Observer
from vaurien.model import Address, DialFailure, ProxyConfig
from vaurien.observers.hits import HitCounter
from vaurien.observers.lag import LoopLag
from vaurien.observers.log import Log
from vaurien.observers.prometheus import ProxyFigures, page
from vaurien.options import describe

if TYPE_CHECKING:
    from vaurien.cli.serve.fleet import Membership

TOXIPROXY = "toxiproxy-server"
OURS = "vaurien serve"

FLAGS: Mapping[str, GoFlag] = {
    "host": GoFlag("Host for the HTTP interface to listen on", "localhost"),
    "port": GoFlag("Port for the HTTP interface to listen on", "8474"),
    "config": GoFlag("JSON or TOML file with proxies to create on startup; read again at SIGHUP", ""),
    "seed": GoFlag("Makes chance repeatable; if not given one is drawn, and printed", 0),
    "runtime-metrics": GoFlag("Offer /metrics with figures of the process; its go_ lines are stand-ins", False),
    "proxy-metrics": GoFlag("Offer /metrics with figures of the proxies", False),
    "workers": GoFlag("Processes that have the connections, or auto: one for each core", "1"),
    "allow-plugin": GoFlag(
        "Import paths of plugins that callers may use, such as pkg.faults.*, separated by commas", ""
    ),
    "allow-tls-file": GoFlag("Files that callers may name for TLS, such as /certs/*.pem, separated by commas", ""),
    "strict-toxiproxy": GoFlag("End clients whose upstream is not reached with FIN, as Toxiproxy does", False),
    "version": GoFlag("Print the version and exit", False),
}
OUR_FLAGS: Mapping[str, GoFlag] = {
    **FLAGS,
    "strict": GoFlag("Refuse what Toxiproxy passes over in silence: unknown names, impossible upstreams", False),
    "state": GoFlag("File to keep the proxies in, so that they survive a restart", ""),
    "dashboard": GoFlag("The page for people at / of the interface: on, read-only or off", "on"),
    "state-wins": GoFlag("Where -state and -config contradict each other, take the proxies of the state", False),
    "config-wins": GoFlag("Where they contradict each other, take the proxies of the configuration file", False),
    "http-names": GoFlag("Further names by which the interface may be called, separated by commas", ""),
    "log-format": GoFlag("How the lines of the log, and all others on standard error, are written: text or json", ""),
    "token-file": GoFlag("A file with the token that requests must bear (Authorization: Bearer TOKEN)", ""),
    "fleet": GoFlag("Join the fleet whose store is this NATS: nats://host:port[,host:port][/BUCKET][?replicas=3]", ""),
    "node": GoFlag("The name of this node in its fleet; if not given, that of the host", ""),
    "label": GoFlag("A label of this node, such as role=payments; may be given several times", ()),
    "fleet-required": GoFlag("End when the store of the fleet cannot be reached at start", False),
    "fleet-scope": GoFlag("Requests that do not say scope=node are for the fleet", False),
    "fleet-credentials": GoFlag("A file of credentials for NATS", ""),
    "fleet-nkey": GoFlag("A file with the seed of an NKey for NATS", ""),
    "fleet-ca": GoFlag("A file of certificates by which NATS is believed", ""),
    "require-ttl": GoFlag("Refuse faults of the fleet without a time to live", False),
}

_OF_FLEET = ("node", "label", *(name for name in OUR_FLAGS if name.startswith("fleet-")), "require-ttl")

# Toxiproxy's levels (zerolog's) in the words of our log; what is none of them means info, as there.
_LEVELS = {"trace": "debug", "debug": "debug", "warn": "warning", "error": "error", "fatal": "critical"}
_LEVELS |= {"panic": "critical", "disabled": "critical"}

OK, FAILED, BAD_INPUT = 0, 1, 2

_EXAMPLES = (
    "vaurien serve",
    "vaurien serve -port 8474 -config proxies.toml",
    "vaurien serve -host 0.0.0.0 -token-file token -dashboard read-only -workers auto",
    "vaurien serve -fleet nats://localhost:4222 -node web-1 -label role=payments",
)


def toxiproxy_server() -> int:
    """The program ``toxiproxy-server``."""
    return run(sys.argv[1:], TOXIPROXY)


def main(arguments: Sequence[str], _variables: Mapping[str, str]) -> int:
    """Run ``vaurien serve`` with *arguments*, those behind ``serve``; returns the exit status."""
    return run(arguments)


def run(arguments: Sequence[str], program: str = OURS) -> int:
    """Run *program* with *arguments* until a signal ends it; returns its exit status."""
    flags = FLAGS if program == TOXIPROXY else OUR_FLAGS
    try:
        values, positional = parse(arguments, flags)
        if positional and program == OURS:
            raise VaurienError(f"unexpected argument {positional[0]!r}; flags begin with a dash")
    except HelpWanted:
        print(usage(program, flags, _EXAMPLES if program == OURS else ()))
        return OK
    except VaurienError as error:
        if program == OURS:
            advice = error.advice if isinstance(error, FlagError) else ""
            to_user(f"{error}{advice or f'; {program} -help lists the flags'}", "ERROR", name=program)
        else:  # as a program in Go does
            print(error, usage(program, flags), sep="\n", file=sys.stderr)
        return BAD_INPUT
    if values["version"]:
        print(f"{TOXIPROXY} version {VERSION}" if program == TOXIPROXY else f"vaurien {__version__}")
        return OK
    try:
        _serve(Daemon(program, values))
    except VaurienError as error:
        to_user(str(error), "ERROR", name=program)
        return BAD_INPUT if program == OURS and not isinstance(error, (BindError, Unavailable)) else FAILED
    return OK


def _serve(daemon: Daemon) -> None:
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=loop.new) as runner:
        runner.run(daemon.run())


class Daemon:
    """One run of *program* with the flags' *values*. Raises `VaurienError` for an address or a token that is none."""

    def __init__(self, program: str, values: Mapping[str, Value]) -> None:
        self._program, self._values = program, values
        self._listen = Address.parse(
            f"{_bracketed(str(values['host']))}:{values['port']}", option="host and port", source="-host and -port"
        )
        self._seed = str(values["seed"] or secrets.randbits(32))
        for name in () if values.get("fleet") else _OF_FLEET:
            if values.get(name):
                raise ConfigError(f"-{name} is about a fleet; expected -fleet beside it")
        if values.get("fleet"):
            from vaurien.cli.serve.fleet import node_name

            self._seed += f"@{node_name(values)}"  # other nodes have other draws
        self._strict = bool(values.get("strict"))
        self._dashboard = _dashboard(str(values.get("dashboard", "off")))
        self._token = _token(str(values.get("token-file", "")))
        plugins.allow(_allowed(values, "allow-plugin"))
        level = os.environ.get("LOG_LEVEL", "")
        self._log: Log | ToxiproxyLog
        self._report: Report
        if program == TOXIPROXY:
            self._log = self._report = ToxiproxyLog(level, VERSION, self._ends)
            self._log.starting()
        else:
            to_user.json = (log_format := _log_format(str(values["log-format"]))) == "json"
            self._log, self._report = Log(_LEVELS.get(level.lower(), "info"), log_format), TextReport(program)
        self._membership: Membership | None = None
        self._recent, self._history = RecentEvents(), History()
        state_path = str(values.get("state", ""))
        winner = precedence.winner(
            state_path, state=bool(values.get("state-wins")), config=bool(values.get("config-wins"))
        )
        self._state = StateFile(state_path, winner) if state_path else None
        self._hits = HitCounter()
        self._observers: list[Observer] = [self._log, self._recent, self._hits, self._history]
        self._workers = _workers(str(values["workers"]))
        self._dial_failure: DialFailure = "close" if values["strict-toxiproxy"] else "reset"
        reader = toxiproxy.GoReader(self._seed, strict=self._strict, dial_failure=self._dial_failure)
        self._file = ProxiesFile(str(values["config"]), reader, self._seed) if values["config"] else None

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Raises `BindError`, and `ConfigError` for a state that cannot be read."""
        stop = asyncio.Event()
        on_signals(stop)
        with contextlib.ExitStack() as closing:
            closing.callback(self._log.close)
            lag = LoopLag()
            closing.callback(lag.close)
            async with hubs.open_hub(self._workers, self._observers, source="-workers", hits=self._hits) as self._hub:
                self._hub.tls_files.allow(_allowed(self._values, "allow-tls-file"))
                if self._values.get("fleet"):
                    from vaurien.cli.serve.fleet import Membership

                    self._membership = Membership(self._values, self._hub, self._seed)
                    self._observers.append(self._membership.node)
                served = self._app(lag)
                if self._state is not None:
                    served = KeepBeforeAnswer(served, self._state.settled)
                await self._serve(Server(served, self._listen, complain=self._report.warn), stop)

    async def _serve(self, server: Server, stop: asyncio.Event) -> None:
        try:
            if self._state is not None:
                await self._restore(self._state)
            else:
                await self._populate()
            if self._membership is not None:
                await self._membership.start(self._report)
            self._greet(await server.start())
            self._hub.reserve(server.names)
            with self._reloading():
                await stop.wait()
            self._report.stopping()
        finally:
            self._recent.close()
            await server.stop()
            if self._membership is not None:
                await self._membership.stop()
            if self._state is not None:
                await self._state.close()
            await self._hub.stop()

    def _greet(self, address: Address) -> None:
        self._report.serving(address, self._seed)
        if security.exposed(self._listen, self._token):
            in_environment = f"{security.BEARER_VARIABLE} in the environment"
            remedy = f"-token-file, {in_environment}" if self._program == OURS else in_environment
            self._report.warn(security.warning(address, remedy))

    def _app(self, lag: LoopLag) -> ASGIApp:
        metrics = self._metrics(lag)
        if self._program == OURS:
            return app(
                self._hub,
                self._recent,
                self._listen,
                names=_listed(str(self._values["http-names"])),
                token=self._token,
                metrics=metrics,
                seed=self._seed,
                strict=self._strict,
                dial_failure=self._dial_failure,
                history=self._history,
                settings=self._settings(),
                dashboard=self._dashboard,
                fleet=self._membership.door if self._membership is not None else None,
            )
        own = toxiproxy.router(self._hub, seed=self._seed, dial_failure=self._dial_failure, metrics=metrics)
        names = None if security.exposed(self._listen, None) else ()  # a container has names that it does not know
        guarded = security.Guard(own, self._listen, names=names, token=self._token, refused=toxiproxy.refused)
        return AccessLog(guarded, self._log) if isinstance(self._log, ToxiproxyLog) else guarded

    def _settings(self) -> list[EffectiveSetting]:
        """The flags, for people who look at the interface. The login of a store is for this program alone."""
        shown = dict(self._values)
        if shown["fleet"]:
            from vaurien.fleet.store import without_login

            shown["fleet"] = without_login(str(shown["fleet"]))
        return [
            EffectiveSetting("serve", name, value, "command line" if value != OUR_FLAGS[name].default else "default")
            for name, value in shown.items()
            if name != "version"
        ]

    def _metrics(self, lag: LoopLag) -> toxiproxy.Metrics | None:
        of_proxies, of_runtime = bool(self._values["proxy-metrics"]), bool(self._values["runtime-metrics"])
        if not (of_proxies or of_runtime):
            return None
        hub = self._hub
        figures = ProxyFigures(hub.proxies, lambda: max(lag.take(), hub.lag())) if of_proxies else None
        if figures is not None:
            self._observers.append(figures)
        return page(figures, runtime=of_runtime)

    async def _restore(self, state: StateFile) -> None:
        """Have the proxies of *state*, or those of the configuration file. Raises what is wrong with either."""
        configs = None if self._file is None else self._read(self._file)
        self._report.warn(await state.restore(self._hub, configs or (), self._configured(configs)))

    def _configured(self, configs: Sequence[ProxyConfig] | None) -> list[ProxyConfig] | None:
        """*configs* as they were asked for: a seed that was drawn was not."""
        if configs is None or self._values["seed"]:
            return None if configs is None else list(configs)
        return [precedence.without_seed(one) for one in configs]

    async def _populate(self) -> None:
        """Create the proxies of the configuration file; like Toxiproxy, go on without those that cannot be had.

        Raises what is wrong with a file that is none of Toxiproxy's.
        """
        if self._file is None:
            return
        path = self._file.path
        try:
            configs, failure = self._file.read()
            done = await self._hub.upsert_all(configs)
        except OSError as error:
            if self._program == OURS:
                raise _unreadable(self._file, error) from None
            self._report.unreadable(path, str(error.strerror))
        except PartlyDone as partly:
            self._report.not_populated(path, str(partly.error))
        except toxiproxy.ERRORS as error:
            if self._file.is_toml:
                raise
            self._report.not_populated(path, str(toxiproxy.described_error(error)))
        else:
            if failure is not None:
                self._report.not_populated(path, str(failure))
            self._report.populated(len(done), path)

    async def _reload(self, file: ProxiesFile) -> int:
        """Have exactly the proxies of *file*. Raises `VaurienError`; what is wrong with the file changes nothing."""
        configs = self._read(file)
        await self._hub.replace(configs)
        if self._state is not None:
            self._state.configured_anew(self._configured(configs))
        return len(self._hub.proxies)

    def _read(self, file: ProxiesFile) -> Sequence[ProxyConfig]:
        """The proxies of *file*. Raises `VaurienError`."""
        try:
            configs, failure = file.read()
        except OSError as error:
            raise _unreadable(file, error) from None
        except toxiproxy.ERRORS as error:
            if isinstance(error, VaurienError):
                raise
            raise ConfigError(f"file {file.path!r}: {toxiproxy.described_error(error)}") from None
        if failure is not None:
            raise failure
        return configs

    def _reloading(self) -> contextlib.AbstractContextManager[None]:
        """Without a file SIGHUP does what it does by itself: it ends the program."""
        file = self._file
        if file is None:
            return contextlib.nullcontext()
        return at_hangup(self._report, lambda: self._reload(file))

    def _ends(self, name: str) -> tuple[str, str] | None:
        """Where the proxy *name* listens, and what it dials."""
        proxy = self._hub.proxies.get(name)
        return None if proxy is None else (str(proxy.address), str(proxy.backend))


def _unreadable(file: ProxiesFile, error: OSError) -> ConfigError:
    return ConfigError(f"cannot read the configuration file {file.path!r} (from -config): {error.strerror}")


def _workers(text: str) -> int:
    """How many workers *text* asks for. Raises `OptionError`."""
    [declaration] = [option for option in describe(declared.Process) if option.name == "workers"]
    count: int = declaration.convert(text, source="-workers")
    return count


def _dashboard(text: str) -> Dashboard:
    """What *text* stands for. Raises `OptionError`."""
    [declaration] = [option for option in describe(declared.HttpSection) if option.name == "dashboard"]
    mode: Dashboard = declaration.convert(text, source="-dashboard")
    return mode


def _log_format(given: str) -> Literal["text", "json"]:
    """The format that was *given*, or that of the environment. Raises `OptionError`."""
    [declaration] = [option for option in describe(declared.Process) if option.name == "log_format"]
    name = variable("vaurien", "log_format")
    text, source = (given, "-log-format") if given else (os.environ.get(name) or "text", name)
    found: Literal["text", "json"] = declaration.convert(text, source=source)
    return found


def _token(path: str) -> str | None:
    """The token that requests must bear: that of the file *path*, or of the environment. Raises `VaurienError`."""
    return security.read_token(path, source="-token-file") if path else security.token_of(os.environ)


def _allowed(values: Mapping[str, object], flag: str) -> list[str]:
    """What *flag*, or the variable of the same name, permits to callers."""
    return _listed(str(values[flag] or os.environ.get(variable("vaurien", flag.replace("-", "_")), "")))


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
