# Each target sets up what it needs in .venv. A stamp file for each set of extras says that it is installed.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python

FLOORS := .venv-floors
OLDEST = $(shell for python in python3.10 $(HOME)/.pyenv/versions/3.10.*/bin/python $(PYTHON); do \
	$$python -c "" 2>/dev/null && echo $$python && break; done)
FLOOR_EXTRAS ?= cpu,serve,otel,bench

.PHONY: setup bench docs test test-slow test-floors locks aarch64-check container-check jetson-check lint format clean

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

# The main job with the lowest versions that pyproject.toml allows, on the oldest Python that is found.
test-floors:
	$(OLDEST) -m venv --clear $(FLOORS)
	$(FLOORS)/bin/python tests/floors.py --constraints > $(FLOORS)/constraints.txt
	$(FLOORS)/bin/python -m pip install --quiet --disable-pip-version-check \
		-c $(FLOORS)/constraints.txt -e ".[$(FLOOR_EXTRAS)]"
	$(FLOORS)/bin/python -m tests.floors

# Writes the lock files anew: newest versions that pyproject.toml allows, with the hashes of their files.
UV = $(VENV)-locks/bin/uv pip compile --quiet --upgrade --no-header --no-annotate --generate-hashes
locks:
	$(PYTHON) -m venv --clear $(VENV)-locks
	$(VENV)-locks/bin/python -m pip install --quiet --disable-pip-version-check uv
	echo "setuptools>=77" | $(UV) --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
		--extra cpu --extra bench --extra export --extra serve --extra dev pyproject.toml - -o .ci/locks/dev.txt
	printf '%s\n' "imagecorruptions-imaug>=1.1.5" "sc2bench==0.1.1" "torchdistill>=1.1" | \
		$(UV) --no-deps - -o .ci/locks/peers.txt
	printf '%s\n' "setuptools>=77" coloredlogs flatbuffers packaging protobuf sympy | \
		$(UV) --universal --python-version 3.10 --extra jetson --extra bench pyproject.toml - -o docker/jetson.txt
	echo "setuptools>=77" | $(UV) --universal --python-version 3.11 --extra cpu --extra serve \
		pyproject.toml - -o docker/server.txt
	$(call BOARD,"cuda-bindings<13",3.10,2_35,jetpack6.txt)
	$(call BOARD,,3.12,2_39,jetpack7.txt)
	$(call BOARD,,3.11,2_36,debian12.txt)
	rm -rf $(VENV)-locks

# Of a board one file each, which holds for its Python and glibc alone. JetPack 6 has CUDA 12.
WHEELHOUSES := runtime/cli/deploy/wheelhouses
BOARD = printf '%s\n' coloredlogs flatbuffers packaging protobuf sympy $(1) | $(UV) --only-binary :all: \
	--extra cpu --extra jetson --extra bench --python-version $(2) --python-platform aarch64-manylinux_$(3) \
	pyproject.toml - -o $(WHEELHOUSES)/$(4)

# Needs root on Debian or Ubuntu, and an hour and more: docs/aarch64.md.
aarch64-check: $(VENV)/.bench
	.ci/aarch64-check

# Builds and starts the server's image without a daemon or a registry: needs root on Debian or Ubuntu, docs/deploy.md.
container-check:
	.ci/container-check

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
	rm -rf $(VENV) $(FLOORS)

$(PY):
	$(PYTHON) -m venv $(VENV)

$(VENV)/.bench: pyproject.toml | $(PY)
	$(PY) -m pip install --quiet --disable-pip-version-check -e ".[cpu,bench]"
	touch $@

# LOCKED=1 (x86-64 Linux, Python 3.11) installs exactly what .ci/locks names, each file checked against its hash.
# dev comes after export, so that its CUDA compiler takes the toolkit that torch has pinned.
# imagecorruptions-imaug comes without dependencies: its opencv-python would overwrite the headless one.
# sc2bench (a peer) and torchdistill come without dependencies: nothing here uses the compiler's tools they name.
$(VENV)/.dev: pyproject.toml | $(PY)
ifdef LOCKED
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r .ci/locks/dev.txt
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r .ci/locks/peers.txt
	$(PY) -m pip install --quiet --disable-pip-version-check --no-index --no-build-isolation \
		-e ".[cpu,bench,export,serve,dev]"  # fails where the lock file lacks a package: make locks
else
	$(PY) -m pip install --quiet --disable-pip-version-check -e ".[cpu,bench,export]"
	$(PY) -m pip install --quiet --disable-pip-version-check -e ".[cpu,bench,export,serve,dev]"
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps "imagecorruptions-imaug>=1.1.5" \
		"sc2bench==0.1.1" "torchdistill>=1.1"
endif
	touch $@ $(VENV)/.bench
