#!/bin/sh
# Kills a node as a power cut would, feeds the others meanwhile, starts it again and waits until it has caught up:
# kill-one.sh [NAME]
set -eu
cd "$(dirname "$0")/.."
metanode() { if [ -n "${METANODE:-}" ]; then "$METANODE" "$@"; else cargo run --release --quiet -- "$@"; fi; }

dir=${TESTNET_DIR:-./testnet-data}
name=${1:-node-2}
case "$name" in
node-0 | 0) echo "node-0 takes the feed; name another node" >&2 && exit 2 ;;
esac
metanode testnet kill "$name" --dir "$dir"
./testnet/feed.sh
metanode testnet start "$name" --dir "$dir"
metanode testnet wait --converged --dir "$dir"
metanode testnet status --dir "$dir"
