# Everything runs in .venv, which the first target that needs it builds. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help run check test lint docs docs-tables structure lock bench bench-quick image clean

BIN := .venv/bin
SETUP := $(wildcard tools/*.py tools/*.lock)
# The first of these that starts and is 3.11 to 3.13 builds .venv; pyenv's may exist and not start.
PYTHONS := $(or $(PYTHON),python3 python3.12 python3.13 python3.11 /usr/bin/python3)
IS_SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

define bootstrap
@for python in $(PYTHONS); do \
	if "$$python" -c '$(IS_SUPPORTED)' >/dev/null 2>&1; then \
		exec "$$python" tools/bootstrap.py $(1); \
	fi; \
done; \
echo "set-up failed: Python 3.11, 3.12 or 3.13 is needed, and none of these is one:" \
	"$(PYTHONS). Install one, or name it: make PYTHON=/path/to/python3.12" >&2; \
exit 2
endef

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

run: .venv/.ready ## run the flights pipeline: twelve months of data to a published model
	@echo "run: ordain run examples/flights"
	@$(BIN)/ordain run examples/flights

# Tests that import no framework, start no process and compute for less than a second: tests/conftest.py
# sets the marks. Two processes, as the machine of CI has two cores.
CHECK := -n 2 --dist loadfile -m "not framework and not process and not slow" tests/unit
# All others. Integration tests first, in their order: xdist would leave the longest files, which have
# few tests, to the end, where one process waits for the other. Three processes where there are two
# cores: a third of the time a test waits for a server, a clock or a process of its own.
OTHERS := -n 3 --dist loadfile --no-loadscope-reorder -m "framework or process or slow" \
	tests/integration tests/unit

check: lint ## lint, and the unit tests that need no framework and no process: under a minute
	@echo "check: pytest $(subst ",',$(CHECK))"
	@$(BIN)/python -m pytest $(CHECK)

test: check ## check, then all other unit and integration tests, then the end-to-end run
	@echo "test: pytest $(subst ",',$(OTHERS))"
	@$(BIN)/python -m pytest $(OTHERS)
	@echo "test: pytest tests/e2e"
	@$(BIN)/python -m pytest tests/e2e

lint: .venv/.ready ## ruff, mypy, and lint-imports: imports run downwards only
	@echo "lint: ruff check"
	@$(BIN)/ruff check
	@echo "lint: ruff format --check"
	@$(BIN)/ruff format --check
	@echo "lint: mypy"
	@$(BIN)/mypy
	@echo "lint: lint-imports"
	@$(BIN)/lint-imports

structure: .venv/.ready ## draw the rooms of the package; fail on circles and imports that run up
	@$(BIN)/python tools/structure.py

docs: .venv/.ready ## build the pages of docs/ as a site in build/docs; a broken link fails
	@echo "docs: sphinx-build into build/docs"
	@$(BIN)/sphinx-build --quiet --nitpicky --fail-on-warning --keep-going docs build/docs
	@echo "docs: open build/docs/index.html"

docs-tables: .venv/.ready ## write the tables of docs/configuration.md from the models
	@$(BIN)/python tools/config_tables.py

lock: ## renew the locks from setup.py and tools/*.in, and install them
	$(call bootstrap,--lock)

bench: .venv/.ready ## measure speed and size beside the peers
	@echo "bench: benchmarks/run.py"
	@$(BIN)/python benchmarks/run.py

bench-quick: .venv/.ready ## hold speed and size against the plain script's, on one month
	@echo "bench-quick: benchmarks/quick.py"
	@$(BIN)/python benchmarks/quick.py

# Whichever builder is there. IMAGE_OPTIONS go to it as they are: --secret, --network, --platform.
VERSION := $(shell sed -n 's/^ *version="\(.*\)",/\1/p' setup.py)
IMAGE ?= localhost/ordain:$(VERSION)
PROJECT ?= examples/flights
BUILDER ?= $(shell docker info >/dev/null 2>&1 && echo docker || command -v podman || command -v buildah)

image: ## build the container image with a project in it: make image PROJECT=examples/flights
	@test -n "$(BUILDER)" || { echo "image: docker, podman or buildah is needed to build it" >&2; exit 2; }
	@test -f "$(PROJECT)/pipeline.yaml" || { echo "image: $(PROJECT)/pipeline.yaml is not there;" \
		"PROJECT is a folder of this repository that holds one" >&2; exit 2; }
	@echo "image: $(IMAGE) with $(PROJECT), built by $(notdir $(BUILDER))"
	@DOCKER_BUILDKIT=1 $(BUILDER) build --file kubeflow/Dockerfile --tag "$(IMAGE)" \
		--build-arg PROJECT="$(PROJECT)" --build-arg VERSION="$(VERSION)" \
		--build-arg REVISION="$$(git describe --always --dirty --abbrev=40 --exclude='*')" \
		--build-arg SOURCE="$$(git config remote.origin.url | sed 's#//[^@/]*@#//#')" \
		$(IMAGE_OPTIONS) .

clean: ## remove .venv and the caches; var/ with its runs and models stays
	@echo "clean: .venv, build products and caches"
	@rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	@find . -name __pycache__ -type d -prune -not -path './var/*' -exec rm -rf {} +

# An environment that was moved with its folder does not start: the stamp names the folder.
ifneq ($(shell cat .venv/.ready 2>/dev/null),$(shell pwd -P))
.PHONY: .venv/.ready
endif
.venv/.ready: requirements.lock requirements-dev.lock setup.py $(SETUP)
	$(call bootstrap)
