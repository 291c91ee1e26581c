#!/bin/sh
# Stops the local network; its data stays for the next up.sh: down.sh [flags of `metanode testnet down`]
#   ./testnet/down.sh --purge    removes the data too
set -eu
cd "$(dirname "$0")/.."
metanode() { if [ -n "${METANODE:-}" ]; then "$METANODE" "$@"; else cargo run --release --quiet -- "$@"; fi; }

metanode testnet down --dir "${TESTNET_DIR:-./testnet-data}" "$@"
