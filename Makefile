# Two commands matter: `make run` and `make test`. Both do all set-up first; doing it again is quick.

PYTHON ?= python3
PORT ?= 8501
DEFAULT_MODELS := smollm2-135m qwen2.5-coder-0.5b

bin := .venv/bin
stamp := .venv/requirements-installed

.PHONY: setup run test test-slow test-full lint format bench bench-peers models

setup: models

run: setup
	$(bin)/gearbox run --port $(PORT)

# Two processes with a thread each, for two threads each would wait for one another. `make test FILE=tests/engine/cache`
# runs a part in one, without the linters.
FILE ?=
test: setup $(if $(FILE),,lint)
	OMP_NUM_THREADS=1 $(bin)/python -m pytest $(or $(FILE),-n 2 --dist loadfile)

test-slow: setup
	$(bin)/python -m pytest -m slow

# sanitizers, whole counts, soaks and real servers: too long for every change; what a test counted is printed at the end
test-full: setup
	$(bin)/python -m pytest -m full --timeout 7200 -rP

lint: $(stamp)
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/lint-imports

format: $(stamp)
	$(bin)/ruff check --fix .
	$(bin)/ruff format .

bench: setup
	$(bin)/python -m tests.benchmarks all

# the engines that `make bench` compares with, as far as they are installed
bench-peers: $(stamp)
	CMAKE_ARGS=-DGGML_NATIVE=ON $(bin)/python -m pip install -c constraints.txt -r requirements-bench.txt

models: $(stamp)
	$(bin)/gearbox kernels
	$(bin)/gearbox models install $(DEFAULT_MODELS)

$(stamp): requirements.txt requirements-dev.txt constraints.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Gearbox needs Python 3.11 or newer.")'
	$(PYTHON) -m venv .venv
	$(bin)/python -m pip install --quiet pip==26.3
	$(bin)/python -m pip install --quiet -c constraints.txt -r requirements-dev.txt
	$(bin)/python -m pip install --quiet --no-deps --editable .
	touch $@
