# Everything runs from .venv, made here with nothing but Python 3.11+ and make.
PYTHON ?= python3
BIN := .venv/bin
RUNS ?= runs
DATA ?= ../shared/data
ROOM ?= metrics
SAMPLE ?= 40
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export OMP_NUM_THREADS ?= 2

.PHONY: demo test slow real real-full anatomy evidence recipes bench mutate lint clean

demo: .venv/installed
	$(BIN)/medprior demo $(RUNS)/demo

test: .venv/installed
	$(BIN)/python -m pytest -m "not slow and not gpu"

slow: .venv/installed
	$(BIN)/python -m pytest -m "slow and not gpu"

real: .venv/installed
	$(BIN)/medprior demo $(RUNS)/real --real $(DATA)

# The same study with ViT-S/16 at 224 pixels, for a GPU.
real-full: .venv/installed
	$(BIN)/medprior demo $(RUNS)/real-full --real $(DATA) --config medprior/demo/real_full.json

# Trains the model that ships in bundles/chest_xray_segmentation/models.
anatomy: .venv/installed
	$(BIN)/medprior demo $(RUNS)/anatomy --anatomy $(DATA)

# Findings from few labels, every pretraining with three seeds.
evidence: .venv/installed
	$(BIN)/medprior demo $(RUNS)/evidence --evidence $(DATA)

recipes: .venv/installed
	$(BIN)/medprior demo $(RUNS)/recipes --recipes

bench: .venv/installed
	for room in ingest cohort networks prior pretrain evaluate deploy; do $(BIN)/medprior bench $$room || exit 1; done

# Which changed decisions the tests of a room notice: make mutate ROOM=metrics SAMPLE=40
mutate: .venv/installed
	$(BIN)/python -m tests.mutate $(ROOM) --sample $(SAMPLE)

lint: .venv/installed
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "medprior needs Python 3.11 or newer, found " + sys.version.split()[0] + "; call make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[test,lint]"
	touch $@

clean:
	rm -rf .venv runs .pytest_cache .mypy_cache .ruff_cache
