# `make story` and `make test` each set up .venv with pinned versions, once, and then do their job.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.SILENT:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT := out/story
# what `make stage` trains: small_cpu, or h200 on a GPU (benchmarks/stage/model/config.py)
CONFIG ?= small_cpu
# builds, too, take the pinned tools
PIP := PIP_CONSTRAINT=$(CURDIR)/constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet
BUILT_FROM := pyproject.toml CMakeLists.txt $(wildcard csrc/*)

# The repository root holds a folder `kernels`; a PyPI package of that name exists and diffusers looks for it.
export PYTHONSAFEPATH := 1
export HF_HUB_OFFLINE := 1

.PHONY: help story test lint bench stage stage-report clean

help:
	echo "make story   set up, then draw examples/story.txt into $(OUT)"
	echo "make test    set up, then run the tests"
	echo "make lint    set up, then check style and types"
	echo "make bench   set up, then time the kernels on the CPU, one thread, and write benchmarks/RESULTS.md"
	echo "make stage   set up, then train the embedded model from nothing (CONFIG=h200 on a GPU); resumes"
	echo "make stage-report   set up, then measure the embedded model and write benchmarks/RESULTS.md"
	echo "make clean   remove .venv and everything built"

story: $(VENV)/run.stamp
	$(BIN)/raccord story examples/story.txt --out $(OUT)
	echo "pictures: $(CURDIR)/$(OUT)  (open $(OUT)/index.html)"

test: $(VENV)/test.stamp
	echo "tests: $(CURDIR)/tests, in $(CURDIR)/$(VENV)"
	$(BIN)/python -m pytest -q

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: export OMP_NUM_THREADS=1
bench: $(VENV)/test.stamp
	$(BIN)/python -P benchmarks/bench_guided_step.py
	$(BIN)/python -P benchmarks/bench_regional_attention.py
	$(BIN)/python -P benchmarks/bench_entity_attention.py
	$(BIN)/python -P benchmarks/bench_unet.py --rounds 3
	$(BIN)/python -P benchmarks/results.py

stage: $(VENV)/test.stamp
	$(BIN)/python -P benchmarks/stage/make.py --config $(CONFIG) --workers $$(nproc)

stage-report: $(VENV)/test.stamp
	$(BIN)/python -P benchmarks/stage/instruments/check.py
	$(BIN)/python -P benchmarks/stage/report.py
	$(BIN)/python -P benchmarks/stage/curves.py
	$(BIN)/python -P benchmarks/stage/consistency.py
	$(BIN)/python -P benchmarks/results.py

clean:
	rm -rf $(VENV) build dist out

# torch by itself first: it decides what the others resolve to.
$(VENV)/torch.stamp: constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "raccord needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	echo "setting up $(CURDIR)/$(VENV): torch first, then the rest, as constraints.txt pins them"
	$(PYTHON) -m venv $(VENV) || { echo "no venv: on Debian, apt install python3-venv" >&2; exit 1; }
	$(PIP) torch
	touch $@

$(VENV)/run.stamp: $(VENV)/torch.stamp $(BUILT_FROM)
	echo "installing raccord and what it needs"
	$(PIP) --editable .
	touch $@

$(VENV)/test.stamp: $(VENV)/run.stamp
	echo "installing the tools of the tests"
	$(PIP) --editable '.[triton,test,lint]'
	touch $@
