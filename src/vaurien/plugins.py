"""From a name to a class: built-in and external behaviors, protocols and handlers.

A name is looked up, in this order, among what was registered (`register`), among the files of the package's own folder
(the file's name is the plugin's name), among installed entry points (``vaurien.behaviors``, ``vaurien.protocols``,
``vaurien.handlers``), and, when it has a dot, as an import path. Built-ins come through the same door as other plugins.

An import path runs code, so the source of a name matters. `find` is for names that the user of this machine gave: on
the command line, in a file, in a variable, or in a program. `find_for_caller` is for names that arrived over HTTP: it
accepts what `find` has resolved before, what is registered, built in or installed, and what `allow` permits.
"""

from __future__ import annotations

import contextlib
import contextvars
import fnmatch
import functools
import importlib
import inspect
import os
import pkgutil
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from vaurien import framing, hooks, options
from vaurien.errors import PluginError, UnknownName

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Kind: TypeAlias = Literal["behavior", "protocol", "handler"]

_FOLDERS: Mapping[Kind, str] = {
    "behavior": "vaurien.behaviors",
    "protocol": "vaurien.protocols",
    "handler": "vaurien.handlers",
}
_BASES: Mapping[Kind, type] = {"behavior": hooks.Behavior, "protocol": framing.Protocol}
_LEGACY_HOOKS: Mapping[Kind, tuple[str, ...]] = {
    "behavior": ("on_before_handle", "on_between_handle", "on_after_handle"),
    "protocol": ("_handle",),
}
_registered: dict[Kind, dict[str, Any]] = {"behavior": {}, "protocol": {}, "handler": {}}
_given_paths: set[str] = set()
"""Import paths that the user of this machine gave, and that lead to a plugin."""
_allowed: list[str] = []
"""Patterns of import paths that callers of the HTTP interface may use besides."""


class Plugin(msgspec.Struct, frozen=True, eq=False):
    """A class, or a handler that is none, and what it is used as. *built_in*: it is this package's own."""

    name: str
    kind: Kind
    target: Any
    built_in: bool = False

    @property
    def legacy(self) -> bool:
        """Whether it was written for Mozilla's Vaurien, or as if, and is called with blocking sockets in a thread.

        That is every handler, and a behavior or protocol that is no subclass of `Behavior` or `Protocol`.
        """
        return self.kind == "handler" or not issubclass(self.target, _BASES[self.kind])

    @property
    def declarations(self) -> tuple[options.Declaration, ...]:
        """The options it declares."""
        if self.legacy:
            return options.declared(getattr(self.target, "options", None) or {})
        return options.describe(self.target)


def register(kind: Kind, target: Any, name: str | None = None) -> Any:
    """Make *target* known under *name* (else its ``name`` attribute, else its class name in lower case).

    Returns *target*, so it works as a decorator. Raises `PluginError` for something that cannot be used as *kind*.
    """
    if not _usable(kind, target):
        raise PluginError(f"{_describe(target)} cannot be registered as a {kind}: {_NEEDS[kind]}")
    _registered[kind][name or own_name(target)] = target
    return target


def find(name: str, *kinds: Kind, source: str | None = None) -> Plugin:
    """The plugin called *name* in the first of *kinds* that has it; a dotted *name* is imported.

    What was registered comes before what is built in, of whatever kind: a handler ``dummy`` of one's own is not hidden
    by the behavior of that name.

    Raises `UnknownName` with the nearest known name, or `PluginError` for an import path that does not lead to a class
    of these kinds, with the import's own error.
    """
    if _for_callers.get():
        _refuse_unknown_path(name, *kinds)
    for kind in sorted(kinds, key=lambda kind: name not in _registered[kind]):
        target = _lookup(kind, name)
        if target is not None:
            built_in = name not in _registered[kind] and name in _built_in(kind)
            _must_be_usable(kind, target, name)
            return Plugin(name, kind, target, built_in)
    if "." not in name:
        existing = {one for kind in kinds for one in names(kind)}
        raise UnknownName(" or ".join(kinds), name, existing, source, _NOT_IMPORTED)
    return _import_plugin(name, kinds, source)


