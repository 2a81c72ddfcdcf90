.DEFAULT_GOAL := help

# gorgonia.org/cu includes cuda.h; this is where ours is.
CUDA_CFLAGS = -O2 -I$(CURDIR)/ops/internal/device/cudriver/cudadl/include

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "%-12s %s\n", $$1, $$2 }'

build: ## build the command to ./train
	CGO_ENABLED=0 go build -o train ./cmd/train

cuda: ## build the command with GPUs to ./train; needs a C compiler, but no CUDA toolkit
	CGO_ENABLED=1 CGO_CFLAGS="$(CUDA_CFLAGS)" go build -tags ringcuda -o train ./cmd/train

mpi: ## build the command for several hosts to ./train; needs a C compiler and Open MPI
	CGO_ENABLED=1 go build -tags mpi -o train ./cmd/train

cuda-test: ## run the tests of GPUs on a mock of the driver; on GPUs with RINGGRAD_CUDA_LIBRARY=libcuda.so.1
	CGO_ENABLED=1 CGO_CFLAGS="$(CUDA_CFLAGS)" go test -tags ringcuda ./ops/gpu ./ops/internal/device/...

test: ## run the tests
	go test ./...

race: ## run the tests of dist and ops under the race detector
	go test -race ./dist/... ./ops/...

portable: ## run the tests of ops with the kernels in plain Go
	go test -tags purego ./ops/...

gradcheck: ## check gradients, the built-in suite
	go run ./cmd/train gradcheck

generate: ## regenerate the assembly, configs/schema.json and the table of keys in the README
	go generate ./...

lint: ## format check, vet and golangci-lint
	bash .ci/run format lint

long: ## the main job
	go run ./cmd/train --config configs/long.yaml

base: ## train the committed base model again (configs/base)
	go run ./cmd/train --config configs/base.yaml

check: ## everything that CI runs
	bash .ci/run

.PHONY: help build cuda mpi cuda-test test race portable gradcheck generate lint long base check
