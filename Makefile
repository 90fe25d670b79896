# The project's commands. Each sets up what it needs; a fresh machine wants Python 3.11 or later.
PYTHON ?= python3
VENV := .venv
SAM_VENV := .venv-sam
CDK_VENV := .venv-cdk
SBOM_VENV := .venv-sbom
LAYER_VENV := .venv-layer
OTHER_PYTHONS := 3.12 3.13 3.14
# as template.yaml has it
RUNTIME := 3.13
BIN := $(CURDIR)/$(VENV)/bin
SAM_BIN := $(CURDIR)/$(SAM_VENV)/bin
CDK_BIN := $(CURDIR)/$(CDK_VENV)/bin
# stacks to copy say why in comments, where their readers look
EXAMPLES_LINTING := --ignore-checks I4010
export PYTHONPATH := $(CURDIR)/handler:$(CURDIR)
export PATH := $(SAM_BIN):$(PATH)
export SAM_CLI_TELEMETRY := 0
# images of Python set it: each of the tests' many processes would compile all that it imports
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo cloud test test-versions check lint types contracts template pages hooks build sbom bench record lock clean

help: ## what there is to run
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.ready: requirements-dev.txt requirements-uv.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.txt
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements-dev.txt requirements-uv.txt
	@touch $@

$(SAM_VENV)/.ready: requirements-sam.txt $(VENV)/.ready
	$(PYTHON) -m venv $(SAM_VENV)
	$(BIN)/uv pip sync --quiet --python $(SAM_BIN)/python --require-hashes requirements-sam.txt
	@touch $@

$(CDK_VENV)/.ready: requirements-cdk.txt $(VENV)/.ready
	$(PYTHON) -m venv $(CDK_VENV)
	$(BIN)/uv pip sync --quiet --python $(CDK_BIN)/python --require-hashes requirements-cdk.txt
	@touch $@

$(SBOM_VENV)/.ready: requirements-sbom.txt $(VENV)/.ready
	$(PYTHON) -m venv $(SBOM_VENV)
	$(BIN)/uv pip sync --quiet --python $(SBOM_VENV)/bin/python --require-hashes requirements-sbom.txt
	@touch $@

demo: $(VENV)/.ready ## replicate an image on an embedded cloud, twice
	@$(BIN)/python -m local.demo

cloud: $(VENV)/.ready ## registries and a CloudFormation endpoint on loopback, until Ctrl-C
	@$(BIN)/python -m local

# two files at a time, in their order: last are tests/unit, which are quick, so that both end together
IN_COMPANY := -n 2 --dist loadfile --no-loadscope-reorder

test: $(VENV)/.ready $(SAM_VENV)/.ready $(CDK_VENV)/.ready ## every test, with branch coverage
	$(BIN)/python -m coverage erase
	$(BIN)/python -m pytest --cov --cov-report= $(IN_COMPANY)

# pyenv hides a version that is not chosen: choose all
test-versions: $(VENV)/.ready ## unit tests on the other Pythons that are installed, functional ones on Lambda's
	@export PYENV_VERSION="$$(pyenv versions --bare 2>/dev/null | paste -sd: -)"; \
	for version in $(OTHER_PYTHONS); do \
	  python=$$($(BIN)/uv python find --no-python-downloads --no-project $$version 2>/dev/null) \
	    || { echo "Python $$version is not installed: skipped"; continue; }; \
	  echo "Python $$version"; \
	  $(BIN)/uv venv --quiet --clear --no-project --python "$$python" .venv-$$version \
	    && $(BIN)/uv pip sync --quiet --python .venv-$$version/bin/python --require-hashes \
	      requirements-dev.txt \
	    && .venv-$$version/bin/python -m pytest -q $(IN_COMPANY) tests/unit \
	      $$([ $$version = $(RUNTIME) ] && echo tests/functional) \
	    || exit 1; \
	done

check: lint types contracts template test ## what CI runs

