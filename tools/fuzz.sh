#!/usr/bin/env bash
# Runs every Go fuzz test for the number of inputs (2000x) or the time (5m) given,
# one after the other.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
amount=${1:-2000x}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
grep -rlE '^func Fuzz' --include='*_test.go' internal | xargs -n1 dirname | sort -u | while read -r dir; do
  for f in $(grep -hoE '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | cut -d' ' -f2 | sort -u); do
    if ! go test -run '^$' -fuzz "^$f\$" -fuzztime "$amount" -fuzzminimizetime 5x "./$dir" >"$log" 2>&1; then
      cat "$log"
      exit 1
    fi
    echo "fuzz $dir $f: $(grep -oE 'execs: [0-9]+' "$log" | tail -1)"
  done
done
