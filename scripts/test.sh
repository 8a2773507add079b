#!/usr/bin/env bash
# From a fresh clone to tested: makes .venv, installs, checks style, types and published numbers, runs the tests on all cores. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/install.sh "[test,recipes,docs]"
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
.venv/bin/cwrnn verify
.venv/bin/sphinx-build -W -q -c docs/site -b html . build/site # the tutorial is run
.venv/bin/python -m pytest -n auto --dist worksteal --cov --cov-fail-under=90 "$@"
