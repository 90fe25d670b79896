# Builds the layer from wheels alone, so that any machine with pip can build for any other.
#
# SAM gives a make build no architecture. The layer's ContextPath in template.yaml holds the
# Architecture parameter, so that SAM runs arm64/Makefile or x86_64/Makefile, which set MACHINE and
# include this file. The working directory is a copy of the directory that this file is in.
#
# Two builds of one lock are the same, byte for byte, whatever Python runs pip, if the same Python
# 3.13 compiles the bytecode. SAM zips the files with their modes, so those are set, too.
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
	$(PYTHON) trim.py "$(PACKAGES)"
	$(COMPILE)
	find "$(PACKAGES)" -type d -exec chmod 755 {} +
	find "$(PACKAGES)" -type f -exec chmod 644 {} +

# Bytecode for Lambda's Python, which loads it without a look at the sources (PEP 552). Lambda's file
# system is read-only: a module without bytecode is compiled again in every cold start.
# RUNTIME_PYTHON names the interpreter to compile with.
define COMPILE
@for python in "$(RUNTIME_PYTHON)" python3.13 "$(HOME)"/.pyenv/versions/3.13*/bin/python3.13 \
  "$(HOME)"/.local/share/uv/python/cpython-3.13*/bin/python3.13 python3; do \
    "$$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null || continue; \
    PYTHONHASHSEED=0 exec "$$python" -I -m compileall -q --invalidation-mode unchecked-hash \
      -s "$(ARTIFACTS_DIR)" -p /opt "$(PACKAGES)"; \
done; \
echo "Python 3.13 was not found, so the layer has no bytecode: it works, but each cold start takes" \
  "about 0.4 s of CPU longer. Install Python 3.13, name it with RUNTIME_PYTHON=, or run" \
  "'sam build --use-container'." >&2
endef
