# The project's commands. Each installs the tools that it needs.
# PYTHON chooses the interpreter: make test PYTHON=/usr/bin/python3
PYTHON ?= python3
BIN := .venv/bin
SAM_BIN := .venv-sam/bin
OTHER_PYTHONS ?= /usr/bin/python3 python3.12 python3.13 python3.14
# test processes at a time
WORKERS ?= 2
# comments in the example stacks address their readers
EXAMPLES_LINTING := --ignore-checks I4010
LAYER := layers/dependencies
PEERS := benchmarks/.peers
# where builds of the function look, too
RUNTIME_PYTHONS := python3.13 $(wildcard $(HOME)/.pyenv/versions/3.13*/bin/python3.13 \
  $(HOME)/.local/share/uv/python/cpython-3.13*/bin/python3.13)

export PYTHONPATH := $(CURDIR)/handler:$(CURDIR)
export PATH := $(CURDIR)/.venv-sam/bin:$(CURDIR)/.venv-registries/bin:$(PATH)
export SAM_CLI_TELEMETRY := 0
# images of Python set it: each of the tests' many processes would compile all that it imports
unexport PYTHONDONTWRITEBYTECODE
unexport VIRTUAL_ENV

.PHONY: help
help: ## list the commands
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

# ---- environments ---------------------------------------------------------------------------

REQUIRED := Python 3.11 or later is required

.PHONY: python dev sam cdk registries runtime sbom-tool
python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "$(REQUIRED); $(PYTHON) is $$("$(PYTHON)" --version 2>&1 || true)" >&2; \
	  echo "Choose another with: make PYTHON=/path/to/python3" >&2; exit 1; }

dev: python
	@"$(PYTHON)" .ci/environment.py dev .venv

sam: dev
	@"$(PYTHON)" .ci/environment.py sam .venv-sam

cdk: dev
	@"$(PYTHON)" .ci/environment.py cdk .venv-cdk

registries: dev
	@"$(PYTHON)" .ci/environment.py registries .venv-registries

# Lambda's Python for the built function; bytecode stands in for Lambda's own, which has it
runtime: dev
	@for python in "$(RUNTIME_PYTHON)" $(RUNTIME_PYTHONS); do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null || continue; \
	  "$$python" .ci/environment.py runtime .venv-runtime || exit 1; \
	  exec .venv-runtime/bin/python -m compileall -q .venv-runtime/lib; \
	done; \
	echo "Python 3.13 is required: install it, or name it with RUNTIME_PYTHON=/path/to/python3.13" >&2; \
	exit 1

sbom-tool: dev
	@"$(PYTHON)" .ci/environment.py sbom .venv-sbom

# ---- running it -----------------------------------------------------------------------------

.PHONY: demo cloud invoke
demo: dev ## copy an image on a local cloud, twice; LOGS=1 shows the function's log lines
	@$(BIN)/python -m local.demo $(if $(LOGS),--logs)

cloud: dev ## registries, AWS and a CloudFormation endpoint on loopback, until Ctrl-C
	@$(BIN)/python -m local $(ARGS)

invoke: dev sam ## send EVENT=events/….json to the function, with make cloud running
	@test -n "$(EVENT)" || { echo "Choose an event: make invoke EVENT=events/….json" >&2; exit 2; }
	@$(BIN)/python -m local.invoke $(if $(LOGS),--logs) $(ARGS) $(EVENT)

# ---- tests ----------------------------------------------------------------------------------

# a test that hangs ends its process: do not start it again in another one
PYTEST := $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --max-worker-restart=0
# the longest files first, so that all processes end at about the same time
QUICK_FOLDERS := tests/local tests/documents tests/unit
TEST_FOLDERS := tests/faults tests/functional $(QUICK_FOLDERS)
INTEROP_FOLDERS := tests/interop tests/examples
COVERAGE := --cov --cov-append --cov-report=

.PHONY: unit test interop coverage soak test-versions
unit: dev ## unit tests: no sockets, no other program
	$(PYTEST) tests/unit

test: dev sam ## unit, functional and fault tests, with coverage
	$(BIN)/python -m coverage erase
	$(PYTEST) $(COVERAGE) $(TEST_FOLDERS)
	$(BIN)/python -m coverage report

interop: dev sam cdk registries ## tests with other programs: registries, nginx, skopeo, SAM, CDK, moto
	$(PYTEST) $(COVERAGE) $(INTEROP_FOLDERS)

coverage: dev ## what the tests above have executed: lines and branches
	$(BIN)/python -m coverage report

soak: dev ## run the suite again and again under load: RUNS=20 TESTS="tests/unit tests/functional"
	$(BIN)/python -m tests.soak $(if $(RUNS),--runs $(RUNS)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(PARALLEL),--parallel $(PARALLEL)) $(TESTS)

