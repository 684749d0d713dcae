# Everything runs from .venv, made here with nothing but Python 3.11+ and make.
PYTHON ?= python3
BIN := .venv/bin
RUNS ?= runs
DATA ?= ../shared/data
ROOM ?= metrics
SAMPLE ?= 40
WORKERS ?= 2
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export OMP_NUM_THREADS ?= 2

# Versions come from constraints.txt, hashes from PyPI, for every system and Python from 3.11 on.
LOCK := $(BIN)/uv pip compile -q --constraint constraints.txt --generate-hashes --universal --python-version 3.11 \
	--no-annotate --custom-compile-command "make lock" --default-index https://pypi.org/simple
# The serving image takes torch without CUDA from PyTorch's own index.
CUDA_PACKAGES := $(shell sed -nE 's/^((nvidia|cuda)-[a-z0-9-]+|torch|torchvision|triton)==.*/--no-emit-package=\1/p' constraints.txt)

.PHONY: demo test slow real real-full anatomy evidence recipes bench mutate lint lock sbom audit digests release clean

demo: .venv/installed
	$(BIN)/medprior demo $(RUNS)/demo

# Files are shared out to processes that each compute with one thread.
test: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow and not gpu"

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

# What images and checkouts install, with hashes: after a change of pyproject.toml or constraints.txt.
lock: .venv/installed
	printf 'pip\nsetuptools\nwheel\n' | $(LOCK) - -o docker/locks/build.lock
	$(LOCK) pyproject.toml --extra test --extra lint --extra release -o docker/locks/checkout.lock
	echo boto3 | $(LOCK) pyproject.toml - --extra cluster --extra s3 --extra export --extra postgres --extra server -o docker/locks/training.lock
	$(LOCK) pyproject.toml $(CUDA_PACKAGES) -o docker/locks/serving.lock

# A software bill of materials (CycloneDX 1.6, JSON) of each image, for a release.
sbom: .venv/installed
	mkdir -p dist
	for image in training serving; do $(BIN)/cyclonedx-py requirements docker/locks/$$image.lock --pyproject pyproject.toml \
		--output-reproducible --validate --of JSON -o dist/medprior-$$image.cdx.json || exit 1; done

# Known faults of the packages in the images: asks the advisories of PyPI, so it needs the network.
audit: .venv/installed
	for list in build training serving; do \
		$(BIN)/pip-audit --disable-pip --require-hashes -r docker/locks/$$list.lock || exit 1; done

# Refuses images that are named without their digest; docker/pin_images.sh writes digests where a registry is reached.
digests:
	@if grep -nE '^(FROM| +image:) ' docker/*ockerfile docker/compose.yaml | grep -vE '@sha256:[0-9a-f]{64}|image: medprior:'; \
		then echo 'no digest: run docker/pin_images.sh where Docker reaches the registries' >&2; exit 1; fi

# What a release needs; nothing is published.
release: digests audit sbom

.venv/installed: pyproject.toml docker/locks/build.lock docker/locks/checkout.lock
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "medprior needs Python 3.11 or newer, found " + sys.version.split()[0] + "; call make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --require-hashes -r docker/locks/build.lock
	$(BIN)/python -m pip install -q --require-hashes --no-build-isolation -r docker/locks/checkout.lock
	$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	touch $@

clean:
	rm -rf .venv runs .pytest_cache .mypy_cache .ruff_cache
