#!/usr/bin/env bash
# Runs every Go fuzz test for the number of inputs (2000x) or the time (5m) given,
# one after the other.
#
# `go test -fuzz` compiles all that a package needs anew, to be guided by coverage.
# For packages that need nearly the whole program that takes a quarter of an hour
# when it is new; a short run there is made without that guidance.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
amount=${1:-2000x}
large=" internal/app internal/operator "
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

fuzz() { # package directory, name of the test
  if [[ $large == *" $1 "* && $amount == *x ]]; then
    go test -c -o "$tmp/fuzz.test" "./$1" &&
      (cd "$1" && "$tmp/fuzz.test" -test.run '^$' -test.fuzz "^$2\$" -test.fuzztime "$amount" \
        -test.fuzzminimizetime 5x -test.fuzzcachedir "$tmp/corpus")
  else
    go test -run '^$' -fuzz "^$2\$" -fuzztime "$amount" -fuzzminimizetime 5x "./$1"
  fi
}

grep -rlE '^func Fuzz' --include='*_test.go' internal | xargs -n1 dirname | sort -u | while read -r dir; do
  for f in $(grep -hoE '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | cut -d' ' -f2 | sort -u); do
    if ! fuzz "$dir" "$f" >"$tmp/log" 2>&1; then
      cat "$tmp/log"
      exit 1
    fi
    echo "fuzz $dir $f: $(grep -oE 'execs: [0-9]+' "$tmp/log" | tail -1)"
  done
done
