# make quickstart | reference-report | install | test | test-quick | simulations | cluster-test | gpu-test | check | format | docs | bench | gpu-bench | exactly-once
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Bytecode is kept: without it every process that the tests start compiles torch anew.
export PYTHONDONTWRITEBYTECODE :=
# A file's tests in one process; those that start Ray first, beside the many quick ones. One process more than there
# are cores, because tests of killed runs and of slow servers wait.
SIDE_BY_SIDE := -n $(shell expr $$(nproc) + 1) --dist loadfile --no-loadscope-reorder

.PHONY: quickstart reference-report install install-dev test test-quick simulations cluster-test gpu-test check format docs bench gpu-bench exactly-once clean

quickstart: install
	$(BIN)/rdstudy run studies/quickstart.yaml
	$(BIN)/rdstudy report results/quickstart
	@echo "Here rdstudy is $(BIN)/rdstudy and python is $(BIN)/python."

# The committed reference studies' pages and figures, again from their tables.
reference-report: install
	printf '%s\n' quickstart digits priors tetrominoes mnist | xargs -P 2 -I{} $(BIN)/rdstudy report results/reference/{} --format html,md
	$(BIN)/rdstudy report results/reference/published_figure --format html,md --published studies/published_rd_curves.csv

install: $(VENV)/.installed

install-dev: $(VENV)/.installed-dev

test: install-dev
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) --durations 10 -m "not simulation and not cluster and not gpu"

test-quick: install-dev
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not slow and not simulation and not cluster and not gpu"

check: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The Python interface as pages, made from its docstrings.
docs: install-dev
	$(BIN)/python -W error -m tests.docs.build build/docs
	@echo build/docs/index.html

# Error rates of the verdicts over thousands of synthetic studies; a minute on one core.
simulations: install-dev
	$(BIN)/python -m pytest -m simulation tests/analysis

# A real cluster on hosts of its own, which die while it trains. As root, on Debian; half an hour.
cluster-test: install-dev
	{ command -v sshd && command -v rsync && command -v ip; } >/dev/null || \
		{ apt-get update -qq && apt-get install -y -qq openssh-server rsync iproute2 util-linux; }
	$(BIN)/python -m pytest -m cluster -s tests/cluster tests/execution/ray_tune

# On a machine with a CUDA device: its results, resuming, memory, Ray; two minutes.
gpu-test: install-dev
	$(BIN)/python -m pytest -m gpu -s tests/gpu

# Speed, as ratios within one run; see tests/benchmarks/README.md.
bench: install-dev
	$(BIN)/python -m tests.benchmarks.training_speed
	$(BIN)/python -m tests.benchmarks.growth
	$(BIN)/python -m tests.benchmarks.time_shares
	$(BIN)/python -m tests.benchmarks.tune_speed
	$(BIN)/python -m tests.benchmarks.search_efficiency

# The same on a CUDA GPU.
gpu-bench: install-dev
	$(BIN)/python -m tests.benchmarks.gpu_speed
	$(BIN)/python -m tests.benchmarks.time_shares --gpu published_figure --set training.steps=6400

# The long version of the promise: ten kills at random moments, then every value compared.
exactly-once: install-dev
	$(BIN)/python tests/execution/ray_tune/kill_and_resume.py --cells 48 --kills 10

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "rdstudy needs Python 3.11 to 3.13; $(PYTHON) is $$($(PYTHON) --version). Use: make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --no-compile --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[dev]'
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build/docs .pytest_cache .mypy_cache .ruff_cache
