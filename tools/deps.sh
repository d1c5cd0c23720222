#!/usr/bin/env bash
# Installs the Debian packages that building and testing need, if any is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

command -v go >/dev/null || { echo "deps: Go 1.26 or later is needed: https://go.dev/dl" >&2; exit 1; }
command -v node >/dev/null || { echo "deps: Node.js 20 or later is needed: https://nodejs.org" >&2; exit 1; }

missing=()
while read -r p; do
  [[ -z $p || $p == \#* ]] && continue
  dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
done < <(cat tools/packages.txt test/cluster/packages.txt)
[ ${#missing[@]} = 0 ] && exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "deps: these Debian packages are missing: ${missing[*]}" >&2
  echo "deps: install them as root: apt-get install --no-install-recommends ${missing[*]}" >&2
  exit 1
fi
echo "deps: installing ${missing[*]}"
# The packages' own daemons stay off: tests start what they need themselves.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' >$policy
  chmod +x $policy
  trap 'rm -f '$policy EXIT
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
