#!/usr/bin/env bash
# Installs the UI's npm modules as package-lock.json names them, if that changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../web"
stamp=node_modules/.package-lock.json
if [ ! -e $stamp ] || [ package-lock.json -nt $stamp ]; then
  npm ci --no-audit --no-fund --loglevel=error
  touch $stamp
fi