def find_for_caller(name: str, *kinds: Kind) -> Plugin:
    """The plugin that a caller of the HTTP interface means by *name*; no caller chooses what is imported.

    A dotted *name* must be one that `find` or `adopt` has resolved for the user of this machine, or one that a pattern
    of `allow` matches. Raises `PluginError` for any other, and imports nothing then.
    """
    _refuse_unknown_path(name, *kinds)
    return find(name, *kinds)


_for_callers: contextvars.ContextVar[bool] = contextvars.ContextVar("for_callers", default=False)


@contextlib.contextmanager
def for_callers() -> Iterator[None]:
    """Have `find` refuse inside what `find_for_caller` refuses: the names there are those of callers."""
    token = _for_callers.set(True)
    try:
        yield
    finally:
        _for_callers.reset(token)


def _refuse_unknown_path(name: str, *kinds: Kind) -> None:
    known = "." not in name or name in _given_paths or any(name in _registered[kind] for kind in kinds)
    if not known and not any(fnmatch.fnmatchcase(name, pattern) for pattern in _allowed):
        raise PluginError(
            f"{name!r} cannot be used as a {' or '.join(kinds)}: callers of the HTTP interface may use import paths "
            f"that the program was started with; start it with --allow-plugin {name!r} to permit this one"
        )


def allow(patterns: Collection[str]) -> None:
    """Let callers of the HTTP interface use import paths that match one of *patterns*, such as ``pkg.faults.*``.

    ``*`` stands for any characters, dots included (`fnmatch`). Earlier patterns no longer hold.
    """
    _allowed[:] = patterns


def adopt(path: str, alias: str, *kinds: Kind, source: str | None = None) -> Plugin:
    """Import *path* and make it known as *alias*: ``[handler:ALIAS] callable = PATH`` in a file."""
    plugin = _import_plugin(path, kinds, source)
    register(plugin.kind, plugin.target, alias)
    return msgspec.structs.replace(plugin, name=alias)


def known(name: str, *kinds: Kind) -> bool:
    """Whether one of *kinds* has a plugin called *name*; import paths do not count, and nothing is imported."""
    return any(name in _registered[kind] or name in _built_in(kind) for kind in kinds) or any(
        name in _entry_points(kind) for kind in kinds
    )


def names(kind: Kind) -> list[str]:
    """Every name that `find` knows for *kind*, sorted; import paths are not among them."""
    return sorted({*_registered[kind], *_built_in(kind), *_entry_points(kind)})


def registered() -> list[tuple[Kind, str, Any]]:
    """What was registered, as kind, name and target, in order."""
    return [(kind, name, target) for kind, known in _registered.items() for name, target in known.items()]


def external(kind: Kind) -> list[str]:
    """The names that were registered or installed, sorted; those of the built-in plugins are not among them."""
    return sorted({*_registered[kind], *_entry_points(kind)})


def _lookup(kind: Kind, name: str) -> Any:
    if name in _registered[kind]:
        return _registered[kind][name]
    if name in _built_in(kind):
        module = importlib.import_module(f"{_FOLDERS[kind]}.{name}")
        return _defined_in(module, kind)
    point = _entry_points(kind).get(name)
    return _load(point, kind) if point is not None else None


@functools.cache  # reads a folder that does not change while a program runs
def _built_in(kind: Kind) -> frozenset[str]:
    package = importlib.import_module(_FOLDERS[kind])
    found = {module.name for module in pkgutil.iter_modules(package.__path__)}
    return frozenset(name for name in found if not name.startswith("_") and name != "base")


def _defined_in(module: Any, kind: Kind) -> Any:
    """The one public class of *kind* that *module* defines; a package may define it in a module of its own."""
    for name, target in vars(module).items():
        own = inspect.isclass(target) and f"{target.__module__}.".startswith(f"{module.__name__}.")
        if own and not name.startswith("_") and _usable(kind, target):
            return target
    return None


