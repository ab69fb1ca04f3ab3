# make help lists everything. Settings: PYTHON (to create .venv with), RECIPE, DATA, ARGS, …
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
NATIVE := $(wildcard vocoder/engines/cpu/*.h vocoder/engines/cpu/*.cpp vocoder/engines/cpu/CMakeLists.txt)
# PESQ alone is built from C; without a compiler evaluations leave it out.
EXTRAS := train,eval,serve,dev$(if $(shell command -v $(CC)),$(shell echo ,pesq))
RECIPES := $(patsubst recipes/%/train.yaml,%,$(wildcard recipes/*/train.yaml))

.DEFAULT_GOAL := help
.PHONY: help setup demo train evaluate infer test test-all test-gpu lint format types bench native-sanitize campaign clean \
        sanitize-address sanitize-thread \
        known-recipe known-model known-input

help:  ## Show this list
	@echo "Usage: make TARGET [SETTING=value]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo "Recipes: $(RECIPES)"

setup: $(STAMP)  ## Install everything into .venv, again only when pyproject.toml or C++ changed

$(STAMP): pyproject.toml $(NATIVE)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	    { echo "vocoder needs Python 3.10 or newer, but $(PYTHON) is not. Try: make setup PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/vocoder && echo "Installing again into $(VENV): pyproject.toml or C++ changed ..." || \
	    echo "Setting up $(VENV): this happens once, and takes a few minutes and about 5 GB (torch with CUDA) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$(EXTRAS)]"
	@touch $@
	@echo "Ready. $(BIN)/vocoder --help shows the commands."

demo: $(STAMP)  ## Hear the voice that ships at once, then train one for two minutes: a page to listen to of each
	$(BIN)/vocoder demo --output-dir runs/hear --overwrite
	@echo "That was the voice that ships. Now another is trained for two minutes, and is measured in the end ..."
	$(BIN)/vocoder fit --config recipes/demo/train.yaml --run.overwrite true $(ARGS)
	$(BIN)/vocoder export --overwrite runs/demo/checkpoints/last.ckpt runs/demo/bundle
	$(BIN)/vocoder evaluate --model runs/demo/bundle --corpus recipes/demo --output-dir runs/demo/evaluation \
	    --seconds 2 --overwrite
	@echo "Two pages to listen to:"
	@echo "  runs/hear/report/index.html             the voice that ships, universal, beside the recording that it copies"
	@echo "  runs/demo/evaluation/report/index.html  what you have just trained: rough, after two minutes"
	@echo "Next:"
	@echo "  use this model          make infer MODEL=runs/demo/bundle INPUTS=speech.wav OUTPUT=generated"
	@echo "  train your own voice    make train RECIPE=folder DATA=/path/to/recordings"

train: known-recipe $(STAMP)  ## Train: RECIPE=ljspeech [DATA=/path/to/corpus] [ARGS="--trainer.max_steps 1000"]
	$(BIN)/vocoder fit --config recipes/$(RECIPE)/train.yaml $(if $(DATA),--data.root "$(DATA)") $(ARGS)

evaluate: known-model $(STAMP)  ## Measures and a page to listen to: MODEL=my-voice DATA=/path/to/corpus [OUTPUT=runs/evaluation]
	$(BIN)/vocoder evaluate --model "$(MODEL)" --corpus "$(DATA)" \
	    --output-dir "$(if $(OUTPUT),$(OUTPUT),runs/evaluation)" $(ARGS)

infer: known-input $(STAMP)  ## Make waveforms: MODEL=runs/demo/bundle INPUTS="a.wav b.npy" OUTPUT=folder
	$(BIN)/vocoder infer --model "$(MODEL)" --output-dir "$(OUTPUT)" $(ARGS) $(INPUTS)

test: $(STAMP)  ## Run the tests, without the slow ones, a file on each core: [ARGS="-k causality"]
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile $(ARGS)

test-all: $(STAMP)  ## Run all tests
	$(BIN)/python -m pytest -m "" $(ARGS)

test-gpu: $(STAMP)  ## Run the tests that need a CUDA device, and skip themselves without one
	$(BIN)/python -m pytest -m gpu $(ARGS)

lint: $(STAMP)  ## Check style, format, types and spelling; changes nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

format: $(STAMP)  ## Format the code and repair what ruff can repair
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)  ## Check the types alone
	$(BIN)/mypy

bench: $(STAMP)  ## Measure how fast this machine generates: [ARGS="--network wavenet-128 --precision fp32,w8a16"]
	$(BIN)/vocoder bench $(ARGS)

native-sanitize: sanitize-address sanitize-thread  ## Test the C++ engine under GCC's sanitizers of memory and threads

# Each runs the tests of the engines with a library of its own below build/. Only that is instrumented: Python leaks by
# itself, and what torch's threads do is not ours to judge.
sanitize-address: export ASAN_OPTIONS = detect_leaks=0
sanitize-address: export UBSAN_OPTIONS = print_stacktrace=1
sanitize-address: KIND = address,undefined
sanitize-address: RUNTIME = libasan.so
sanitize-thread: export TSAN_OPTIONS = ignore_noninstrumented_modules=1
sanitize-thread: KIND = thread
sanitize-thread: RUNTIME = libtsan.so
sanitize-address sanitize-thread: $(STAMP)
	rm -rf build/$@
	CXX=$(CXX) $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target build/$@ . \
	    --config-settings cmake.define.VOCODER_SANITIZE=$(KIND) --config-settings install.strip=false
	OMP_NUM_THREADS=1 VOCODER_NATIVE_LIBRARY="$(CURDIR)/build/$@/vocoder/engines/cpu/libvocoder.so" \
	    LD_PRELOAD="$(foreach name,$(RUNTIME) libstdc++.so,$(shell $(CXX) -print-file-name=$(name)))" \
	    $(BIN)/python -m pytest --capture=sys $(ARGS) $(wildcard tests/test_engines.py tests/test_native.py tests/test_native_sizes.py \
	        tests/test_rollout.py)

campaign: $(STAMP)  ## Attack the package for as long as you like: [ARGS="--cases 100000 --kills 600 --faults 4 --soak 25"]
	cd tests && OMP_NUM_THREADS=1 $(abspath $(BIN))/python -m campaign $(ARGS)

clean:  ## Remove caches and build products; .venv and runs/ stay
	rm -rf build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache .benchmarks
	find vocoder recipes tests -name __pycache__ -type d -prune -exec rm -rf {} +

# What a command needs is asked for before anything is installed or started.
known-recipe:
	@$(if $(filter $(RECIPE),$(RECIPES)),:,$(error \
	    There is $(if $(RECIPE),no recipe "$(RECIPE)",no default recipe). Choose one of: $(RECIPES). \
	    Example: make $(firstword $(MAKECMDGOALS)) RECIPE=$(firstword $(RECIPES))))

known-model:
	@$(if $(and $(MODEL),$(DATA)),:,$(error Say which model, and on what. \
	    Example: make evaluate MODEL=runs/demo/bundle DATA=recipes/demo))

known-input:
	@$(if $(and $(MODEL),$(INPUTS),$(OUTPUT)),:,$(error Say what, with which model, and where to. \
	    Example: make infer MODEL=runs/demo/bundle INPUTS="speech.wav" OUTPUT=generated))
