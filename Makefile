# The life of this project in seven commands:
#
#   make setup     a virtual environment with everything, in .venv (done by the others when needed)
#   make demo      transcribe, question and caption the clips in examples/ with the embedded model
#   make test      style, types, import floors and all tests
#   make nano      make the training audio and train the embedded model
#   make small     the same with SmolLM2-135M as language model
#   make versions  the tests that lean on transformers, under the lowest and newest version allowed
#   make clean     remove what the above made, save the training runs

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
JOBS ?= 2

# The real recordings: tests that need them are skipped without, training refuses to start.
RECORDINGS := $(EUREKA_AUDIO_DATA)

.PHONY: help setup demo test versions nano small speech digits sounds scenes chats engines clean
.DELETE_ON_ERROR:

help:
	@sed -n '3,9s/^#   //p' Makefile

# ---- setup -------------------------------------------------------------------------------------

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"expected Python 3.11 or newer, got {v.major}.{v.minor}; try: make PYTHON=python3.12")'
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) \
		|| { echo "the module venv is missing; on Debian: apt-get install python3-venv"; rm -rf $(VENV); exit 1; }
	@echo "Installing into $(VENV); the first time takes some minutes."
	@PIP_CONSTRAINT=constraints.txt $(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# ---- demo --------------------------------------------------------------------------------------

EUREKA := TRANSFORMERS_VERBOSITY=error $(BIN)/eureka-audio

demo: setup
	@echo "== What is said?"
	@$(EUREKA) transcribe examples/woman-asks-the-way.flac examples/man-bus-was-late.flac examples/child-five-years-old.flac
	@echo
	@echo "== Which sound is heard?   (doorbell, dog or rain)"
	@$(EUREKA) ask examples/telephone-doorbell-knocks.flac --question "Which sound is heard?" \
		--choice doorbell --choice dog --choice rain
	@echo
	@echo "== Which instrument is playing?"
	@$(EUREKA) ask examples/flute-tune.flac --question "Which instrument is playing?"
	@echo
	@echo "== Describe everything that can be heard."
	@$(EUREKA) caption examples/car-horn-three-times.flac examples/drops-then-child.flac examples/woman-while-piano.flac \
		examples/woman-in-wind.flac examples/telephone-doorbell-knocks.flac

# ---- test --------------------------------------------------------------------------------------

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS)

versions: setup
	.ci/transformers-versions $(BIN)/python

# ---- the embedded models --------------------------------------------------------------------
#
# Cost on a CPU core: see docs/tour.md. Every step is resumable: what is there is not made again,
# and `eureka-audio train` goes on from its newest checkpoint.

SYNTHETIC := data/synthetic
DEBIAN := espeak-ng flite festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts wordnet-base bible-kjv dict-devil

nano: setup speech digits sounds scenes
	@echo "Training: an hour or two on one CPU core; stop and start it as you like."
	$(BIN)/eureka-audio train recipes/nano.yaml --data $(SYNTHETIC) --recordings $(RECORDINGS)

small: setup speech digits sounds scenes chats
	@echo "Training: two hours of two CPU cores with bfloat16; stop and start it as you like."
	$(BIN)/eureka-audio train recipes/small.yaml --data $(SYNTHETIC) --recordings $(RECORDINGS)

engines:
	@for program in espeak-ng flite festival bible; do command -v $$program > /dev/null || missing="$$missing $$program"; done; \
	for file in /usr/share/wordnet/data.noun /usr/share/dictd/devil.dict.dz; do test -e $$file || missing="$$missing $$file"; done; \
	test -z "$$missing" || { echo "missing:$$missing"; echo "on Debian: apt-get install $(DEBIAN)"; exit 1; }
	@test -n "$(RECORDINGS)" || { echo "expected EUREKA_AUDIO_DATA to name the folder of real recordings (docs/tour.md, 'The folder of recordings')"; exit 1; }

speech: $(SYNTHETIC)/speech/manifest.jsonl
digits: $(SYNTHETIC)/digits/manifest.jsonl
sounds: $(foreach split,train dev test,$(SYNTHETIC)/sounds/$(split)/manifest.jsonl)
chats: $(SYNTHETIC)/chats/chats.jsonl
scenes: $(foreach split,train dev test,$(SYNTHETIC)/scenes/$(split)/manifest.jsonl)

# As many as the embedded model heard; more may be asked for: make small NUM_SENTENCES=30000
NUM_SENTENCES ?= 12000
NUM_DIGITS ?= 600
NUM_SOUNDS = $(if $(filter train,$*),500,150)
NUM_SCENES = $(if $(filter train,$*),3000,300)

$(SYNTHETIC)/speech/manifest.jsonl: | setup engines
	$(BIN)/eureka-audio synthesize speech --out $(@D) --num $(NUM_SENTENCES) --recordings $(RECORDINGS) --workers $(JOBS)

$(SYNTHETIC)/digits/manifest.jsonl: | setup engines
	$(BIN)/eureka-audio synthesize digits --out $(@D) --num $(NUM_DIGITS) --workers $(JOBS)

$(SYNTHETIC)/chats/chats.jsonl: | setup
	$(BIN)/eureka-audio synthesize chats --out $(@D) --num 400

$(SYNTHETIC)/sounds/%/manifest.jsonl: | setup
	$(BIN)/eureka-audio synthesize sounds --out $(@D) --num $(NUM_SOUNDS) --split $*

$(SYNTHETIC)/scenes/%/manifest.jsonl: | setup engines $(SYNTHETIC)/speech/manifest.jsonl
	$(BIN)/eureka-audio synthesize scenes --out $(@D) --num $(NUM_SCENES) --split $* --recordings $(RECORDINGS) --speech $(SYNTHETIC)/speech

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
