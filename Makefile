# Both do all their own set-up: `make demo` and `make test` are all that a fresh machine needs.
.PHONY: help demo test test-kubernetes test-jupyter screenshots check docs benchmark clean

help:
	@echo 'make demo        gateway, HTCondor pool, a Dask cluster and an analysis on it; ARGS="--input FILE --keep"'
	@echo 'make test        check, then all tests on a real HTCondor pool, Kubernetes and JupyterHub; ARGS="-k scale" goes to pytest'
	@echo 'make test-kubernetes   those of Kubernetes alone; with KUBECONFIG set, on that cluster'
	@echo 'make test-jupyter      those of JupyterHub alone'
	@echo 'make screenshots       those in a browser, which take the pictures of the guide: docs/images'
	@echo 'make check       format, lint, types, layers and unit tests: no HTCondor needed'
	@echo 'make docs        the documentation as HTML, in build/docs; ARGS=--write: what is made from the program, anew'
	@echo 'make benchmark   against bare condor_submit and dask-jobqueue; ARGS=--smoke: a quick run'
	@echo 'make clean       the pool and everything that was built or cached for it'

demo:
	@scripts/demo $(ARGS)

test:
	@scripts/test $(ARGS)

test-kubernetes:
	@scripts/test-kubernetes $(ARGS)

test-jupyter:
	@scripts/test-jupyter $(ARGS)

screenshots:
	@HTCDASK_SCREENSHOTS=$(CURDIR)/docs/images scripts/test-jupyter -k test_browser

check:
	@scripts/check

docs:
	@scripts/docs $(ARGS)

benchmark:
	@tests/pool/pool with "$$(scripts/env | tail -n 1)/bin/python" benchmarks/scale.py $(ARGS)

clean:
	@scripts/clean
