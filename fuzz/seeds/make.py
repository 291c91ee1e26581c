#!/usr/bin/env python3
"""Fills corpus/ with a few sound inputs for each target, from the golden vectors. Run it in fuzz/ before the first run.

Targets whose input is a plan made up by the fuzzer (sealed_bundle, draft, fork, feeds, state, node, ledger_block) start from a few bytes
of every kind; the fuzzer finds its way from there.
"""

import hashlib
import json
from pathlib import Path

FUZZ = Path(__file__).resolve().parent.parent
VECTORS = FUZZ.parent / "tests" / "vectors"
CONFIGS = FUZZ.parent / "node-configs"

wire = json.loads((VECTORS / "wire.json").read_text())
kinds = json.loads((VECTORS / "kinds.json").read_text())
ledger = json.loads((VECTORS / "ledger.json").read_text())
checkpoint = json.loads((VECTORS / "checkpoint.json").read_text())


def raw(*names):
    return [bytes.fromhex(wire[name]) for name in names]


def proof():
    """The second of the three messages of the plain bundle. Its leaf's path is left wrong: the fuzzer reads JSON."""
    message = bytes.fromhex(wire["bundle_plain"])[273:305]
    header = wire["header"] + wire["signature"]
    return json.dumps({"header": header, "index": 1, "path": [wire["leaf"]] * 2, "message": message.hex()}).encode()


KEY = {
    "version": 1,
    "node_id": wire["node_id"],
    "kdf": {"name": "argon2id", "memory_kib": 8, "passes": 1, "lanes": 1, "salt": "a0" * 16},
    "cipher": "xchacha20poly1305",
    "nonce": "c0" * 24,
    "ciphertext": "33" * 48,
}
PLAIN = {"version": 1, "node_id": wire["node_id"], "plain": wire["secret_key"]}
NOISE = [bytes((i * step + i // 7) % 256 for i in range(512)) for step in (0, 1, 3, 7, 31, 97, 251)]

seeds = {
    "bundle": raw("bundle_plain", "bundle_lz4"),
    "gossip_frame": [b"".join(raw("bundle_plain", "bundle_lz4", "bundle_plain")), *raw("bundle_plain")],
    "message": raw("message"),
    "frame_request": raw("request_heads", "request_range", "request_compare", "request_take") + [b"\0\0"],
    "frame_response": raw("response_heads", "response_range", "response_compared", "response_collections") + [b"\2\0", b"\2\2"],
    "state_ranges": raw("ranges", "excerpt"),
    "checkpoint": [bytes.fromhex(checkpoint[name]) for name in ("manifest", "chunk")],
    "signed_header": [bytes.fromhex(wire["header"] + wire["signature"])],
    "proof_json": [proof()],
    "payload": [n.to_bytes(2, "big") + bytes.fromhex(k["bincode"]) for n, k in enumerate(kinds)],
    "payload_json": [bytes([n]) + json.dumps(k[form]).encode() for n, k in enumerate(kinds) for form in ("payload", "broken")],
    "key_file": [json.dumps(KEY).encode(), json.dumps(PLAIN).encode()],
    "config_toml": [path.read_bytes() for path in sorted(CONFIGS.glob("*.toml"))],
    "ledger": [bytes([n]) + bytes.fromhex(ledger[name]) for n, name in enumerate(("sealed", "header", "block"))]
    + [b"\3" + bytes.fromhex(record) for _, record in ledger["records"]]
    + [bytes([n]) + bytes.fromhex(ledger[name]) for n, name in ((4, "proof"), (5, "validators"))],
    "genesis": [(VECTORS / "genesis.toml").read_bytes()],
    "stored": [bytes(18) + raw("bundle_plain")[0], bytes(15) + b"\1\0\2" + bytes(8) + raw("bundle_lz4")[0], bytes(48) + b"\1", bytes(40) + b"\1"],
    **{target: NOISE for target in ("sealed_bundle", "draft", "fork", "feeds", "state", "node", "ledger_block")},
}

for target, inputs in seeds.items():
    folder = FUZZ / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    for data in inputs:
        (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    print(f"{target}: {len(inputs)}")
