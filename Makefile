# `make` lists the targets. Each fetches what it needs; CI (.ci/run) runs these targets and nothing else.

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME   ?= 10s
TIMEOUT    ?= 25m
VERSION    := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)

.DEFAULT_GOAL := help
.PHONY: help go check build run test race fuzz bench interop conformance crash generate lint clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
	@echo "  FUZZTIME=$(FUZZTIME) (or a count: 10000x) is for each fuzz target, TIMEOUT=$(TIMEOUT) for each package's tests."

# Says plainly what is missing, before a compiler says it in its own words.
go:
	@command -v go >/dev/null || { echo "Warren needs Go $$(awk '$$1 == "go" { print $$2 }' go.mod) or newer, and there is no go command in the PATH."; exit 1; }
	@go env GOVERSION >/dev/null || { echo "Warren needs Go $$(awk '$$1 == "go" { print $$2 }' go.mod) or newer; this is $$(GOTOOLCHAIN=local go version 2>/dev/null || echo unusable)."; exit 1; }

check: lint ## the gate: format, vet, staticcheck, imports, package docs, go.mod
	go test -count=1 .
	go test -count=1 -run '^TestDocsAreFresh$$' ./internal/config
	go mod tidy -diff

lint: go ## gofmt, go vet and staticcheck
	@unformatted=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
	  [ -z "$$unformatted" ] || { echo "gofmt these files:"; echo "$$unformatted"; exit 1; }
	go vet ./...
	go run $(STATICCHECK) ./...

build: go ## bin/warren, the broker, and bin/mqctl, its command line
	@mkdir -p bin
	go build -ldflags "-X main.version=$(VERSION)" -o bin/ ./cmd/...

run: build ## start the broker on port 5672 with its data in ./data
	bin/warren --data ./data

test: go ## every test, real clients and conformance too, with the race detector
	@command -v "$$(go env CC | cut -d ' ' -f 1)" >/dev/null || { echo "The race detector needs a C compiler ($$(go env CC)), and there is none in the PATH."; exit 1; }
	CGO_ENABLED=1 go test -race -tags checked -timeout $(TIMEOUT) ./...

race: test ## the same: tests always run with it

fuzz: go ## each fuzz target for FUZZTIME
	@set -e; git grep --untracked -E '^func Fuzz[A-Za-z0-9_]*\(' -- '*_test.go' | \
	  sed -E 's,^(.*)/[^/]*:func (Fuzz[A-Za-z0-9_]*).*,\1 \2,' | \
	  while read -r dir name; do \
	    echo "go test -run '^$$' -fuzz '^$$name$$' -fuzztime $(FUZZTIME) ./$$dir"; \
	    go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "./$$dir"; \
	  done

bench: go ## measure: throughput, latency and CPU per message
	go run ./internal/perf/bench

interop: go ## the suites of real clients; their libraries go to ./.cache
	go test -count=1 -timeout $(TIMEOUT) -v ./internal/interop

conformance: go ## the wire scripts, against Warren and, if installed, RabbitMQ
	go test -count=1 -timeout $(TIMEOUT) ./internal/conformance

crash: go ## kill the broker 200 times under load, fill its disk, pile up messages
	WARREN_CRASH_ROUNDS=$${WARREN_CRASH_ROUNDS:-200} go test -count=1 -timeout 60m -v ./internal/crash

generate: go ## what is made from tables: methods, docs/config.md, the sample settings
	go generate ./...

clean: ## remove what was built and fetched; ./data stays
	rm -rf bin .cache
