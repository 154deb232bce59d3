# Every target makes and reuses .venv by itself; nothing needs to be set up first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Most of the slow tests wait for processes rather than compute: more workers than cores pay.
WORKERS ?= 3

.PHONY: help setup demo test lint format schemas vectors docs bench bench-docs health-study pictures fuzz mutate lock clean
.DEFAULT_GOAL := help

help:            ## show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 12

$(STAMP): requirements/dev.txt pyproject.toml agent/pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("fwctl needs Python 3.11 or newer; set PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

setup: $(STAMP)  ## install into .venv

demo: $(STAMP)   ## firmware from a git commit into the slots of real agents, on this machine
	$(BIN)/fwctl demo

test: $(STAMP)   ## all tests, with the coverage gate
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --cov --cov-report=term:skip-covered

lint: $(STAMP)   ## ruff, mypy --strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests
	$(BIN)/lint-imports

format: $(STAMP) ## rewrite in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

schemas: $(STAMP) ## regenerate schemas/ from the models
	$(BIN)/fwctl schema --out schemas

vectors: $(STAMP) ## regenerate the golden vectors and wire schemas
	$(BIN)/python -m tests.contract.generate

docs: $(STAMP)   ## regenerate docs/reference/ and the table in docs/security.md
	$(BIN)/python -m docs.generator

bench: $(STAMP)  ## measure speed and memory, e.g. make bench ARGS="--devices 1000 --mode hot"
	$(BIN)/python -m tests.bench $(ARGS)

fuzz: $(STAMP)   ## 100,000 bad inputs, e.g. make fuzz ARGS="--seed 7 --target order"
	$(BIN)/python -m tests.fuzz $(ARGS)

mutate: $(STAMP) ## break the verifier in every small way; the tests must notice (docs/mutation.md)
	$(BIN)/python -m tests.mutation $(ARGS)

pictures: $(STAMP) ## run every strategy on simulated devices and keep the timelines for docs/how-to
	$(BIN)/python -m docs.pictures $(ARGS)

bench-docs: $(STAMP) ## write the recorded measurements into docs/performance.md
	$(BIN)/python -m tests.bench.page

health-study: $(STAMP) ## measure false alarms and detection of the gates, and write docs/health-analysis.md
	$(BIN)/python -m tests.study

lock:            ## resolve the hash-locked requirements again (needs uv)
	uv pip compile -q --generate-hashes --no-emit-index-url --no-header --python-version 3.11 pyproject.toml requirements/dev.in -o requirements/dev.txt
	uv pip compile -q --generate-hashes --no-emit-index-url --no-header --python-version 3.11 -c requirements/dev.txt pyproject.toml -o requirements/run.txt
	uv pip compile -q --generate-hashes --no-emit-index-url --no-header --python-version 3.11 -c requirements/dev.txt agent/pyproject.toml -o requirements/agent.txt
	uv pip compile -q --generate-hashes --no-emit-index-url --no-header --python-version 3.11 -c requirements/dev.txt requirements/mutate.in -o requirements/mutate.txt

clean:           ## remove what was built
	rm -rf $(VENV) .mutate .fuzz .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage* build dist