test-versions: ## unit and functional tests and the demo on each other Python that is installed
	@PYTHONS="$(OTHER_PYTHONS)" WORKERS=$(WORKERS) .ci/test-versions

# ---- checks ---------------------------------------------------------------------------------

.PHONY: check lint types contracts template pages hooks
check: lint types contracts template test interop coverage ## what CI runs, on this Python

lint: dev ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: dev ## mypy, strict
	$(BIN)/mypy handler local tests benchmarks .ci
	cd examples/cdk && ../../$(BIN)/mypy --config-file ../../pyproject.toml .

# import-linter reads packages, so each entry point, a module, is shown to it as a package
contracts: dev ## which package may import which
	@for module in app responder; do mkdir -p .contracts/$$module \
	  && ln -sf ../../handler/$$module.py .contracts/$$module/__init__.py || exit 1; done
	PYTHONPATH="$(CURDIR)/.contracts:$$PYTHONPATH" $(BIN)/lint-imports --config .importlinter --no-cache

template: dev sam ## cfn-lint and sam validate
	$(BIN)/cfn-lint --template template.yaml organization.yaml monitoring.yaml
	$(BIN)/cfn-lint $(EXAMPLES_LINTING) --template examples/cloudformation/*.yaml
	for each in template.yaml organization.yaml monitoring.yaml; do \
	  $(SAM_BIN)/sam validate --lint --template $$each --region eu-west-1 || exit 1; done

pages: dev ## the documentation: links, names and numbers
	$(BIN)/python -m pytest -q --ignore=tests/documents/test_troubleshooting.py \
	  tests/documents tests/unit/test_documentation.py

hooks: ## run the quick checks before each commit
	git config core.hooksPath .githooks

# ---- building -------------------------------------------------------------------------------

.PHONY: build release sbom lock
build: sam ## the function and its layer, as `sam deploy` uploads them
	$(SAM_BIN)/sam build --template template.yaml

release: dev ## zip files, packaged template, wheel, bill of materials and checksums in dist/
	$(BIN)/python .ci/release.py

# from an environment with the layer's packages alone: licences stand in installed packages
sbom: sbom-tool ## the software bill of materials of the layer
	$(BIN)/uv venv --quiet --clear --no-project --python $(BIN)/python .venv-layer
	$(BIN)/uv pip sync --quiet --python .venv-layer/bin/python --require-hashes $(LAYER)/requirements.txt
	.venv-sbom/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	  --output-format JSON --output-file - .venv-layer/bin/python | $(BIN)/python .ci/bill_of_materials.py \
	  > $(LAYER)/.sbom && mv $(LAYER)/.sbom $(LAYER)/sbom.cdx.json

EXPORT := $(BIN)/uv export --quiet --frozen --no-header --no-emit-project

lock: dev ## update every locked package, and what is derived from the lock
	$(BIN)/uv lock --upgrade
	$(MAKE) exports

.PHONY: exports
exports: dev ## the requirement files that are derived from uv.lock
	$(EXPORT) --only-group installer --no-annotate -o .ci/uv.txt >/dev/null
	$(EXPORT) --group function --prune rich --prune pyyaml -o $(LAYER)/requirements.txt >/dev/null
	$(EXPORT) --only-group cdk --prune cdk-ecr-deployment -o examples/cdk/requirements.txt >/dev/null
	$(MAKE) sbom

# ---- benchmarks -----------------------------------------------------------------------------

$(PEERS)/bootstrap: benchmarks/peers.txt | dev
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
	  --dest $(PEERS) -r benchmarks/peers.txt
	$(BIN)/python -m benchmarks.peers $(PEERS) $(PEERS)

# for this machine: `make build` builds for the template's default
BENCH_BUILD := .aws-sam/bench
.PHONY: bench-build bench record
bench-build: sam
	$(SAM_BIN)/sam build --template template.yaml --build-dir $(BENCH_BUILD) \
	  --parameter-overrides Architecture=$(subst aarch64,arm64,$(shell uname -m))

BENCH := $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY)) $(if $(ROWS),--rows "$(ROWS)") \
  $(if $(REPEATS),--repeats $(REPEATS)) $(if $(QUICK)$(ONLY)$(ROWS),,--output benchmarks/RESULTS.md)
bench: dev runtime bench-build $(PEERS)/bootstrap ## compare with other programs; QUICK=1 takes five minutes
	$(BIN)/python -m benchmarks $(BENCH)

record: dev ## count the hot path's instructions and keep them to compare with
	$(BIN)/python -m benchmarks.instructions

.PHONY: clean
clean: ## remove what the commands above have made
	rm -rf .venv .venv-* .aws-sam dist .coverage* .contracts