def _entry_points(kind: Kind) -> Mapping[str, EntryPoint]:
    return {point.name: point for point in _installed() if point.group == _FOLDERS[kind]}


@functools.cache  # reads the metadata of everything installed, which does not change while a program runs
def _installed() -> tuple[EntryPoint, ...]:
    import importlib.metadata  # takes as long as asyncio, and a built-in plugin is found without it

    found = importlib.metadata.entry_points()
    return tuple(point for folder in _FOLDERS.values() for point in found.select(group=folder))


def _load(point: EntryPoint, kind: Kind) -> Any:
    try:
        return point.load()
    except Exception as error:  # the plugin's own code runs here and may raise anything
        where = f"{kind} {point.name!r}, installed as {point.value!r},"
        raise PluginError(f"{where} does not import: {type(error).__name__}: {error}") from error


def _import_plugin(path: str, kinds: tuple[Kind, ...], source: str | None) -> Plugin:
    """The plugin at the import *path*, from now on also for callers of the HTTP interface."""
    plugin = _adopt(_import(path, source), path, kinds, source)
    _given_paths.add(path)
    return plugin


def import_module(name: str) -> Any:
    """The module called *name*, which the user named; it may lie in the working directory, as for ``python -m``."""
    with _working_directory(name.partition(".")[0]):
        return importlib.import_module(name)


def _import(path: str, source: str | None) -> Any:
    """The object that the dotted *path* names."""
    origin = f" (from {source})" if source else ""
    module_name, _, attribute = path.rpartition(".")
    try:
        module = import_module(module_name)
    except (Exception, SystemExit) as error:  # the plugin's own code runs here and may raise anything
        raise PluginError(f"{path!r}{origin} does not import: {type(error).__name__}: {error}") from error
    if not hasattr(module, attribute):
        raise PluginError(f"{path!r}{origin}: module {module_name!r} has no {attribute!r}")
    return getattr(module, attribute)


@contextlib.contextmanager
def _working_directory(top: str) -> Iterator[None]:
    """Have the module *top* of the working directory importable, and its neighbours; then `sys.path` is as before.

    *top* is what the user named, so the working directory comes first for it. For anything that *top* imports the
    working directory comes last: a file there cannot take the place of an installed module.
    """
    try:
        here = os.getcwd()
    except OSError:  # it was deleted
        here = ""
    if not here or "" in sys.path or here in sys.path:
        yield
        return
    sys.path.append(here)
    try:
        if top not in sys.modules:
            _import_from(here, top)
        yield
    finally:
        if here in sys.path:  # the plugin's own code may have changed it
            sys.path.remove(here)


def _import_from(folder: str, name: str) -> None:
    """Import the module *name* if *folder* itself has it; a folder without ``__init__.py`` is left to the usual way."""
    import importlib.machinery  # not every start needs them
    import importlib.util

    spec = importlib.machinery.PathFinder.find_spec(name, [folder])
    if spec is None or spec.loader is None or spec.origin is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def _adopt(target: Any, path: str, kinds: tuple[Kind, ...], source: str | None) -> Plugin:
    for kind in kinds:
        if _usable(kind, target) and (kind != "handler" or _declares_handler(target)):
            _check_hooks(kind, target, path)
            return Plugin(path, kind, target)
    origin = f" (from {source})" if source else ""
    needs = "; or ".join(_NEEDS[kind] for kind in kinds)
    raise PluginError(f"{path!r}{origin} cannot be used as a {' or '.join(kinds)}: {needs}")


_NOT_IMPORTED = (
    "a class that registers itself is known once its module is imported: "
    "name it as MODULE.CLASS, or with callable = MODULE.CLASS in a file"
)

