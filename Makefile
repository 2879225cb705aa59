# Each target sets up what it needs in .venv; a stamp a set of extras keeps it from being done twice.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python

.PHONY: setup bench docs test test-slow aarch64-check jetson-check lint format clean

setup: $(VENV)/.dev

bench: $(VENV)/.bench
	$(PY) -m bench.latency

# Fails when docs/results.md is not what docs/measured says; `python -m bench.results` writes it anew.
# Needs no package, so nothing is set up for it.
docs:
	$(if $(wildcard $(PY)),$(PY),$(PYTHON)) -m bench.results --check

test: lint
	$(PY) -m pytest -m "not slow"

test-slow: $(VENV)/.dev
	$(PY) -m pytest -m slow

# Needs root on Debian or Ubuntu, and an hour and more: docs/aarch64.md.
aarch64-check: $(VENV)/.bench
	.ci/aarch64-check

# Runs before anything is installed: what this Jetson has and lacks.
jetson-check:
	$(if $(wildcard $(PY)),$(PY),$(PYTHON)) -m bench.jetson_check

lint: $(VENV)/.dev
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy

format: $(VENV)/.dev
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

clean:
	rm -rf $(VENV)

$(PY):
	$(PYTHON) -m venv $(VENV)

$(VENV)/.bench: pyproject.toml | $(PY)
	$(PY) -m pip install --quiet --disable-pip-version-check -e ".[cpu,bench]"
	touch $@

# dev after export: its CUDA compiler then takes the toolkit that torch has pinned, not torch another one's.
# imagecorruptions-imaug alone: it asks for opencv-python, which would write over the headless one.
# sc2bench (a peer) and its torchdistill alone: what else they ask for, a compiler's tools, is not used here.
$(VENV)/.dev: pyproject.toml | $(PY)
	$(PY) -m pip install --quiet --disable-pip-version-check -e ".[cpu,bench,export]"
	$(PY) -m pip install --quiet --disable-pip-version-check -e ".[cpu,bench,export,serve,dev]"
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps "imagecorruptions-imaug>=1.1.5" \
		"sc2bench==0.1.1" "torchdistill>=1.1"
	touch $@ $(VENV)/.bench
