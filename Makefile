# Needs Python 3.11 or newer, pip and make. `make help` lists what there is.
PYTHON ?= $(shell command -v python3 || command -v python3.11)
# An environment of make's own: one that somebody else made in .venv, and installed Vaurien into, stays as it is.
VENV ?= $(if $(or $(wildcard .venv/.make),$(wildcard .venv/.installed)),.venv,$(if $(wildcard .venv),build/venv,.venv))
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help install demo dashboard pictures site wheel test dialogues interpreters loops servers bench bench-page soak walk chaos fleet profile fuzz check format docs tls-errors stream-errors coverage changelog clean copied

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Debian's python3 has venv but not always ensurepip; pip can install itself into an environment from outside.
$(VENV)/pyvenv.cfg:
	@echo "Making a Python environment in $(VENV)…"
	@$(PYTHON) -m venv $(VENV) 2>/dev/null \
		|| { $(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; }
	@touch $(VENV)/.make

# `pip install .` in this environment puts a copy in place of the link to this folder: then the link is made again.
COPIED := $(if $(wildcard $(VENV)/lib/python3*/site-packages/vaurien),copied)

$(VENV)/.installed: pyproject.toml $(COPIED) | $(VENV)/pyvenv.cfg
	@echo "Installing Vaurien from this folder into $(VENV) (20 s the first time)…"
	@$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.fast: pyproject.toml | $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[fast]'
	@touch $@

# --group needs pip 25.1
$(VENV)/.developer: pyproject.toml | $(VENV)/.installed
	@echo "Installing the tools and the clients of the tests into $(VENV) (some minutes the first time)…"
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --group test --group pytest --group clients --group dashboard --group matrix --group lint --group docs --group bench
	@touch $@

install: $(VENV)/.installed ## Make .venv and install Vaurien into it, from this folder

demo: $(VENV)/.installed ## Break a few hundred requests and show what became of them
	@$(BIN)/python -m vaurien.cli.demo

dashboard: $(VENV)/.installed ## Start proxies with traffic and faults, and print where to look at them in a browser
	@$(BIN)/python -m vaurien.cli.live_demo

pictures: $(VENV)/.developer servers ## Take the pictures of the dashboard that the docs show
	$(BIN)/python -m docs.pictures

build/load-tools/.installed: pyproject.toml | $(VENV)/.developer
	@echo "Installing load testers into build/load-tools (half a minute)…"
	@$(PYTHON) -m venv --clear --without-pip build/load-tools
	@$(BIN)/python -m pip --python build/load-tools/bin/python install --quiet --group load
	@touch $@

servers: ## Install the servers that tests use (apt-get, where it may)
	sh tests/install-servers.sh

test: $(VENV)/.developer build/load-tools/.installed servers ## Run all tests, four at a time: a quarter of an hour (ARGS=tests/cli: only those)
	$(BIN)/python -m pytest $(or $(ARGS),-n 4)

dialogues: $(VENV)/.developer servers ## Play 2,000 random dialogues with PostgreSQL and with each Redis, some 20 minutes
	VAURIEN_TEST_DIALOGUES=2000 $(BIN)/python -m pytest -q tests/integration/test_postgres_dialogues.py tests/integration/test_redis_dialogues.py

interpreters: $(VENV)/.developer ## Run what depends on the interpreter on each other Python that is here
	$(BIN)/nox --session interpreters

loops: $(VENV)/.developer $(VENV)/.fast ## Run the engine's tests in other event loops, and without Linux's own ways
	$(BIN)/nox --session loops portable

$(VENV)/.bench: pyproject.toml | $(VENV)/.fast
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --group bench
	@touch $@

bench: $(VENV)/.bench servers ## Measure speed as ratios to HAProxy, some 25 minutes (ARGS=--quick: 5; ARGS=--help)
	$(BIN)/python -m benchmarks $(ARGS)

bench-page: $(VENV)/.bench ## Bring the newest run of `make bench` and of the soak into docs/performance.md
	$(BIN)/python -m benchmarks.page

soak: $(VENV)/.bench servers ## Ten minutes of full load while faults come and go: does anything grow? (ARGS=--help)
	$(BIN)/python -m benchmarks.soak $(ARGS)

walk: $(VENV)/.bench ## Five minutes of checked traffic while faults, mixes and handlers change (ARGS=--help)
	$(BIN)/python -m benchmarks.walk $(ARGS)

$(VENV)/.fleet: pyproject.toml | $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[fleet-dev]'
	@touch $@

fleet: $(VENV)/.fleet ## How fast a change reaches the nodes of a fleet, and what they cost (ARGS='--nodes 200', ARGS=--help)
	$(BIN)/python -m benchmarks.fleet $(ARGS)

chaos: $(VENV)/.fleet ## Kill and cut off nodes and servers of a fleet, some four minutes: does anything get lost? (ARGS=--help)
	$(BIN)/python -m benchmarks.chaos $(ARGS)

profile: $(VENV)/.bench servers ## Where the time goes, as a flame graph and as text (ARGS=--syscalls, ARGS=--help)
	$(BIN)/python -m benchmarks.profile $(ARGS)

# atheris has wheels for few systems, so no other target needs it
$(VENV)/.fuzzer: | $(VENV)/.installed
	$(BIN)/python -m pip install --quiet atheris
	@touch $@

fuzz: $(VENV)/.fuzzer ## Fuzz the framer of each protocol for a minute (SECONDS=60)
	@for target in fuzz/fuzz_*.py; do \
		echo "$$target"; $(BIN)/python $$target -max_total_time=$(or $(SECONDS),60) -verbosity=0 || exit 1; \
	done

check: $(VENV)/.developer ## Format, lint, types, order of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/architecture

format: $(VENV)/.developer ## Format the code, and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

site: $(VENV)/.developer ## Make the documentation site in build/site; a broken link is an error
	$(BIN)/sphinx-build -q -W --keep-going -c docs -b html . build/site
	@echo "build/site/docs/index.html"

wheel: | $(VENV)/pyvenv.cfg ## Make a wheel in dist, to install elsewhere
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

docs: $(VENV)/.developer ## Write the reference pages anew from what the code declares
	$(BIN)/python -m docs.generate

tls-errors: $(VENV)/.developer servers ## Write the page on what clients report for faults of TLS
	$(BIN)/python -m tests.integration.tls_errors

stream-errors: $(VENV)/.developer servers ## Write the page on what clients report for faults of HTTP/2, gRPC, WebSocket, streams
	$(BIN)/python -m tests.integration.stream_errors

coverage: $(VENV)/.developer build/load-tools/.installed servers ## Run all tests and show the lines and branches that none of them took
	$(BIN)/python -m pytest --cov --cov-report=term-missing:skip-covered --cov-report=html $(ARGS)

changelog: $(VENV)/.developer ## Show the changelog of the next release
	$(BIN)/towncrier build --draft --version next

clean: ## Remove what these targets made
	rm -rf $(VENV) .nox build dist htmlcov .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