_NEEDS: Mapping[Kind, str] = {
    "behavior": "it must subclass vaurien.Behavior, or have on_before_handle, on_between_handle or on_after_handle",
    "protocol": "it must subclass vaurien.Protocol, or have _handle(self, source, dest, to_backend)",
    "handler": (
        "it must be a class with __call__(self, client_sock, backend_sock, to_backend), "
        "a function of these three arguments, or be registered by Handler.register"
    ),
}


def _usable(kind: Kind, target: Any) -> bool:
    """Whether *target* can be used as a *kind*. Raises `PluginError` when it is half a legacy plugin, half none."""
    if kind == "handler":
        if not inspect.isclass(target):
            return callable(target)
        own = not issubclass(target, (hooks.Behavior, framing.Protocol)) and "__call__" in dir(target)
        return own and inspect.isfunction(getattr(target, "__call__", None))  # noqa: B004
    if not inspect.isclass(target):
        return False
    legacy = [name for name in _LEGACY_HOOKS[kind] if callable(getattr(target, name, None))]
    if not issubclass(target, _BASES[kind]):
        return bool(legacy) and (kind != "protocol" or _declares_protocol(target))
    if legacy:
        derive = "vaurien.behaviors.dummy.Dummy" if kind == "behavior" else "vaurien.protocols.base.BaseProtocol"
        base = f"{_BASES[kind].__module__}.{_BASES[kind].__name__}"
        raise PluginError(f"{_describe(target)} derives from {base} and has {legacy[0]}: derive it from {derive}")
    return True


def _declares_handler(target: Any) -> bool:
    """Whether *target* says that it is a handler: nearly anything can be called, ``os.system`` for one.

    A handler derives from `BaseHandler`, was registered, or calls its third argument as Mozilla's page does.
    """
    if any(target is known for known in _registered["handler"].values()):
        return True
    call = target.__call__ if inspect.isclass(target) else target
    try:
        if getattr(target, "is_handler", None) is True:
            return True
        names = list(inspect.signature(call).parameters)
    except Exception:  # a callable without a signature, or an object whose own code is asked and may raise anything
        return False
    place = 3 if inspect.isclass(target) else 2  # behind self
    return names[place : place + 1] == ["to_backend"]


def _declares_protocol(target: Any) -> bool:
    """Whether the class *target*, with ``_handle``, says that it is a protocol: other libraries have such methods too.

    A protocol derives from `BaseProtocol`, was registered, or has the third argument of Mozilla's page.
    """
    derives = any(base.__module__.startswith("vaurien.legacy.") for base in target.__mro__)
    if derives or any(target is known for known in _registered["protocol"].values()):
        return True
    try:
        names = list(inspect.signature(target._handle).parameters)
    except Exception:  # as for a handler
        return False
    return names[3:4] == ["to_backend"]  # behind self


def _must_be_usable(kind: Kind, target: Any, name: str) -> None:
    if not _usable(kind, target):
        raise PluginError(f"{kind} {name!r} ({_describe(target)}) cannot be used: {_NEEDS[kind]}")
    _check_hooks(kind, target, name)


def _check_hooks(kind: Kind, target: Any, name: str) -> None:
    """Raise `PluginError` for a behavior whose hooks would not be called, or would fail when they are."""
    if kind == "behavior" and inspect.isclass(target) and issubclass(target, hooks.Behavior):
        wrong = _misdeclared(target)
        if wrong:
            raise PluginError(f"behavior {name!r} cannot be used: {wrong}")


_misdeclared = functools.cache(hooks.misdeclared)  # a class does not change, and each fault looks it up


def own_name(target: Any) -> str:
    """The name that a plugin calls itself: its ``name`` attribute, else its class name in lower case."""
    own = getattr(target, "name", None)
    if isinstance(own, str) and own:
        return own
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", getattr(target, "__name__", type(target).__name__)).lower()


def _describe(target: Any) -> str:
    return f"{getattr(target, '__module__', '?')}.{getattr(target, '__qualname__', target)}"
