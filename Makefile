# Two commands do everything on a fresh machine: `make demo` and `make test`. `make help` lists the rest.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
UV_VERSION := 0.13.8
PYTHON ?= python3
WORKERS ?= 2
BIN := .venv/bin
# An existing checkout, if COMFYUI_DIR names one; else the pinned ComfyUI is unpacked to vendor/comfyui.
COMFYUI := $(if $(COMFYUI_DIR),,vendor/comfyui/.unpacked)

.PHONY: help setup demo test faults soak check docs pictures bench image browser parity edit pack lock clean
help:      ## this list
	@grep -hE '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## */\1\t/' | expand -t 12

setup: .venv/.installed $(COMFYUI)  ## install everything into .venv/ and vendor/ (again: only what changed)

demo: setup  ## three pictures speak to a sound, on stand-in weights; says where the video is
	$(BIN)/python -m runner.entrypoints.example out/demo
	$(BIN)/callsheet run ltx2-keyframes-lipsync --rehearse --preview --to out --params out/demo/request.json

test: setup  ## all tests that CI runs, but for the browser's; side by side, WORKERS=0 is one by one
	$(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile

faults: setup  ## every fault against the real ComfyUI; writes the table docs/faults.md
	rm -f out/faults-*.json
	$(BIN)/pytest tests/faults --numprocesses $(WORKERS) --dist loadfile
	$(BIN)/python tests/faults/table.py

soak: setup  ## jobs for an hour (SOAK_MINUTES=60): memory, handles, threads and processes must stay flat
	$(BIN)/python tests/faults/soak.py

check: setup  ## lint, types, import rules
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports

docs: setup    ## the documentation site, links checked, in build/site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

pictures: setup  ## the pictures of the editor in the documentation and on the help pages; needs Chromium
	$(BIN)/python docs/site/screens.py $(ARGS)

bench: setup   ## the figures of benchmarks/report.md, measured anew; two minutes; ARGS="overhead" shows one part
	$(BIN)/python benchmarks/run.py $(ARGS)

image: setup   ## the image's steps in an empty root, with a job in it, without Docker; as root, with debootstrap
	$(BIN)/python docker/rehearse.py

browser: setup  ## tests in the real editor; needs Chromium (CHROMIUM=/path, else found on PATH)
	$(BIN)/pytest tests/browser

parity: setup  ## our conversion against the real editor's, on every official template; minutes, later seconds
	$(BIN)/pytest tests/parity --quiet $(ARGS)

edit: setup  ## the graph editor with the pack loaded, on stand-in weights
	$(BIN)/callsheet edit wan-t2v --rehearse

PACK ?= build/callsheet
pack:      ## the node pack with the workflows as its templates, to be copied into any ComfyUI's custom_nodes/
	rm -rf $(PACK) && mkdir -p $(dir $(PACK)) && cp -r custom_nodes/callsheet $(PACK)
	find $(PACK) -name __pycache__ -prune -exec rm -r {} +
	mkdir $(PACK)/example_workflows
	for folder in workflows/*/; do \
		cp "$$(ls $$folder*.json | sort -V | tail -n 1)" $(PACK)/example_workflows/$$(basename $$folder).json; \
	done

LOCK = $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header --quiet --extra comfy
lock:      ## compute requirements.lock, and of it the image's part, anew from pyproject.toml
	$(LOCK) --extra dev --output-file requirements.lock
	$(LOCK) --extra worker --constraint requirements.lock --output-file docker/requirements.lock

clean:     ## remove what setup and runs made in this checkout
	rm -rf .venv vendor out build *.egg-info .pytest_cache .ruff_cache .import_linter_cache

.venv/bin/uv:
	@echo "setup 1/3  virtual environment in .venv"
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.installed: .venv/bin/uv requirements.lock pyproject.toml
	@echo "setup 2/3  packages of requirements.lock (torch and ComfyUI's among them, about 5 GB on disk; takes minutes)"
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps --editable .
	@touch $@

vendor/comfyui/.unpacked: vendor.lock docker/install | .venv/bin/uv
	@echo "setup 3/3  ComfyUI into vendor/comfyui"
	docker/install comfyui .venv vendor/comfyui vendor.lock
	@touch $@
