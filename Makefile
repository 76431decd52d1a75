# Sconce: one verb per task, the same by hand and in CI.
#
# CLUSTER=kind (the default) is a cluster of our own in containers; CLUSTER=current is the cluster of the kubeconfig
# in force, and is used only when it is asked for by name.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

CARGO ?= cargo
CLUSTER ?= kind
export CLUSTER

# One selection for all that is compiled for development, and one for the images and rehearsals: cargo compiles a
# dependency anew for each set of features, and each selection of packages asks for a set of its own.
dev := --workspace --all-features
release := --release --bins --package sconce-operator --package sconce-serve --package sconce-train --features sconce-operator/plugin

cluster := target/debug/cluster

# A test's future holds some of our objects by value: unoptimised, that is more than the 2 MiB that a thread gets.
export RUST_MIN_STACK := 16777216

.PHONY: harness
harness:
	@$(CARGO) build $(dev) --bin cluster

# Test programs by where they run: beside the code, on control planes on loopback, in the cluster, with frameworks.
names = $(addprefix --test ,$(basename $(notdir $(1))))
# What is beside the code of runtime/cuda is of a workspace of its own.
beside := $(filter-out runtime/cuda/%,$(wildcard crds/tests/*.rs operator/tests/*.rs runtime/*/tests/*.rs))
unit_tests := $(call names,$(beside))
elsewhere := $(wildcard tests/tests/e2e_*.rs tests/tests/interop_*.rs)
faults := $(wildcard tests/tests/fault_*.rs)
fault_tests := $(call names,$(faults))
loopback_tests := $(call names,$(filter-out $(elsewhere) $(faults),$(wildcard tests/tests/*.rs)))

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

## Use

.PHONY: demo demo-down install release rehearse
demo: install ## From data to predictions on Kubernetes: cluster, operator, training, served model
	$(cluster) exec -- examples/demo.sh

demo-down: cluster-down ## Take the demo's cluster down, with all that it brought

# The images are ours, the tag never changes: a new binary shows as an annotation, so that the operator restarts.
ifeq ($(CLUSTER),kind)
VALUES ?= --set image.tag=dev --set-string podAnnotations.binary=$$(sha256sum target/release/sconce-operator | cut -c1-16)
endif

install: cluster ## Install the operator from the chart into the cluster (VALUES="--set …" for other values)
ifeq ($(CLUSTER),kind)
	$(cluster) images
endif
	$(cluster) kubectl apply --server-side --force-conflicts --filename charts/sconce/crds
	$(cluster) helm upgrade --install sconce charts/sconce --namespace sconce-system --create-namespace \
	  --wait --timeout 3m $(VALUES)

release: ## Compile the operator, the trainer, the server and kubectl's plugin into target/release
	$(CARGO) build $(release)

EXAMPLE ?= examples/tumour
rehearse: release ## Train, gate and serve an example on this machine, without any cluster (EXAMPLE=examples/digits)
	target/release/kubectl-sconce rehearse -f $(EXAMPLE)

## Test

.PHONY: test test-unit test-cluster test-e2e interop lint ci
test: ## All tests; the last line counts them
	@.ci/count $(MAKE) --keep-going test-unit test-cluster test-e2e

test-unit: ## Logic only: no cluster, seconds when warm
	$(CARGO) test $(dev) --lib --bins $(unit_tests) --no-fail-fast

# Faults are mostly waited for, so their tests run beside the others and are shown after them.
test-cluster: harness ## Controllers, admission and chart on control planes on loopback: no root, no Docker
	$(cluster) prepare --tests
	$(CARGO) build $(dev) --bins
	$(CARGO) test $(dev) $(fault_tests) $(loopback_tests) --no-run
	faults=$$(mktemp) status=0; \
	$(CARGO) test $(dev) $(fault_tests) --no-fail-fast >$$faults 2>&1 & \
	trap "kill $$! 2>/dev/null || true; rm -f $$faults" EXIT; \
	$(CARGO) test $(dev) $(loopback_tests) --no-fail-fast || status=$$?; \
	echo "waiting for the tests of faults, which ran beside these"; \
	wait $$! || status=$$?; cat $$faults; exit $$status

# Compiled first: where the cluster is, there may be no way out to a registry. The tests mostly wait for pods, so more
# of them run at once than there are cores.
test-e2e: install ## Pods, volumes and traffic in the cluster
	$(cluster) borrowed
	$(CARGO) test $(dev) --test 'e2e_*' --no-run
	$(cluster) exec -- env RUST_TEST_THREADS=4 $(CARGO) test --offline $(dev) --test 'e2e_*' --no-fail-fast

interop: harness ## Beside PyTorch, Keras, TensorBoard, MLflow and clients of other servers, installed from the registry; not part of make test
	$(cluster) frameworks
	$(CARGO) build $(dev) --bins
	$(CARGO) test $(dev) --test 'interop_*' --no-fail-fast

lint: ## Format, clippy, and cargo-deny where it is installed
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --all-features -- --deny warnings
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny check bans licenses sources; \
	else echo "cargo-deny is not installed, so licences and sources were not checked: cargo install --locked cargo-deny"; fi

ci: ## What CI runs
	.ci/run

## Measure

.PHONY: bench-operator bench-train bench-load
# In the selection of the release, so that what all depend on is compiled once.
bench_examples = $(CARGO) build $(filter-out --bins,$(release)) --package sconce-engine --example step_clock --example take_batches

bench-operator: ## How fast the operator is and what it costs, JobSet beside it (ARGS="--parts compare --objects 500")
	$(CARGO) build --release --bin sconce-operator $(filter-out --bins,$(filter-out --release,$(release)))
	$(CARGO) build $(dev) --bin bench_operator
	target/debug/bench_operator $(ARGS)

bench-train: release ## How fast a model is trained, Keras and PyTorch beside it (ARGS="--parts seed --pairs 5")
	$(bench_examples)
	$(CARGO) build $(dev) --bin bench_train
	target/debug/bench_train $(ARGS)

bench-load: ## How fast a table becomes batches, pandas, polars and PyTorch beside it (ARGS="--megabytes 300")
	$(bench_examples)
	$(CARGO) build $(dev) --bin bench_train
	target/debug/bench_train --parts load $(ARGS)

## CUDA

# A workspace of its own, so that nothing else needs nvcc; what is fetched is printed as variables for cargo.
cuda = env $$(runtime/cuda/prepare) CARGO_TARGET_DIR=$(CURDIR)/target/cuda $(CARGO)
in_cuda := --release --manifest-path runtime/cuda/Cargo.toml

.PHONY: cuda test-cuda
cuda: ## The trainer and the server with CUDA, into target/cuda/release: needs no GPU, nvcc comes from PyPI into the cache
	$(cuda) build $(in_cuda) --bins --example step_clock

test-cuda: ## What a GPU computes is what the processor computes: needs an NVIDIA GPU, fails without
	$(cuda) test $(in_cuda) --test '*' --no-fail-fast

## Clusters

.PHONY: cluster cluster-down kubectl images
cluster: harness ## Bring the cluster up, or find it up
	$(cluster) up

cluster-down: harness ## Take the cluster down
	$(cluster) down

kubectl: harness ## Run kubectl against the cluster: make kubectl ARGS="get mtrain,mdep"
	@$(cluster) kubectl $(ARGS)

images: harness ## Compile the images of this tree and load them into the cluster
	$(cluster) images

.PHONY: archives
archives: harness ## Write the images of this tree into target/images, for a registry of yours
	$(cluster) archives target/images

## Generated files

.PHONY: crds chart
crds: ## After a change of the API: write crds/yaml, docs/api.md and what the chart has of it
	$(CARGO) build --quiet $(dev) --bin crdgen --bin docgen
	target/debug/crdgen
	target/debug/docgen
	@$(MAKE) chart

chart: ## After a change of the chart: write its copies of the CRDs and dist/
	UPDATE=1 $(CARGO) test --quiet $(dev) --test chart_renders -- --test-threads=1
