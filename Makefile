# Everything here works on a machine with Python 3.11, git and make; the rest is set up on the way.
# `make help` lists the targets.

SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
# Where a machine forbids it, every one of the processes below would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE
UV := .tools/bin/uv
UV_VERSION := 0.13.9
RUN := .venv/bin/python
# More than two cores: many tests wait, for timers, processes and the disk.
PYTEST_WORKERS ?= 3
SIZES ?= sqlite:1000000,mongodb:100000

.PHONY: help setup run test check format build bench bench-peers objects-5g cities cluster cluster-check move crash fuzz fuzz-model scale compaction rules-corpus console browser clean

help:  ## List the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | column -t -s "$$(printf '\t')"

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11")'
	@echo "setting up: uv $(UV_VERSION)"
	@$(PYTHON) -m venv .tools
	@.tools/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.ready: $(UV) uv.lock pyproject.toml rules/pyproject.toml sdk/pyproject.toml
	@echo "setting up: Python packages from the lock file"
	@$(UV) sync --quiet --locked --python $(PYTHON)
	@touch $@

setup: .venv/.ready  ## Python packages, from the lock file, into .venv

console: .venv/.ready  ## Build the web console (skipped when it is up to date)
	@$(RUN) scripts/build_console.py

browser: .venv/.ready
	@$(RUN) scripts/find_chromium.py --install

run: .venv/.ready  ## Start the product with its demo project on http://127.0.0.1:8080
	@$(RUN) scripts/build_console.py --optional
	@$(RUN) -m demo

test: .venv/.ready  ## All tests, those in a browser and on MongoDB included
	@$(RUN) scripts/build_console.py
	@$(RUN) scripts/find_chromium.py --install || true
	@$(RUN) scripts/find_mongod.py || true
	@$(RUN) scripts/find_s3.py --install || true
	@$(RUN) scripts/find_schema_tests.py --install || true
	@PATH="$$PATH:$(CURDIR)/.tools/node/bin" .venv/bin/pytest -n $(PYTEST_WORKERS) --dist loadfile --no-loadscope-reorder

check: .venv/.ready  ## Format, lint, types, import law; lint of the console
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
	@$(RUN) scripts/build_console.py --lint

format: .venv/.ready  ## Format and fix what can be fixed
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

build: .venv/.ready console  ## The three wheels, into dist/
	@rm -rf dist
	@$(UV) build --quiet --wheel --all-packages --out-dir dist
	@ls dist

bench: .venv/.ready  ## Measure every hot path beside its floor
	@$(RUN) -m bench $(BENCH)

bench-peers: .venv/.ready  ## The same loads against PocketBase and Parse Server (PEERS="--rounds 1 …")
	@$(RUN) -m bench.peers $(PEERS)

objects-5g: .venv/.ready  ## 5 GB up, down and resumed after a kill, at constant memory (GB=…)
	@$(RUN) -m tests.baas.buckets.large $(or $(GB),5)

cities: .venv/.ready  ## 235,000 cities imported, exported, backed up and restored, and compared
	@$(RUN) -m tests.acceptance.cities_transfer

cluster: .venv/.ready  ## docker-compose.yml as plain processes, with the demo and a load on it
	@$(RUN) scripts/build_console.py --optional
	@$(RUN) scripts/find_s3.py --install
	@$(RUN) -m cluster

cluster-check: .venv/.ready  ## The same, every member killed in turn (ROUNDS=…)
	@$(RUN) scripts/find_s3.py --install
	@$(RUN) -m cluster --check --rounds $(or $(ROUNDS),1)

move: .venv/.ready  ## A project there and back under the SDK's clients, the server killed meanwhile (ROUNDS=… KILLS=… WORKERS=…)
	@$(RUN) -m tests.acceptance.move_load --rounds $(or $(ROUNDS),5) --kills $(or $(KILLS),2) --workers $(or $(WORKERS),1)

crash: .venv/.ready  ## Kills, power cuts, failing disks, history checks: the long forms (ONLY=word, at most ROUNDS=… of each)
	@BAAS_CRASH=1 $(if $(ROUNDS),BAAS_CRASH_ROUNDS=$(ROUNDS)) .venv/bin/pytest tests/faults -q --timeout 7200 $(if $(ONLY),-k "$(ONLY)")

fuzz: .venv/.ready  ## The property tests with 50 times the examples (EFFORT=…), ten minutes of rules files, then of fuzz-model on each engine
	@BAAS_EFFORT=$(or $(EFFORT),50) BAAS_FUZZ_SECONDS=$(or $(SECONDS),600) .venv/bin/pytest -q -n $(PYTEST_WORKERS) --timeout 7200 \
		tests/baas/model tests/baas/encoding tests/baas/wire tests/baas/database tests/conformance tests/model_based tests/rules tests/storage \
		tests/baas/http/test_random_reads.py tests/baas/http/test_random_bodies.py \
		tests/baas/http/test_transactions.py tests/baas/services/test_transactions_nodes.py \
		tests/baas/services/test_proofs.py tests/baas/buckets/test_names.py tests/baas/projects/test_schemas.py \
		tests/baas/moves/test_copying.py tests/sdk/test_queries.py tests/acceptance/test_sdk_writes.py
	@for engine in sqlite sqlite-shared mongodb; do \
		$(MAKE) --no-print-directory fuzz-model ENGINE=$$engine SECONDS=$(or $(SECONDS),600) || exit 1; done

scale: .venv/.ready  ## What queries read at a million documents, 100,000 on MongoDB (SIZES=engine:n,…)
	@BAAS_SCALE=$(SIZES) nice -n 15 .venv/bin/pytest -q -s -p no:cacheprovider tests/baas/database/test_query_costs.py

compaction: .venv/.ready  ## The file's size under a thousand updates a second (MINUTES=10)
	@nice -n 15 $(RUN) -m tests.baas.database.compaction $(or $(MINUTES),10)

fuzz-model: .venv/.ready  ## Random runs against the model, without end (ENGINE=mongodb SEED=… SECONDS=…)
	@SEED=$(SEED) SECONDS=$(SECONDS) $(RUN) -m tests.model_based $(ENGINE)

rules-corpus: .venv/.ready  ## Hold the rules engine to real files: make rules-corpus DIR=… CASES=…
	@$(RUN) -m tests.rules.corpus "$(DIR)" $(if $(CASES),"$(CASES)")

clean:  ## Remove what was built (not data/)
	@rm -rf .venv .tools dist console/node_modules baas/http/console .mypy_cache .ruff_cache .pytest_cache
