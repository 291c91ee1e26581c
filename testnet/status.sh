#!/bin/sh
# Shows each node of the local network: status.sh [flags of `metanode testnet status`]
set -eu
cd "$(dirname "$0")/.."
metanode() { if [ -n "${METANODE:-}" ]; then "$METANODE" "$@"; else cargo run --release --quiet -- "$@"; fi; }

metanode testnet status --dir "${TESTNET_DIR:-./testnet-data}" "$@"
