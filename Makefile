PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(wildcard vnn/kernels/cpu/*.cpp vnn/kernels/cpu/*.h vnn/kernels/cpu/CMakeLists.txt)

.PHONY: demo test slow lint gpu clean

demo: $(VENV)/ready
	rm -rf vnn-demo
	$(BIN)/vnn demo

test: $(VENV)/ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m "not slow and not network"

slow: $(VENV)/ready
	$(BIN)/python -m pytest -q -s -m "slow and not network"

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# On a machine with a GPU; installs nothing. OUT is the folder of the page it writes.
gpu:
	PYTHONPATH=. OUT=$(or $(OUT),build/gpu) $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m vnn.kernels.cuda.measure

$(VENV)/ready: pyproject.toml constraints.txt $(SOURCES)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || (echo "vnn needs Python 3.11 or newer; say which with: make PYTHON=python3.12 ..." && false)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist vnn-demo