lint: $(VENV)/.ready ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.ready ## mypy, strict
	$(BIN)/mypy handler local tests benchmarks
	cd examples/cdk && $(BIN)/mypy --config-file ../../pyproject.toml .

# import-linter reads packages: the entry points, which are modules, are shown to it as two
contracts: $(VENV)/.ready ## who may import whom
	@for module in app responder; do mkdir -p .contracts/$$module \
	  && ln -sf ../../handler/$$module.py .contracts/$$module/__init__.py || exit 1; done
	PYTHONPATH="$(CURDIR)/.contracts:$$PYTHONPATH" $(BIN)/lint-imports --config .importlinter --no-cache

template: $(VENV)/.ready $(SAM_VENV)/.ready ## cfn-lint and sam validate
	$(BIN)/cfn-lint --template template.yaml organization.yaml
	$(BIN)/cfn-lint $(EXAMPLES_LINTING) --template examples/cloudformation/*.yaml
	for each in template.yaml organization.yaml; do \
	  $(SAM_BIN)/sam validate --lint --template $$each --region eu-west-1 || exit 1; done

pages: $(VENV)/.ready ## the documentation: links, names and numbers; its sentences are with the tests
	$(BIN)/python -m pytest -q -k "not mishap" tests/documents tests/unit/test_documentation.py

hooks: ## check what is quick before each commit
	git config core.hooksPath .githooks

build: $(SAM_VENV)/.ready ## the function and its layer, as sam deploy ships them
	$(SAM_BIN)/sam build --template template.yaml

LAYER := layers/dependencies

# a page of links about the tool itself is no part of the bill
define WITHOUT_TOOLS_LINKS
import json, sys
bill = json.load(sys.stdin)
for tool in bill["metadata"]["tools"]["components"]:
    tool.pop("externalReferences", None)
print(json.dumps(bill, indent=2, ensure_ascii=False))
endef
export WITHOUT_TOOLS_LINKS

# of an environment that has the layer's packages and nothing else, as licences stand in those
sbom: $(SBOM_VENV)/.ready ## the layer's bill of materials, by its lock
	$(BIN)/uv venv --quiet --clear --no-project --python $(BIN)/python $(LAYER_VENV)
	$(BIN)/uv pip sync --quiet --python $(LAYER_VENV)/bin/python --require-hashes \
	  $(LAYER)/requirements.txt
	$(SBOM_VENV)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	  --output-format JSON --output-file - $(LAYER_VENV)/bin/python | $(BIN)/python -c "$$WITHOUT_TOOLS_LINKS" \
	  > $(LAYER)/.sbom && mv $(LAYER)/.sbom $(LAYER)/sbom.cdx.json

PEERS := benchmarks/.peers

$(PEERS)/bootstrap: benchmarks/peers.txt $(VENV)/.ready
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
	  --dest $(PEERS) -r benchmarks/peers.txt
	$(BIN)/python -m benchmarks.peers $(PEERS) $(PEERS)

bench: $(VENV)/.ready $(SAM_VENV)/.ready $(PEERS)/bootstrap $(if $(QUICK),,build) ## beside other programs; QUICK=1 in two minutes
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick,--output benchmarks/RESULTS.md) $(if $(REPEATS),--repeats $(REPEATS))

record: $(VENV)/.ready ## keep the hot path's instruction counts to compare with
	$(BIN)/python -m benchmarks.instructions

lock: $(VENV)/.ready ## pin every requirement again, with hashes
	for each in layers/dependencies/requirements requirements-uv requirements-shell \
	  requirements-dev requirements-sam requirements-sbom examples/cdk/requirements \
	  requirements-cdk; do \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	    --upgrade $$each.in -o $$each.txt || exit 1; done
	$(MAKE) sbom

clean: ## what the commands above have made
	rm -rf $(VENV) $(SAM_VENV) $(CDK_VENV) $(SBOM_VENV) $(LAYER_VENV) \
	  $(OTHER_PYTHONS:%=.venv-%) .aws-sam .coverage*
