# Two commands do everything on a machine with Python 3.11 or later: `make run` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKDIR ?= runs/gradient_flow

.PHONY: help run quick test test-fast lint types peers bench bench-accelerator cells docs clean

help:
	@echo "make run        the main experiment, where gradients die: figures and a page in $(WORKDIR) (one to two minutes on two cores)"
	@echo "make quick      the same in seconds, on tiny networks, in runs/quick"
	@echo "make test       all tests"
	@echo "make test-fast  the tests without the slow ones"
	@echo "make lint       check style and format with ruff"
	@echo "make types      check types with mypy"
	@echo "make peers      install PyTorch, haiku, equinox, Keras and gensim, with which benchmarks and tests compare"
	@echo "make bench      all benchmarks: peers, memory, compiling, parallel time, training, online steps, writing, a study (three quarters of an hour)"
	@echo "make bench-accelerator  benchmarks at sizes for the GPU or TPU that JAX finds, in one table (ten minutes at most; see docs/accelerators.md)"
	@echo "make docs       build the site in docs/_build/html and execute its tutorials (a minute or two)"
	@echo "make cells      measure how fast the gradient of every cell decays, and rewrite docs/cells.md (10 minutes of processor time)"

run: $(VENV)/.installed
	$(BIN)/python -m experiments.gradient_flow --workdir=$(WORKDIR)

quick: $(VENV)/.installed
	$(BIN)/python -m experiments.gradient_flow --variant=quick --workdir=runs/quick --overwrite

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n auto --dist worksteal

test-fast: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

peers: $(VENV)/.installed-peers

bench: $(VENV)/.installed-peers
	$(BIN)/python -m benchmarks.unroll
	$(BIN)/python -m benchmarks.profile
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.scaling
	$(BIN)/python -m benchmarks.compile_time
	$(BIN)/python -m benchmarks.step_cost
	$(BIN)/python -m benchmarks.parallel
	$(BIN)/python -m benchmarks.training
	$(BIN)/python -m benchmarks.online
	$(BIN)/python -m benchmarks.streaming
	$(BIN)/python -m benchmarks.study
	$(BIN)/python -m benchmarks.min_char
	$(BIN)/python -m benchmarks.generation
	$(BIN)/python -m benchmarks.language
	$(BIN)/python -m benchmarks.word_vectors

bench-accelerator: $(VENV)/.installed-peers
	$(BIN)/python -m benchmarks.accelerator

cells: $(VENV)/.installed
	$(BIN)/python -m docs.cell_table

docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else f"rnnjax needs Python 3.11 or later, this is {v[0]}.{v[1]}: call make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable ".[experiments,data]"
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $@

$(VENV)/.installed-peers: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable ".[bench]"
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	@touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
