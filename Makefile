# Two commands do everything: `make run` and `make test`. The rest is for every day.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
# uv, where it is installed, does in seconds what takes pip minutes; pip knows indices that uv was not told of
install = $(if $(shell command -v uv),uv pip install --quiet --compile-bytecode --python $(BIN)/python $(1) ||) \
  $(BIN)/python -m pip install --quiet --disable-pip-version-check $(1)

.PHONY: help setup run demo test test-quick test-faults bench lint audit ui clean lock

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.installed  ## create .venv and install everything (done by the others when needed)

$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "QuantArt needs Python 3.11 or newer; set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(call install,--no-deps -r requirements.lock)
	$(call install,--no-deps -e .)
	touch $@

run: setup  ## run the pipeline on the pictures that params.yaml names, then say what was made
	dvc repro
	quantart summary

demo: setup  ## open the page that paints
	quantart demo --open

# two processes; servers' tests in one, for they share addresses
test: setup  ## run the tests
	OMP_NUM_THREADS=1 python -m pytest -n 2 --dist loadfile -m "not faults" --ignore=tests/serving
	OMP_NUM_THREADS=1 python -m pytest -m "not faults" tests/serving

test-quick: setup  ## run the tests to run while working: none that starts processes or trains
	OMP_NUM_THREADS=1 python -m pytest -q -n 2 --dist loadfile -m "not faults and not slow"

test-faults: setup  ## run the long tests of what may go wrong
	python -m pytest -m faults

bench: setup  ## measure speed against the reference's procedure; writes benchmarks/RESULTS.md
	python benchmarks/run.py all --results benchmarks/RESULTS.md

lint: setup  ## formatting, lint and types
	ruff format --check .
	ruff check .
	mypy

audit:  ## look the locked packages up among the known vulnerabilities (needs the network)
	$(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.9'
	$(VENV)-audit/bin/pip-audit --requirement requirements.lock --no-deps --disable-pip --strict

ui: setup  ## open the MLflow UI
	quantart ui

clean:  ## remove what the pipeline made (not the environment, MLflow's runs or DVC's cache)
	rm -rf data/prepared data/pairs data/codes models reports runs .quantart

lock:  ## write requirements.lock from the versions installed now
	python -m pip freeze --all --exclude pip --exclude-editable \
	  | sed -E '/^(nvidia-|cuda-|triton)/ s/$$/ ; sys_platform == "linux"/' > requirements.lock
