# Everything starts here; nothing but Python >= 3.11 and make is needed.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=
# Tests of processes wait for them; two more than there are cores keep the cores at work.
WORKERS ?= $(shell expr 2 + `nproc 2>/dev/null || getconf _NPROCESSORS_ONLN`)

PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help run test test-slow chaos lint format bench bench-quick bench-ledger bench-webhooks bench-statements bench-proof bench-panel bench-indexes fill lock translations screenshots clean

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "Standart needs Python 3.11 or newer as \"$(PYTHON)\"; name another one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
	  || { echo "Python's venv module is missing; on Debian and Ubuntu: sudo apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing Standart into $(VENV) (once) ..."
	@$(PIP_INSTALL) --require-hashes --no-deps -r requirements.lock
	@$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	@echo "Installing the tools of development into $(VENV) (once) ..."
	@$(PIP_INSTALL) --require-hashes --no-deps -r requirements-dev.lock
	@touch $@

run: $(VENV)/.runtime ## Start everything: make run ARGS="--port 8001"
	@exec $(BIN)/standart up $(ARGS)

test: $(VENV)/.dev ## Run the tests against real engines
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow" $(ARGS)

test-slow: $(VENV)/.dev ## Run all tests, the long state machines included
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

chaos: $(VENV)/.dev ## Kill everything while 20,000 webhooks go out: make chaos ARGS="--seed 7"
	@exec $(BIN)/python -m tests.acceptance.chaos $(ARGS)

lint: $(VENV)/.dev ## Check style, types, layers, migrations and generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.checks

format: $(VENV)/.dev ## Format the code
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format --quiet .

translations: $(VENV)/.dev ## Collect the panel's words and compile the catalogues
	@mkdir -p build
	$(BIN)/pybabel -q extract -F standart/translations/babel.cfg --no-location -k lazy_gettext -k Phrase -k _wrong -k _about:3 \
	  -o build/messages.pot standart/admin standart/bank_files standart/checks.py standart/config.py
	$(BIN)/pybabel -q update --no-fuzzy-matching -i build/messages.pot -d standart/translations
	$(BIN)/pybabel -q compile -d standart/translations

screenshots: $(VENV)/.dev ## Take a picture of every page of the panel (needs Chromium)
	$(BIN)/python -m tests.screenshots $(ARGS)

bench: bench-quick bench-ledger bench-webhooks bench-statements bench-proof ## Measure everything there is a benchmark of

bench-quick: $(VENV)/.dev ## Measure create beside a naive service and the bare database
	$(BIN)/python -m benchmarks.quick $(ARGS)

bench-ledger: $(VENV)/.dev ## Measure what keeping balances costs a confirm
	$(BIN)/python -m benchmarks.ledger $(ARGS)

bench-webhooks: $(VENV)/.dev ## Measure how fast, soon and fairly webhooks are sent
	$(BIN)/python -m benchmarks.webhooks $(ARGS)

fill: $(VENV)/.dev ## Fill a data dir as a busy service leaves it: make fill ARGS="--data-dir D --transactions 5000000"
	$(BIN)/python -m benchmarks.fill $(ARGS)

bench-panel: $(VENV)/.dev ## Measure the panel on a filled data dir: make bench-panel ARGS="--data-dir D"
	$(BIN)/python -m benchmarks.panel $(ARGS)

bench-indexes: $(VENV)/.dev ## Measure what indexes cost a create and a confirm: make bench-indexes ARGS="--data-dir A_COPY"
	$(BIN)/python -m benchmarks.indexes $(ARGS)

bench-statements: $(VENV)/.dev ## Measure what a statement of a million movements costs
	$(BIN)/python -m benchmarks.statements $(ARGS)

bench-proof: $(VENV)/.dev ## Measure what proving the books takes and sealing costs
	$(BIN)/python -m benchmarks.proof $(ARGS)

lock: ## Pin all dependencies with hashes (needs uv)
	uv pip compile -q --no-emit-index-url --no-header --no-annotate --universal --python-version 3.11 \
	  --generate-hashes pyproject.toml --group build -o requirements.lock
	uv pip compile -q --no-emit-index-url --no-header --no-annotate --universal --python-version 3.11 \
	  --generate-hashes -c requirements.lock pyproject.toml --group build --group dev -o requirements-dev.lock

clean: ## Remove what make has made, but no data
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
