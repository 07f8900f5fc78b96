"""The tests on every interpreter and in every event loop that this machine has: ``nox --list``.

``make test`` runs all tests on one Python. Here the tests of what depends on the interpreter run on the other supported
ones (``make interpreters``), and those of the engine in other loops and on the paths of other systems (``make loops``).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True
nox.options.stop_on_first_error = True

PROJECT = nox.project.load_toml("pyproject.toml")
MAIN = f"{sys.version_info.major}.{sys.version_info.minor}"
SUPPORTED = nox.project.python_versions(PROJECT)

DEPENDS_ON_THE_INTERPRETER = [
    f"tests/{folder}"
    for folder in (
        "behaviors",
        "engine",
        "handlers",
        "legacy",
        "library",
        "observers",
        "proxies",
        "pytest_plugin",
        "scenario",
        "workers",
    )
]
DEPENDS_ON_THE_SYSTEM = [f"tests/{folder}" for folder in ("behaviors", "engine", "legacy", "library", "proxies")]
# In these no system has a part.
NOT_ON_THE_SYSTEM = [f"--ignore=tests/behaviors/test_{name}.py" for name in ("extremes", "surfaces")]
DEPENDS_ON_THE_LOOP = ["tests/engine"]


def _interpreter(version: str) -> Path | None:
    """Where Python *version* is: on PATH, among those of pyenv, or where Debian and python.org put it.

    It is run once, since a shim of pyenv may stand for a version that is not chosen.
    """
    name = f"python{version}"
    folders = [Path(folder) for folder in os.get_exec_path()]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    folders += sorted(pyenv.glob(f"versions/{version}.*/bin"), reverse=True)
    folders += [Path("/usr/bin"), Path("/usr/local/bin")]
    for folder in folders:
        if found := shutil.which(name, path=str(folder)):
            says = subprocess.run(
                [found, "-c", "import ssl, venv; print('here')"], capture_output=True, text=True, check=False
            )
            if says.stdout == "here\n":
                return folder
    return None


FOLDERS = {version: folder for version in SUPPORTED if (folder := _interpreter(version)) is not None}
OTHERS = [version for version in FOLDERS if version != MAIN]
os.environ["PATH"] = os.pathsep.join([*map(str, FOLDERS.values()), os.environ["PATH"]])  # where nox looks


@nox.session(python=False)
def interpreters(session: nox.Session) -> None:
    """Fail where there is no supported interpreter besides the main one; run the tests on all of them."""
    missing = [version for version in SUPPORTED if version not in {MAIN, *OTHERS}]
    session.log(
        f"main Python {MAIN}; others here: {', '.join(OTHERS) or 'none'}; not here: {', '.join(missing) or 'none'}"
    )
    if not OTHERS:
        session.error(f"needs a second interpreter of {', '.join(SUPPORTED)}: on PATH, of pyenv, or in /usr/bin")
    for version in OTHERS:
        session.notify(f"interpreter-{version}")


@nox.session(python=OTHERS, default=False)
def interpreter(session: nox.Session) -> None:
    """Run what depends on the interpreter on one of the others."""
    session.install("--quiet", "--editable", ".", *nox.project.dependency_groups(PROJECT, "test", "pytest"))
    _pytest(session, "-n", "4", *(session.posargs or DEPENDS_ON_THE_INTERPRETER))


@nox.session(python=False)
@nox.parametrize("loop", ["asyncio", "debug", "uvloop"])
def loops(session: nox.Session, loop: str) -> None:
    """Run the engine's tests in another loop: asyncio's, in its debug mode, uvloop's."""
    _pytest(session, "-n", "4", *(session.posargs or DEPENDS_ON_THE_LOOP), VAURIEN_TEST_LOOP=loop)


@nox.session(python=False)
def portable(session: nox.Session) -> None:
    """Run what depends on the system without the ways that only Linux has, as on macOS."""
    _pytest(session, "-n", "4", *(session.posargs or DEPENDS_ON_THE_SYSTEM + NOT_ON_THE_SYSTEM), VAURIEN_PORTABLE="1")


def _pytest(session: nox.Session, *arguments: str, **environment: str) -> None:
    python = "python" if session.python else sys.executable
    session.run(python, "-m", "pytest", "-q", *arguments, env=environment, external=not session.python)
