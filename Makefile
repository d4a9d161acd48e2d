# make demo | serve-demo | test | test-shapes | test-all | lint | docs | docs-serve | bench | env. Every target sets up .venv by itself, once.
# Another interpreter or place:  make test PYTHON=python3.12 VENV=.venv312

VENV ?= .venv
# The first interpreter on the path that runs, is 3.11 or newer and can make a virtual environment.
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13 python3.14; do \
  $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
BIN = $(VENV)/bin
# Tests compile many small programs: two processes use two cores better than one process's threads do.
JOBS ?= 2
comma := ,
DIST = --dist loadfile --no-loadscope-reorder
# The quick tests' programs, kept for the next run, which then takes about half as long.
COMPILED ?= $(CURDIR)/build/compiled

# Many processes start: what one has compiled of the package's text serves the others.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo serve-demo test test-shapes test-all lint docs docs-serve bench env clean

demo: $(VENV)/.installed
	$(BIN)/python scripts/demo_wood.py --out demo
	$(BIN)/python scripts/demo.py --out demo
	$(BIN)/python scripts/demo_lots.py --out demo

# The service on the demo's model, which it makes where it is not there; deliveries arrive until Ctrl-C.
serve-demo: $(VENV)/.installed
	$(BIN)/python scripts/serve_demo.py --out demo $(ARGS)

test: $(VENV)/.installed
	JAX_COMPILATION_CACHE_DIR=$(COMPILED) $(BIN)/python -m pytest -m "not slow" --hypothesis-profile quick -n $(JOBS) $(DIST) $(ARGS)

# The same tests with every annotation of jaxqc checked at each call (jaxtyping and beartype).
test-shapes: $(VENV)/.installed
	JAXQC_SHAPES=1 JAX_COMPILATION_CACHE_DIR=$(COMPILED) $(BIN)/python -m pytest -m "not slow and not misuse" \
	  --hypothesis-profile quick -n $(JOBS) $(DIST) $(ARGS)

# With XLA's own optimisations, which `make test` leaves out (tests/conftest.py).
test-all: $(VENV)/.installed-peers
	XLA_FLAGS=--xla_force_host_platform_device_count=8 $(BIN)/python -m pytest -n $(JOBS) $(DIST) $(ARGS)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

# The site, in build/site: every link and anchor must lead somewhere, and no page may fetch from outside.
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	$(BIN)/python scripts/check_site.py build/site

docs-serve: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve

bench: $(VENV)/.installed-peers
	$(BIN)/python -m benchmarks.run_all $(ARGS)

env: $(VENV)/.installed

define install
@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer with venv on the path; give one: make PYTHON=/path/to/python3.11"; exit 1; }
test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[$(1)]" -c constraints.txt
@touch $(VENV)/.installed $@
endef

$(VENV)/.installed: pyproject.toml constraints.txt
	$(call install,dev)

# PyTorch, for the peers that we are compared with. On Linux plain wheels of it may bring several GB of CUDA packages;
# where that is not wanted, install a CPU build into $(VENV) first.
$(VENV)/.installed-peers: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev,peers]" -c constraints.txt
	@touch $@

# The site's tools with all that the tests need: who begins with `make docs` resolves the packages once.
$(VENV)/.installed-docs: pyproject.toml constraints.txt
	$(call install,dev$(comma)docs)

clean:
	rm -rf $(VENV) demo $(COMPILED)
