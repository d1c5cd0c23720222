# Every target that people and continuous integration use; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

GO       ?= go
BIN      := bin/mangru
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -X github.com/mangru/mangru/internal/app.version=$(VERSION)
LINT     := $(GO) tool -modfile=tools/go.mod golangci-lint
CLUSTER  := bin/cluster
FUZZTIME ?= 2000x

# One set of flags everywhere, so that what one target compiled serves the next.
export CGO_ENABLED := 0
export GOFLAGS     := -trimpath

IMAGE    ?= mangru:$(VERSION)

.PHONY: help deps build image run check test unit race fuzz bench bench-collector bench-server web-test conformance e2e cluster cluster-down clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: ## install what is missing: Debian packages (as root) and npm modules
	@tools/deps.sh
	@tools/npm.sh

web/node_modules/.package-lock.json: web/package-lock.json
	@tools/npm.sh

web/dist/index.html: web/node_modules/.package-lock.json web/package.json $(shell find web/src web/public web/index.html web/vite.config.ts -type f 2>/dev/null)
	cd web && npm run --silent build

build: web/dist/index.html ## build bin/mangru with the web UI in it
	$(GO) build -tags embedui -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/mangru

image: build ## container image of bin/mangru, made without Docker: bin/mangru-image.tar (IMAGE=registry/mangru:v1)
	$(GO) run ./deploy/image -binary $(BIN) -tag $(IMAGE) -o bin/mangru-image.tar

run: build ## build, then watch this machine or your cluster: bin/mangru up
	$(BIN) up

check: web/node_modules/.package-lock.json ## format, vet, lint, import rules, and the UI's lint and types
	@test -z "$$(gofmt -l cmd internal deploy test third_party web/*.go)" || { echo "not formatted (gofmt -w):"; gofmt -l cmd internal deploy test third_party web/*.go; exit 1; }
	$(GO) mod tidy -diff
	cd third_party/aws-sdk-go && $(GO) mod tidy -diff && $(GO) vet ./...
	$(LINT) run ./...
	$(GO) test ./internal
	cd web && npm run --silent lint

unit: ## Go unit tests
	$(GO) test ./cmd/... ./internal/... ./deploy/... ./test/cluster/... ./test/bench/... ./test/differential/... ./test/fault/... ./web
	cd third_party/aws-sdk-go && $(GO) test ./...

race: ## Go unit tests under the race detector, but for the longest lists of inputs
	CGO_ENABLED=1 $(GO) test -race -short ./internal/... ./test/cluster/...

fuzz: ## every fuzz test for some inputs (FUZZTIME=2000x each; or a time: 5m)
	@tools/fuzz.sh $(FUZZTIME)

bench: ## Go benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./internal/...

bench-server: ## what servers cost, beside Prometheus and VictoriaMetrics (BENCH_ARGS="--length 3h --speed 9")
	$(GO) run ./test/bench/server ingest $(BENCH_ARGS)

bench-collector: ## what collectors cost, beside vmagent, Prometheus and the OpenTelemetry Collector (BENCH_ARGS="cost --only mangru,vmagent")
	$(GO) run ./test/bench/collector $(BENCH_ARGS)

conformance: build ## suites by which others judge: remote-write senders and receivers of the Prometheus project, its and Alertmanager's tools, AWS' SDK and CLI, Grafana's client
	cd test/conformance && $(GO) test -count=1 ./...
	cd test/conformance/receiver && $(GO) test -count=1 ./...
	cd test/conformance/clients && $(GO) test -count=1 ./...
	cd test/conformance-aws && $(GO) test -count=1 ./...
	cd test/conformance-grafana && $(GO) test -count=1 ./...

web-test: web/dist/index.html ## the UI's unit tests, and its browser tests against a pretended server
	cd web && npm run --silent size >/dev/null && npm run --silent test && npm run --silent test:browser

e2e: build ## the whole path on a real cluster: real CLIs, real browser (as root)
	$(GO) test -tags e2e -count=1 -timeout 30m -v ./test/e2e/...

cluster: ## start a real Kubernetes on this machine (as root); prints the kubeconfig path; CLUSTER_ARGS="--nodes 3"
	@$(GO) build -o $(CLUSTER) ./test/cluster/cmd/cluster
	@$(CLUSTER) up $(CLUSTER_ARGS)

cluster-down: ## stop what `make cluster` started
	@$(GO) build -o $(CLUSTER) ./test/cluster/cmd/cluster
	@$(CLUSTER) down

test: deps check build unit race fuzz web-test conformance e2e ## all that continuous integration runs

clean: ## remove what was built here
	rm -rf bin web/dist web/node_modules
