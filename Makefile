# What people and CI run. `make` lists the targets; needs Go, git and a POSIX
# shell, and fetches or names everything else.

GOLANGCI_VERSION := 2.15.0
GOLANGCI_MODULE  := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$(GOLANGCI_VERSION)

VERSION := $(or $(shell git describe --always --dirty 2>/dev/null),dev)

ARGS      ?=
BROKERS   ?= 1
PKG       ?= ./...
CHAOS     ?=
# Packages whose tests talk to Kafka or Redis.
REALPKG   ?= ./balance/... ./consumer/ ./internal/kafka/... ./internal/letters/... ./internal/load/... \
	./internal/corrections/... ./internal/httpapi/ ./internal/verify/ ./cmd/creditstream/...
REDIS     ?= both
TESTFLAGS ?=
SEEDS     ?= 0:2000
SEED      ?=
MUTANTS   ?=
BENCH     ?= .
BENCHPKG  ?= ./rating/... ./consumer/... ./balance/... ./internal/kafka/... ./cmd/creditstream

TEST_NEEDS := redis-server kcat curl prometheus

.DEFAULT_GOAL := help
.PHONY: help build run kafka redis-cluster test test-real test-containers test-compose test-helm simulate mutants chaos chaos-long chaos-mutants lint bench fmt tidy

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z\/-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@printf '\nVariables: ARGS (run), PKG and TESTFLAGS (test), REALPKG and REDIS (test-real), SEEDS and SEED (simulate),\n           MUTANTS (mutants), SEED and CHAOS (chaos), BENCH and BENCHPKG (bench)\n'

# The version is stamped here, so Go need not ask git again (which fails in a
# checkout that another user owns).
build: ## build bin/creditstream, static, with its version
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-X main.version=$(VERSION)" \
		-o bin/creditstream ./cmd/creditstream

run: build ## build and run the sandbox; ARGS='--simulate=false' passes flags
	@exec bin/creditstream sandbox --data-dir .data $(ARGS)

# Ports of clients and controllers, as many pairs as there are brokers.
KAFKA_PORTS := $(wordlist 1,$(BROKERS),9092:9093 9192:9193 9292:9293)

kafka: ## run a real Apache Kafka on 127.0.0.1:9092; BROKERS=3 for three
	@deploy/local/need java mvn
	@exec deploy/local/kafka/kafka run .data/kafka-$(BROKERS) $(KAFKA_PORTS)

redis-cluster: ## run a Redis Cluster of six nodes on 127.0.0.1:7001 to 7006
	@deploy/local/need redis-server
	@exec deploy/local/redis-cluster run .data/redis-cluster 7001 7002 7003 7004 7005 7006

# Leaves in $$race the flag of the race detector where a C compiler is found.
define find_race
race=; \
for cc in cc gcc clang; do \
	if command -v "$$cc" >/dev/null 2>&1; then \
		race=-race; CC=$${CC:-$$cc}; CGO_ENABLED=1; export CC CGO_ENABLED; break; \
	fi; \
done; \
if [ -z "$$race" ]; then \
	if [ -n "$$CI" ]; then echo 'make $@: no C compiler, so no race detector: not in CI' >&2; exit 1; fi; \
	echo 'make $@: no C compiler found, running without the race detector' >&2; \
fi
endef

test: ## run all tests, with the race detector where a C compiler is found
	@deploy/local/need $(TEST_NEEDS)
	@$(find_race); set -x; go test -shuffle=on $$race $(TESTFLAGS) $(PKG)

test-real: ## run those of Kafka and Redis on real ones, REDIS=one, cluster or both
	@deploy/local/need $(TEST_NEEDS) java mvn
	@$(find_race); deploy/local/with-real-servers $(REDIS) \
		go test -p 1 -shuffle=on $$race $(TESTFLAGS) $(REALPKG)

test-containers: ## run them on containers, where a Docker engine answers
	@deploy/local/need $(TEST_NEEDS)
	@$(find_race); set -x; CREDITSTREAM_TEST_KAFKA=container CREDITSTREAM_TEST_REDIS=container \
		go test -p 1 -shuffle=on $$race $(TESTFLAGS) $(REALPKG)

# A module of its own: the product depends on nothing of Helm or Kubernetes.
test-helm: ## lint and render the Helm chart with Helm's packages, and check what comes out
	cd deploy/helm/check && go test ./...

test-compose: build ## start deploy/compose.yaml, where a Docker engine answers, and make a call
	@deploy/local/need curl
	@deploy/local/try-compose

CHAOS_NEEDS := java mvn redis-server

chaos: ## attack processors on a real Kafka and a real Redis Cluster for 3 minutes; SEED=7 for another schedule
	@deploy/local/need $(CHAOS_NEEDS)
	go run ./internal/chaos/cmd -seed $(or $(SEED),1) $(CHAOS)

chaos-long: ## the same with a million CDRs and ten times the faults, within an hour
	@deploy/local/need $(CHAOS_NEEDS)
	go run ./internal/chaos/cmd -long -seed $(or $(SEED),1) $(CHAOS)

chaos-mutants: ## take out guards that only real servers need: chaos must find each
	@deploy/local/need $(CHAOS_NEEDS)
	internal/chaos/mutants

# Without the race detector: within one process one goroutine runs at a time.
simulate: ## run the stream on models of Kafka and Redis; SEEDS=from:to, or SEED=n for one
	go test -count=1 -timeout 0 -run '^Test(Seeds|OneSeedIsOneRun)$$' -v ./internal/simulation $(if $(SEED),-seed $(SEED) -trace,-seeds $(SEEDS))

mutants: ## take out one guard at a time: the simulation must find each; MUTANTS names some
	internal/simulation/mutants $(SEEDS) $(MUTANTS)

# Leaves in "$@" a golangci-lint of the pinned version: one that is installed,
# else `go run`, which builds it once and keeps it in Go's cache.
define find_golangci
set -- go run $(GOLANGCI_MODULE); \
for c in bin/golangci-lint "$$(command -v golangci-lint)" \
	"$$(go env GOBIN)/golangci-lint" "$$(go env GOPATH)/bin/golangci-lint"; do \
	if [ -x "$$c" ] && [ "$$("$$c" version --short 2>/dev/null)" = $(GOLANGCI_VERSION) ]; then \
		set -- "$$c"; break; \
	fi; \
done
endef

lint: ## lint with the pinned golangci-lint
	@$(find_golangci); "$$@" run $(PKG)

fmt: ## format with the pinned golangci-lint (gofumpt, goimports)
	@$(find_golangci); "$$@" fmt

bin/golangci-lint: ## install the pinned golangci-lint into bin/ (optional)
	GOBIN="$(CURDIR)/bin" go install $(GOLANGCI_MODULE)

bench: ## run the benchmarks; BENCH=regexp picks some
	@deploy/local/need redis-server
	go test -run '^$$' -bench '$(BENCH)' -benchmem $(BENCHPKG)

tidy: ## go mod tidy and verify
	go mod tidy
	go mod verify
