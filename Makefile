# Every target makes its own virtual environment on a fresh machine. Needs: Python 3.11 or newer with venv, make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint bench nightly clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[demo,test]'
	@touch $@

demo: $(STAMP)        ## three agencies exchange signed documents on this machine
	$(BIN)/lienthong demo

lint: $(STAMP)        ## formatting, style, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: $(STAMP) lint   ## everything that says whether this works
	$(BIN)/pytest --numprocesses 2 --dist loadgroup

bench: $(STAMP)       ## figures beside named baselines, in one run
	$(BIN)/python tests/bench/packets.py
	$(BIN)/python tests/bench/outgoing.py
	$(BIN)/python tests/bench/signing.py

nightly: $(STAMP)     ## long runs: 200,000 damaged packets, round trips by the thousand, every kill point
	PYTHONPATH=tests $(BIN)/python -m edxml.fuzz --mutations 200000
	LIENTHONG_NIGHTLY=1 $(BIN)/pytest tests/edxml/test_round_trip.py tests/edxml/test_packet_memory.py \
		tests/signing/test_pdfsig.py tests/signing/test_signing_cost.py
	LIENTHONG_CRASH_ALL=1 $(BIN)/pytest tests/e2e/test_crash.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
