#!/bin/sh
# Publishes trades at node-0, a JSON object a line: feed.sh [FILE, or - for standard input]
# Without a file: the 200 made-up ones beside this script.
set -eu
case "${1:-}" in
'' | - | /*) file=${1:-} ;;
*) file=$PWD/$1 ;;
esac
cd "$(dirname "$0")/.."
metanode() { if [ -n "${METANODE:-}" ]; then "$METANODE" "$@"; else cargo run --release --quiet -- "$@"; fi; }

record=${TESTNET_DIR:-./testnet-data}/testnet.json
[ -f "$record" ] || { echo "there is no network here; ./testnet/up.sh starts one" >&2; exit 1; }
# The first API in the record is node-0's.
METANODE_API=$(sed -n 's/.*"api": *"\([^"]*\)".*/\1/p' "$record" | head -n 1)
export METANODE_API
[ "$file" = - ] || exec <"${file:-testnet/sample-trades.jsonl}"
metanode pub Data/ExchangeData -
