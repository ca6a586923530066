# Every target does its own set-up. `make check` is what CI runs.
PYTHON ?= python3
BIN := .venv/bin
# Tests start hundreds of Pythons: what one has compiled serves the others.
unexport PYTHONDONTWRITEBYTECODE
PYTEST := $(BIN)/python -m pytest -q
# What fails beside others runs once more, alone, and is named if it passes then.
TIER := $(BIN)/python -m scripts.run_tests
# One worker a core for what needs no container engine or registry of its own. Each begins with a stretch of its own,
# whose fixtures are made once, and at the end takes from those that have more to do.
SPREAD := -n auto --dist worksteal
UNIT := tests/unit tests/contracts tests/golden
# They fsync much and store little, so their files go into memory where there is room.
FAST := $(shell [ -w /dev/shm ] && [ "$$(df --output=avail -BM /dev/shm | tail -n 1 | tr -dc 0-9)" -gt 4000 ] && echo TMPDIR=/dev/shm)
# What a target took in all, with what it had to set up.
BEGAN := $(shell date +%s)
TOOK = @echo "make $@: $$((($$(date +%s) - $(BEGAN)) / 60)) min $$((($$(date +%s) - $(BEGAN)) % 60)) s in all"
.DEFAULT_GOAL := help

help:  ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/.installed: pyproject.toml hatch_build.py modelcar/holder/SHA256SUMS
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "modelcar needs Python 3.11 or newer; PYTHON=python3.x names one")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

install: .venv/.installed  ## .venv with the commands modelcar and registry-shim

demo: install  ## a real checkpoint to an image, to a registry, and back
	@$(BIN)/python -m examples.quickstart.demo
	$(TOOK)

test-unit: install  ## the quick tests: no process, no connection, a minute or somewhat more; says which modules take most
	$(FAST) $(PYTEST) $(SPREAD) -p tests.support.largest -m "not slow" $(UNIT)
	$(TOOK)

coverage: install  ## lines and branches that the fast tests run; fails below 90 % and 85 %
	$(FAST) $(PYTEST) $(SPREAD) --cov --cov-report= $(UNIT) tests/property
	@$(BIN)/python -m scripts.coverage_floor

test: install install-debian  ## all tests that a Debian machine can run
	$(FAST) $(TIER) $(SPREAD) $(UNIT) tests/property
	$(TIER) -m "not conformance and not soak" --ignore=tests/e2e/documents tests/e2e
	$(TIER) $(SPREAD) tests/e2e/documents
	$(TOOK)

test-cluster: install install-debian  ## what needs the network and minutes: a Kubernetes API server, conformance suites, engines, cosign
	$(PYTEST) -m conformance tests/e2e tests/cluster

test-gpu: install  ## loading onto a real device; needs torch in .venv and a GPU
	$(PYTEST) tests/gpu

check: lint types readme site test  ## what CI runs: format, lint, types, architecture, README against --help, tests
	$(TOOK)

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: install
	$(BIN)/mypy

readme: install
	$(BIN)/python -m scripts.update_docs --check
	$(BIN)/python -m tests.bench.plots --check

site: install  ## the documentation as a site, in .cache/site; a warning is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs: install  ## refresh what README.md and docs/ quote from the commands
	$(BIN)/python -m scripts.update_docs
	$(BIN)/python -m scripts.update_manifests
	$(BIN)/python -m scripts.update_ci
	$(BIN)/python -m examples.quickstart.transcript
	$(BIN)/python -m tests.bench.plots

format: install  ## format and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install-debian:
	@scripts/install-debian

fuzz: install  ## ten minutes of coverage-guided fuzzing for each of the scanner's parsers
	@$(BIN)/python -m tests.fuzz $(ARGS)

properties: install  ## the property tests with all their examples, others each time; some minutes
	$(FAST) MODELCAR_EXAMPLES=all $(PYTEST) $(SPREAD) tests/property $(ARGS)

soak: install install-debian  ## the proofs of shim, mounts and transfers at full size: GiB, thousands of faults; some hours
	SHIM_PROOF_MIB=2048 SHIM_PROOF_KILLS=200 $(PYTEST) -x tests/e2e/shim_proof $(ARGS)
	LAZY_PROOF_RUNS=1000 $(PYTEST) -x tests/e2e/mounts/proof $(ARGS)
	TRANSFER_PROOF_MIB=1024 TRANSFER_PROOF_SEEDS=5 $(PYTEST) -x tests/e2e/transfer_proof $(ARGS)
	$(PYTEST) -x -m soak tests/e2e/mounts/test_erofs_crashes.py tests/e2e/mounts/test_fuse_crashes.py $(ARGS)

bench: install install-debian  ## the figures of docs/explanation/benchmarks.md, against the peers that can be installed
	@$(BIN)/python -m tests.bench.peers
	@$(BIN)/python -m tests.bench $(ARGS)

scan-table: install  ## ask picklescan, modelscan and fickling about the corpus, for docs/explanation/scanning-comparison.md
	@$(BIN)/python -m tests.corpus.peers --write $(ARGS)

clean:  ## remove what the targets above made
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .zig-cache modelcar/holder/bin

.PHONY: help install demo test-unit test test-cluster test-gpu coverage check lint types readme site docs format install-debian soak bench fuzz properties scan-table clean
