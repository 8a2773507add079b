#!/usr/bin/env bash
# Kills, faults, hostile files and two processes at once for MINUTES (default: 30); every failure with the line that repeats it.
# Makes .venv, installs, compiles a shim (cc; without one, no kills and faults at a call), and leaves a line in results/reliability.
#
#     bash scripts/soak.sh [MINUTES] [--seed S] [--only kill|fault|random|two|fuzz] [--case NAME]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/install.sh "[test,recipes]"
words=(--record results/reliability)
case "${1:-}" in
    "" | --*) ;;
    *) words+=(--minutes "$1"); shift ;;
esac
status=0
.venv/bin/python -m tests.soak "${words[@]}" "$@" || status=$?
case " $* " in
    *" --case "*) ;;
    *) .venv/bin/cwrnn verify --write | tail -1 ;;
esac
exit $status
