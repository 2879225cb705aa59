# Each target sets up what it needs in .venv. A stamp file for each set of extras says that it is installed.
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

# What this Jetson has and lacks; runs before anything is installed. Afterwards: ratehold check.
jetson-check:
	$(if $(wildcard $(PY)),$(PY),$(PYTHON)) -m bench.jetson_check

# Small faults that no test notices: make mutants FILES="export/calibrate runtime/guard/budget.py".
# TESTS="..." says which tests are to notice them, MOST=20 draws so many faults a file, MINUTES=5 stops a file
# after so long. Not a part of test.
.PHONY: mutants
mutants: $(VENV)/.mutants
	$(if $(FILES),,$(error make mutants FILES="FILE.py or FOLDER ..." [TESTS="PATH ..."] [MOST=N] [MINUTES=M]))
	$(PY) .ci/mutants $(FILES) $(if $(TESTS),--tests $(TESTS)) $(if $(MOST),--most $(MOST)) \
		$(if $(MINUTES),--minutes $(MINUTES))

$(VENV)/.mutants: $(VENV)/.dev
	$(PY) -m pip install --quiet --disable-pip-version-check -e ".[mutants]"
	touch $@

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

# dev comes after export, so that its CUDA compiler takes the toolkit that torch has pinned.
# imagecorruptions-imaug comes without dependencies: its opencv-python would overwrite the headless one.
# sc2bench (a peer) and torchdistill come without dependencies: nothing here uses the compiler's tools they name.
$(VENV)/.dev: pyproject.toml | $(PY)
	$(PY) -m pip install --quiet --disable-pip-version-check -e ".[cpu,bench,export]"
	$(PY) -m pip install --quiet --disable-pip-version-check -e ".[cpu,bench,export,serve,dev]"
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps "imagecorruptions-imaug>=1.1.5" \
		"sc2bench==0.1.1" "torchdistill>=1.1"
	touch $@ $(VENV)/.bench
