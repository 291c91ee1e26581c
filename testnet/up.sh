#!/bin/sh
# Starts a local network, or what is stopped of one: up.sh [N] [more flags of `metanode testnet up`]
#   ./testnet/up.sh           five nodes
#   ./testnet/up.sh 3 --transport quic
set -eu
cd "$(dirname "$0")/.."
metanode() { if [ -n "${METANODE:-}" ]; then "$METANODE" "$@"; else cargo run --release --quiet -- "$@"; fi; }

case "${1:-}" in
'' | -*) ;;
*)
    count=$1
    shift
    set -- -n "$count" "$@"
    ;;
esac
metanode testnet up --dir "${TESTNET_DIR:-./testnet-data}" "$@"
