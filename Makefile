# Two commands do everything on a fresh Debian or Ubuntu with Go: `make demo`
# and `make test`. `make help` lists the rest.
SHELL := /bin/bash
GO    ?= go
TOOLS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/weft-tools
LINT  := $(TOOLS)/golangci-lint-v2.5.0
SUM   := $(TOOLS)/gotestsum-v1.13.0
DEMO  ?= examples/quickstart
export PATH := $(PATH):/usr/sbin:/sbin
export GOFLAGS := -buildvcs=false $(GOFLAGS)

.PHONY: help build deps deps-guest deps-kernel test unit lint fmt generate golden bench fuzz soak kernel demo demo-down e2e clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

build: ## build bin/weft
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$$(git describe --tags --always --dirty 2>/dev/null || echo dev)" -o bin/weft ./cmd/weft

deps: ## install the packages that the machine lacks
	@.ci/deps

deps-kernel: ## and those that the tests on a kernel with all its modules need
	@.ci/deps kernel

deps-guest: ## and those that guests which are real machines need
	@.ci/deps guest

test: deps-guest lint $(SUM) ## everything that CI runs: lint, generated files, and all tests (root: namespaces and lab too)
	@$(MAKE) --no-print-directory check-generated
	@if [ "$$(id -u)" = 0 ]; then tags="netns e2e"; else tags=""; echo "not root: the tests in namespaces and in the lab are left out" >&2; fi; \
	 $(SUM) --format pkgname-and-test-fails -- -tags "$$tags" -p 2 -timeout 30m ./...

unit: ## the tests that need no root
	@$(GO) test ./...

.PHONY: check-generated
check-generated:
	@$(GO) generate ./... && if ! git diff --quiet -- schema; then git --no-pager diff --stat -- schema; echo "generated files are stale: run make generate and commit" >&2; exit 1; fi

lint: $(LINT) ## gofmt, golangci-lint
	@out=$$(gofmt -l cmd reconcile plugins policies schema); if [ -n "$$out" ]; then echo "not gofmt'ed: $$out" >&2; exit 1; fi
	@$(LINT) run --allow-parallel-runners ./...

fmt: ## format the code
	@gofmt -w cmd reconcile plugins policies schema

generate: ## write generated files anew (JSON Schemas)
	@$(GO) generate ./...

golden: ## write the golden files anew; read their diff
	@$(GO) test ./schema ./reconcile/... ./plugins/... ./cmd/... -update

bench: ## the benchmarks of the hot paths; root adds those in namespaces
	@$(GO) test -run '^$$' -bench . -benchmem $$([ "$$(id -u)" = 0 ] && echo -tags netns,e2e) -p 1 -timeout 60m ./...

fuzz: ## fuzz each fuzz target for FUZZTIME (default 1m)
	@for p in $$(grep -rlE 'func Fuzz' --include=*_test.go . | xargs -n1 dirname | sort -u); do \
	  for f in $$(grep -hoE 'func Fuzz[A-Za-z0-9_]*' $$p/*_test.go | sed 's/func //'); do \
	    echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $${FUZZTIME:-1m} ./$$p || exit 1; done; done

e2e: deps-guest ## the end-to-end tests in the lab (root)
	@$(GO) test -tags e2e -p 1 -timeout 20m -v ./cmd/weft

soak: deps-guest ## the end-to-end tests again and again, COUNT times (default 20; root)
	@$(GO) test -tags netns,e2e -p 1 -timeout 24h -count $${COUNT:-20} ./cmd/weft ./plugins/...

KERNEL := TestKernelSites|TestKernelDevices|TestVPN|TestL2TP|TestPPPTakes|TestSuiteOfVLANs
kernel: deps-kernel ## what the kernel here may lack (ESP, WireGuard, 802.1q, GRE, Open vSwitch, PPP), under QEMU with Debian's (root)
	@mkdir -p .cache && $(GO) build -o .cache/inside ./reconcile/lab/machine/inside
	@$(GO) test -tags netns,e2e -p 1 -count 1 -timeout 40m -v -exec "$(CURDIR)/.cache/inside" -run '^($(KERNEL))$$' \
	  ./reconcile/vpn ./plugins/drivers/link ./plugins/elements/virtualrouter ./cmd/weft

demo: deps build ## a cloud of two hosts on this machine, with real packets
	@bin/weft lab demo $(DEMO)

demo-down: ## remove it again
	@bin/weft lab down $(DEMO)

clean: ## remove what was built
	@rm -rf bin .cache

$(LINT):
	@mkdir -p $(TOOLS) && cd $(TOOLS) && GOFLAGS=-mod=mod GOBIN=$(TOOLS)/new $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.5.0 && mv new/golangci-lint $@

$(SUM):
	@mkdir -p $(TOOLS) && cd $(TOOLS) && GOFLAGS=-mod=mod GOBIN=$(TOOLS)/new $(GO) install gotest.tools/gotestsum@v1.13.0 && mv new/gotestsum $@
