# Builds the layer from wheels alone, so that any machine with pip can build for any other.
#
# SAM gives a make build no architecture. The layer's ContextPath in template.yaml holds the
# Architecture parameter, so that SAM runs arm64/Makefile or x86_64/Makefile, which set MACHINE and
# include this file. The working directory is a copy of the directory that this file is in.
#
# Two builds of one lock are the same, byte for byte, whatever Python runs pip: what pip notes about
# itself (RECORD, INSTALLER, REQUESTED, direct_url.json), its scripts, and bytecode are left out, and
# modes are set, which SAM zips with the files.
PYTHON ?= python3
PACKAGES := $(ARTIFACTS_DIR)/python

.PHONY: build-DependenciesLayer

# --no-deps: the lock is complete; pip would read markers for the Python that runs it
build-DependenciesLayer:
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-input --no-compile \
	  --require-hashes --no-deps --only-binary=:all: --implementation cp --python-version 3.13 \
	  --platform manylinux_2_28_$(MACHINE) --platform manylinux_2_17_$(MACHINE) \
	  --platform manylinux2014_$(MACHINE) \
	  --target "$(PACKAGES)" -r requirements.txt
	rm -rf "$(PACKAGES)/bin"
	find "$(PACKAGES)" -type d \( -name __pycache__ -o -name tests \) -prune -exec rm -rf {} +
	find "$(PACKAGES)" -type f \( -name '*.pyi' -o -name py.typed \) -delete
	find "$(PACKAGES)" -path '*.dist-info/*' -type f \( -name RECORD -o -name INSTALLER \
	  -o -name REQUESTED -o -name direct_url.json \) -delete
	find "$(PACKAGES)" -type d -exec chmod 755 {} +
	find "$(PACKAGES)" -type f -exec chmod 644 {} +
