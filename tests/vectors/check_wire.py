#!/usr/bin/env python3
"""Reads the golden vectors with nothing but docs/wire.md in hand: proof that the page is enough to write a client.

    python3 -m venv /tmp/wire && /tmp/wire/bin/pip install blake3 pynacl lz4
    /tmp/wire/bin/python tests/vectors/check_wire.py

Not part of `cargo test`. Section numbers are those of docs/wire.md. The payload layouts of section 14 are read from
the page itself, so a kind whose layout is missing or wrong there fails here. Exits with 1 at the first difference.
"""

import json
import re
import struct
import sys
import uuid
from pathlib import Path

import lz4.block
from blake3 import blake3
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent.parent / "docs" / "wire.md"
CHECKED = 0


class Refused(Exception):
    """Bytes that the page does not allow; the first word is the refusal's code."""


def same(what, found, expected):
    global CHECKED
    if found != expected:
        sys.exit(f"{what}\n  found    {found!r}\n  expected {expected!r}")
    CHECKED += 1


def refused(what, code, action):
    try:
        action()
    except Refused as refusal:
        return same(what, str(refusal).split()[0], code)
    sys.exit(f"{what}: taken, though it should be refused with {code}")


# Section 2: ids

BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
PEER_ID_PREFIX = bytes.fromhex("002408011220")


def base58(data):
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = BASE58[digit] + text
    zeros = len(data) - len(data.lstrip(b"\0"))
    return "1" * zeros + text


def node_id_text(key):
    return base58(PEER_ID_PREFIX + key)


def stamp_of(message_id):
    number = int.from_bytes(message_id, "big")
    ms = number >> 80
    counter = (number >> 64 & 0xFFF) << 4 | (number >> 58 & 0xF)
    return ms << 16 | counter


def is_v7(message_id):
    return message_id[6] >> 4 == 7 and message_id[8] >> 6 == 0b10


# Section 3: hashes


def plain(data):
    return blake3(data).digest()


def derived(context, data):
    return blake3(data, derive_key_context=f"metanode v1 {context}").digest()


# Section 4: bincode


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, size):
        if self.at + size > len(self.data):
            raise Refused(f"message {size} bytes at {self.at} of {len(self.data)}")
        self.at += size
        return self.data[self.at - size : self.at]

    def end(self):
        if self.at != len(self.data):
            raise Refused(f"message {len(self.data) - self.at} bytes left over")

    def u8(self):
        return self.take(1)[0]

    def varint(self, bits):
        first = self.u8()
        if first <= 250:
            return first
        size = {251: 2, 252: 4, 253: 8, 254: 16}.get(first)
        if size is None or size * 8 > bits:
            raise Refused(f"message marker {first} in a number of {bits} bits")
        return int.from_bytes(self.take(size), "little")

    def signed(self, bits):
        number = self.varint(bits)
        return number >> 1 if number % 2 == 0 else -(number >> 1) - 1

    def boolean(self):
        byte = self.u8()
        if byte > 1:
            raise Refused(f"message {byte} is no boolean")
        return byte == 1

    def option(self, read):
        return read() if self.boolean() else None

    def size(self):
        return self.varint(64)

    def list(self, read):
        return [read() for _ in range(self.size())]

    def blob(self):
        return self.take(self.size())

    def text(self):
        return self.blob().decode("utf-8")

    def f64(self):
        return struct.unpack("<d", self.take(8))[0]

    def enum(self, count):
        index = self.varint(32)
        if index >= count:
            raise Refused(f"message variant {index} of {count}")
        return index


# Section 5: messages

DESTINATIONS = ["everyone", "node", "service", "layer", "node_type", "topic"]


def decode_message(data):
    if len(data) > 256 << 10:
        raise Refused("too_large a message")
    r = Reader(data)
    message = {
        "id": r.take(16),
        "kind": r.varint(16),
        "schema_version": r.varint(16),
        "content_type": ["application/x-bincode", "application/json"][r.enum(2)],
    }
    destination = DESTINATIONS[r.enum(6)]
    name = None if destination == "everyone" else r.take(32) if destination == "node" else r.text()
    message["destination"] = (destination, name)
    message["correlation"] = r.option(lambda: r.take(16))
    message["parent"] = r.option(lambda: r.take(16))
    message["expires"] = r.option(lambda: r.varint(64))
    message["tags"] = r.list(r.text)
    message["headers"] = dict(r.list(lambda: (r.text(), r.text())))
    message["encryption"] = r.option(lambda: (r.take(32), r.take(32)))
    message["payload"] = r.blob()
    r.end()
    if not is_v7(message["id"]):
        raise Refused("message id")
    return message


# Section 6: the tree


def leaf(message):
    return plain(b"\0" + message)


def node(left, right):
    return plain(b"\1" + left + right)


def root(leaves):
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node(root(leaves[:split]), root(leaves[split:]))


def climb(here, index, count, path):
    path, width = list(path), count
    while width > 1:
        if index % 2 == 1:
            here = node(path.pop(0), here)
        elif index + 1 < width:
            here = node(here, path.pop(0))
        index, width = index // 2, (width + 1) // 2
    return here if not path else None


# Sections 7 to 9: bundles

HEADER, SIGNED, PREFIX = 164, 228, 233


def decode_header(data):
    version, flags, priority, topic = data[:4]
    incarnation, sequence, clock = struct.unpack_from("<QQQ", data, 4)
    header = {
        "ephemeral": flags == 1, "priority": priority, "topic": topic, "incarnation": incarnation,
        "sequence": sequence, "clock": clock, "previous": data[28:60], "body_bytes": int.from_bytes(data[60:64], "little"),
        "network": data[64:96], "author": data[96:128], "count": int.from_bytes(data[128:132], "little"),
        "root": data[132:164],
    }  # fmt: skip
    if version != 1:
        raise Refused("version")
    if flags & ~1:
        raise Refused("flags")
    if not 1 <= topic <= 8:
        raise Refused("topic")
    if priority > 4:
        raise Refused("priority")
    if not 1 <= header["count"] <= 4096:
        raise Refused("count")
    if header["body_bytes"] > 1 << 20:
        raise Refused("too_large")
    first = sequence == 0
    if header["sequence"] >= 1 << 63:
        raise Refused("sequence")
    if (header["ephemeral"] and not first) or first != (header["previous"] == bytes(32)):
        raise Refused("ephemeral")
    return header


def statement_digest(header):
    h = decode_header(header)
    count = struct.pack("<I", h["count"])
    return derived("seal", b"\1" + h["network"] + h["author"] + count + h["root"] + header[:64])


def bundle_id(header):
    return derived("bundle", header)


def verify(header, signature):
    try:
        # PyNaCl's libsodium refuses what section 8 refuses: s not reduced, small-order points, other encodings of R.
        VerifyKey(decode_header(header)["author"]).verify(statement_digest(header), signature)
    except BadSignatureError as error:
        raise Refused("bad_signature") from error


def unpack(codec, packed, size):
    if codec == 0:
        body = packed
    elif codec == 1:
        try:
            body = lz4.block.decompress(packed, uncompressed_size=size)
        except lz4.block.LZ4BlockError as error:
            raise Refused("packing") from error
    else:
        raise Refused("codec (zstd is not in the vectors)")
    if len(body) != size:
        raise Refused("packing")
    return body


def divide(body):
    items, at = [], 0
    while at < len(body):
        size = int.from_bytes(body[at : at + 4], "little")
        if at + 4 > len(body) or at + 4 + size > len(body):
            raise Refused("division")
        items.append(body[at + 4 : at + 4 + size])
        at += 4 + size
    return items


def check_bundle(wire, network):
    """Section 9, in its order. Returns header, messages' bytes and id."""
    if len(wire) < PREFIX:
        raise Refused("truncated")
    if len(wire) > (1 << 20) + PREFIX:
        raise Refused("too_large")
    header = decode_header(wire[:HEADER])
    if len(wire) != PREFIX + int.from_bytes(wire[229:233], "little"):
        raise Refused("truncated")
    if wire[228] > 2:
        raise Refused("codec")
    if header["network"] != network:
        raise Refused("wrong_network")
    verify(wire[:HEADER], wire[HEADER:SIGNED])
    items = divide(unpack(wire[228], wire[PREFIX:], header["body_bytes"]))
    last = b""
    for item in items:
        message = decode_message(item)
        if message["kind"] >> 8 != header["topic"]:
            raise Refused("wrong_topic")
        if message["id"] <= last:
            raise Refused("ids")
        last = message["id"]
    if len(items) != header["count"]:
        raise Refused("division")
    opened = stamp_of(items[0][:16]) >> 16
    if stamp_of(last) != header["clock"] or opened + 60_000 < header["clock"] >> 16:
        raise Refused("ids")
    if root([leaf(item) for item in items]) != header["root"]:
        raise Refused("bad_root")
    return header, items, bundle_id(wire[:HEADER])


# Section 11: frames


def read_feed(r):
    return {"author": r.take(32), "incarnation": r.varint(64), "topic": r.enum(8) + 1}


def read_head(r):
    return {
        "feed": read_feed(r),
        "floor": r.varint(64),
        "next": r.varint(64),
        "hash": r.take(32),
        "forked": r.option(lambda: r.varint(64)),
    }


def decode_request(data):
    r = Reader(data)
    variant = r.enum(7)
    if variant == 0:
        request = ("heads", r.option(lambda: read_feed(r)))
    elif variant == 1:
        request = ("range", read_feed(r), r.varint(64), r.varint(64), r.boolean())
    elif variant == 2:
        request = ("fork", read_feed(r))
    elif variant == 6:
        request = ("ends", r.take(32), r.varint(64))
    else:
        raise Refused("frame another protocol's request")
    r.end()
    return request


def decode_response(data):
    r = Reader(data)
    variant = r.enum(4)
    if variant == 0:
        response = ("heads", r.list(lambda: read_head(r)), r.boolean())
    elif variant == 1:
        response = ("range", r.varint(64), r.list(r.blob))
    elif variant == 2:
        response = ("fork", r.blob(), r.blob())
    else:
        response = ("unserved", ["busy", "unknown_feed", "banned"][r.enum(3)])
    r.end()
    return response


# Section 21: comparing states


def leb128(r):
    number, shift = 0, 0
    while True:
        byte = r.u8()
        if byte == 0 and shift:
            raise Refused("frame a number that is longer than it must be")
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number


def read_bound(r, above):
    stamp = above - leb128(r)
    digest = r.take(r.u8())
    if digest[-1:] == b"\0":
        raise Refused("frame a bound that ends in zeros")
    return stamp, digest.ljust(16, b"\0")


def read_ranges(data):
    r = Reader(data)
    salt, top, parts = r.take(8), read_bound(r, 2**64 - 1), []
    before = top
    for _ in range(leb128(r)):
        low = read_bound(r, before[0])
        mode = r.u8()
        has = {1: lambda: r.take(16), 2: lambda: r.take(16), 3: lambda: [r.take(6) for _ in range(leb128(r))]}
        parts.append((low, mode, has.get(mode, lambda: None)()))
        if low >= before:
            raise Refused("frame ranges that do not fall")
        before = low
    r.end()
    return salt, top, parts


def climb_partly(leaves, count, hashes):
    """From some leaves, by index, and the hashes beside their ways, to the root."""
    level, width, hashes = dict(leaves), count, list(hashes)
    while width > 1:
        above = {}
        for parent in sorted({at // 2 for at in level}):
            children = []
            for child in (2 * parent, 2 * parent + 1):
                if child < width:
                    children.append(level[child] if child in level else hashes.pop(0))
            above[parent] = node(*children) if len(children) == 2 else children[0]
        level, width = above, (width + 1) // 2
    if hashes:
        raise Refused("bad_proof hashes left over")
    return level[0]


def read_excerpt(data):
    header, r = data[:228], Reader(data[228:])
    number = lambda: int.from_bytes(r.take(4), "little")
    indices = [number() for _ in range(number())]
    hashes = [r.take(32) for _ in range(number())]
    codec, size = r.u8(), number()
    body, messages = Reader(unpack(codec, r.data[r.at :], size)), []
    while body.at < size:
        messages.append(body.take(int.from_bytes(body.take(4), "little")))
    leaves = {index: leaf(message) for index, message in zip(indices, messages, strict=True)}
    same("excerpt's root", climb_partly(leaves, int.from_bytes(header[128:132], "little"), hashes), header[132:164])
    return header, indices, messages


def read_state_request(data):
    r = Reader(data)
    same("request tag", r.enum(6), 5)
    variant = r.enum(5)
    if variant == 0:
        request = ("collections", r.option(r.text))
    elif variant == 1:
        request = ("compare", r.text(), r.blob())
    elif variant == 2:
        request = ("take", r.list(r.blob))
    elif variant == 3:
        at, block, chain, network, until = r.varint(64), r.take(32), r.take(32), r.take(32), r.varint(64)
        collections = r.list(lambda: (r.text(), r.varint(64), r.take(32)))
        request = ("endorse", at, block, chain, network, until, collections)
    else:
        name, floor = r.text(), (r.take(24), r.varint(64), r.take(32))
        request = ("roll", name, floor, r.option(lambda: (r.take(24), r.take(32))))
    r.end()
    return request


def read_state_response(data):
    r = Reader(data)
    same("response tag", r.enum(7), 6)
    variant = r.enum(5)
    if variant == 0:
        def floor():
            return (r.take(24), r.varint(64), r.take(32))

        listed = r.list(lambda: (r.text(), r.varint(64), r.take(32), r.option(floor)))
        response = ("collections", listed, r.boolean())
    elif variant == 1:
        response = ("compared", r.blob(), r.list(r.blob))
    elif variant == 2:
        response = ("taken",)
    elif variant == 3:
        raise Refused("what a validator says of an extent is not read here")
    else:
        response = ("rolled", r.list(lambda: (r.take(24), r.take(32))), r.boolean())
    r.end()
    return response


def check_states(b):
    header, indices, messages = read_excerpt(b["excerpt"])
    same("excerpt's header", header, b["write"][:228])
    same("excerpt's messages", (indices, len(messages)), ([1, 4], 2))
    ranges = read_ranges(b["ranges"])
    start = 1_700_000_000_000
    same("ranges", (ranges[0], ranges[1]), (b"\5" * 8, ((start + 9) << 16, bytes(16))))
    same("modes", [mode for _, mode, _ in ranges[2]], [0, 1, 2, 3, 4])
    same("bounds", [low[0] for low, _, _ in ranges[2]], [ms << 16 for ms in (start, start, start - 1, start - 500, 0)])
    same("a bound's digest", ranges[2][0][0][1][:3], b"\x80\1\0")
    same("tags", ranges[2][3][2], [b"\3" * 6, b"\4" * 6])
    same("request collections", read_state_request(b["request_collections"]), ("collections", "a"))
    same("request compare", read_state_request(b["request_compare"]), ("compare", "c", b["ranges"]))
    same("request take", read_state_request(b["request_take"]), ("take", [b"excerpt"]))
    same("response compared", read_state_response(b["response_compared"]), ("compared", b["ranges"], [b"excerpt"]))
    same("response taken", read_state_response(b["response_taken"]), ("taken",))

    def entry(n):
        return (((start << 16) + n).to_bytes(8, "big") + bytes([n]) * 16, bytes([n]) * 32)

    roll = b"".join(version + digest for version, digest in map(entry, (1, 2, 3)))
    floor = (entry(9)[0], 3, derived("roll", roll + (3).to_bytes(8, "big")))
    listed = ("collections", [("c", 3, b"\x08" * 32, None), ("d", 3, b"\x08" * 32, floor)], False)
    same("response collections", read_state_response(b["response_collections"]), listed)
    same("request roll", read_state_request(b["request_roll"]), ("roll", "c", floor, entry(1)))
    same("response rolled", read_state_response(b["response_rolled"]), ("rolled", [entry(2), entry(3)], True))


# Section 13 and 14: kinds and their payloads, as the page lists them


def read_page(text):
    """The kinds' tags from the table of section 13 and the layouts from the block of section 14."""
    table = text.split("## 13.")[1].split("## 14.")[0]
    kinds = {}
    for category, row in re.findall(r"^\| (\d+) `\w+` \| (.*) \|$", table, re.M):
        for number, name in re.findall(r"(\d+) (\w+)", row):
            kinds[int(category) << 8 | int(number)] = name
    return kinds, read_layouts(text.split("## 14.")[1])


def read_layouts(text):
    """The layouts in the first block of them."""
    layouts = {}
    block = text.split("```layouts\n")[1].split("```")[0]
    for line in re.sub(r"\n {4}", " ", block).splitlines():
        if " = " in line:
            name, fields = line.split(" = ")
            layouts[name] = ("struct", pairs(fields))
        elif " : " in line:
            name, variants = line.split(" : ")
            layouts[name] = ("enum", [variant(v) for v in variants.split(" | ")])
    return layouts


def pairs(fields):
    return [tuple(field.split(" ")) for field in fields.split(", ")]


def variant(text):
    if text.endswith("}"):
        name, fields = text[:-1].split(" {")
        return name, pairs(fields)
    if text.endswith(")"):
        name, inner = text[:-1].split(" (")
        return name, inner
    return text, None


class Payloads:
    def __init__(self, layouts):
        self.layouts = layouts

    def read(self, kind, r):
        """A value in the form that JSON has of it."""
        if kind[0] == "?":
            return r.option(lambda: self.read(kind[1:], r))
        if kind[0] == "[":
            return r.list(lambda: self.read(kind[1:-1], r))
        if kind == "{str}":
            return dict(r.list(lambda: (r.text(), r.text())))
        simple = {
            "str": r.text, "bool": r.boolean, "f64": r.f64, "i32": lambda: r.signed(32),
            "u8": r.u8, "u16": lambda: r.varint(16), "u32": lambda: r.varint(32), "u64": lambda: r.varint(64),
            "ms": lambda: r.varint(64), "Incarnation": lambda: str(r.varint(64)), "Amount": lambda: str(r.varint(128)), "Hash": lambda: r.take(32).hex(),
            "NodeId": lambda: node_id_text(r.take(32)), "MessageId": lambda: str(uuid.UUID(bytes=r.take(16))),
            "Version": lambda: r.take(24).hex(), "tok": lambda: str(r.varint(64)), "Sig": lambda: r.take(64).hex(),
            "Blob": lambda: r.blob().hex(), "Json": lambda: json.loads(r.text()),
        }  # fmt: skip
        if kind in simple:
            return simple[kind]()
        form, parts = self.layouts[kind]
        if form == "struct":
            return {name: self.read(part, r) for name, part in parts}
        name, inside = parts[r.enum(len(parts))]
        if inside is None:
            return name
        if isinstance(inside, str):
            return {name: self.read(inside, r)}
        return {name: {field: self.read(part, r) for field, part in inside}}


def check_wire(v):
    b = {name: bytes.fromhex(text) for name, text in v.items() if re.fullmatch("([0-9a-f]{2})+", text)}
    network, key = derived("network", v["network_name"].encode()), SigningKey(b["secret_key"])
    author = bytes(key.verify_key)
    same("network id", network.hex(), v["network_id"])
    same("node id", node_id_text(author), v["node_id"])

    message = decode_message(b["message"])
    same("message id", str(uuid.UUID(bytes=message["id"])), v["message_id"])
    same("kind", message["kind"], 0x0508)
    same("content type", message["content_type"], "application/json")
    same("destination", message["destination"], ("service", "prices"))
    same("tags", message["tags"], ["xrp", "eth"])
    same("headers", message["headers"], {"desk": "7"})
    same("encryption", message["encryption"], (bytes([4] * 32), bytes([5] * 32)))
    same("expires", message["expires"], 1_700_000_060_000)
    same("payload", message["payload"], b"{}")
    same("leaf", leaf(b["message"]).hex(), v["leaf"])

    header = decode_header(b["header"])
    same("author", header["author"], author)
    same("incarnation", header["incarnation"], 0x0102030405060708)
    same("statement", statement_digest(b["header"]).hex(), v["statement_digest"])
    same("signature", key.sign(statement_digest(b["header"])).signature.hex(), v["signature"])
    verify(b["header"], b["signature"])
    same("bundle id", bundle_id(b["header"]).hex(), v["bundle_id"])

    found, items, identity = check_bundle(b["bundle_plain"], network)
    same("plain header", found, header)
    same("plain id", identity.hex(), v["bundle_id"])
    same("plain messages", [decode_message(i)["payload"] for i in items], [b"one", b"two", b"three"])
    leaves = [leaf(item) for item in items]
    same("root", root(leaves).hex(), v["root_of_three"])
    same("path of 0", climb(leaves[0], 0, 3, [leaves[1], leaves[2]]), header["root"])
    same("path of 2", climb(leaves[2], 2, 3, [node(leaves[0], leaves[1])]), header["root"])
    _, items, _ = check_bundle(b["bundle_lz4"], network)
    same("lz4 messages", [decode_message(i)["payload"] for i in items], [b"a" * 1000, b"b" * 1000])

    feed = {"author": author, "incarnation": 0x0102030405060708, "topic": 5}
    head = {"feed": feed, "floor": 3, "next": 301, "hash": b["bundle_id"], "forked": 302}
    same("request heads", decode_request(b["request_heads"]), ("heads", feed))
    same("request range", decode_request(b["request_range"]), ("range", feed, 3, 300, True))
    same("request fork", decode_request(b["request_fork"]), ("fork", feed))
    same("request ends", decode_request(b["request_ends"]), ("ends", author, header["incarnation"]))
    same("response fork", decode_response(b["response_fork"]), ("fork", b"first", b"second"))
    check_states(b)
    same("response heads", decode_response(b["response_heads"]), ("heads", [head], True))
    same("response range", decode_response(b["response_range"]), ("range", 3, [b"bundle"]))
    check_refusals(b["bundle_plain"], network)


def check_refusals(wire, network):
    """Section 9 from the other side: one byte wrong, one refusal."""
    cases = [
        (0, "version"), (1, "flags"), (2, "priority"), (3, "topic"), (12, "ephemeral"), (20, "bad_signature"),
        (28, "ephemeral"), (63, "too_large"), (64, "wrong_network"), (96, "bad_signature"), (131, "count"),
        (132, "bad_signature"), (164, "bad_signature"), (228, "codec"), (229, "truncated"),
    ]  # fmt: skip
    for at, code in cases:
        broken = bytearray(wire)
        broken[at] ^= 0x80
        refused(f"byte {at}", code, lambda: check_bundle(bytes(broken), network))
    refused("no body", "truncated", lambda: check_bundle(wire[:-1], network))
    refused("nothing", "truncated", lambda: check_bundle(b"", network))
    body = bytearray(wire)
    body[-1] ^= 1
    refused("another word", "bad_root", lambda: check_bundle(bytes(body), network))


def check_kinds(rows, page):
    kinds, layouts = read_page(page)
    same("kinds in the table", len(kinds), len(rows))
    payloads = Payloads(layouts)
    for row in rows:
        name = row["kind"].split("/")[1]
        same(f"tag of {row['kind']}", kinds.get(row["tag"]), name)
        r = Reader(bytes.fromhex(row["bincode"]))
        same(f"payload of {row['kind']}", payloads.read(name, r), row["payload"])
        r.end()


# Section 20: the ledger


def little(number, size=8):
    return number.to_bytes(size, "little")


def check_ledger(v, page):
    # The ledger has words of its own for what kinds call so, too: Transaction, Proof.
    payloads = Payloads(read_page(page)[1] | read_layouts(page.split("## 20.")[1]))
    chain, key = bytes.fromhex(v["chain"]), SigningKey(bytes.fromhex(v["secret_key"]))
    account, sealed = bytes(key.verify_key), bytes.fromhex(v["sealed"])
    same("account", node_id_text(account), v["account"])
    r = Reader(sealed)
    read = payloads.read("Sealed", r)
    r.end()
    same("order", read["order"], v["order"])

    r = Reader(sealed)
    same("chain and account", r.take(64), chain + account)
    nonce, items = r.varint(64), []
    for _ in range(r.size()):
        start = r.at
        payloads.read("Transaction", r)
        items.append(sealed[start : r.at])
    tree, count = root([leaf(item) for item in items]), struct.pack("<I", len(items))
    digest = derived("seal", b"\6" + chain + account + count + tree + little(nonce))
    same("seal", key.sign(digest).signature.hex(), read["signature"])
    ids = [derived("transaction", chain + account + little(nonce + n) + item).hex() for n, item in enumerate(items)]
    same("transaction ids", ids, v["ids"])

    header, block = bytes.fromhex(v["header"]), bytes.fromhex(v["block"])
    same("header", (len(header), header[0]), (341, 2))
    same("height, round", struct.unpack_from("<QI", header, 1), (258, 1))
    lists, at = [], 341
    for _ in range(3):
        listed, at = int.from_bytes(block[at : at + 4], "little"), at + 4
        lists.append([])
        for _ in range(listed):
            size = int.from_bytes(block[at : at + 4], "little")
            lists[-1].append(block[at + 4 : at + 4 + size])
            at += 4 + size
    same("block's end", at, len(block))
    same("body", lists[:2], [[sealed], [b"evidence"]])
    digests = [block[21 + 32 * n : 53 + 32 * n] for n in range(10)]
    same("chain of the block", digests[0], chain)
    same("transactions root", digests[2], root([leaf(item) for item in lists[0]]))
    same("evidence root", digests[7], root([leaf(item) for item in lists[1]]))
    same("anchors root", digests[8], root([leaf(item) for item in lists[2]]))
    same("block id", derived("block", block[:341]).hex(), v["block_id"])
    same("validators", derived("validators", bytes.fromhex(v["validators"])).hex(), v["validators_hash"])
    for record, binary in v["records"]:
        r = Reader(bytes.fromhex(binary))
        same("record", payloads.read("Record", r), record)
        r.end()
    r = Reader(bytes.fromhex(v["proof"]))
    proof = payloads.read("Proof", r)
    r.end()
    same("proof", (proof["key"], proof["value"], len(proof["finalities"])), ("04010203", "0506", 1))


# Section 19: agreement

NO_ROUND = 0xFFFFFFFF
SAYING_BYTES = 33_299


def fields(data, shape):
    """The fields of a fixed layout, and what is left."""
    size = struct.calcsize("<" + shape)
    if len(data) < size:
        raise Refused("truncated")
    return struct.unpack_from("<" + shape, data), data[size:]


def decode_voted(data):
    (some, block, voter, signature), data = fields(data, "B32s32s64s")
    if some > 1 or (some == 0 and block != bytes(32)):
        raise Refused("agreement")
    return (block if some else None, voter, signature), data


def decode_signatures(data, read):
    (count,), data = fields(data, "H")
    if not 1 <= count <= 256:
        raise Refused("agreement")
    found = []
    for _ in range(count):
        one, data = read(data)
        found.append(one)
    voters = [one[-2] for one in found]
    if any(a >= b for a, b in zip(voters, voters[1:])):
        raise Refused("agreement")
    return found, data


def decode_word(data):
    """A message as (kind, height, round, rest), and what is left."""
    (kind,), data = fields(data, "B")
    if not 1 <= kind <= 6:
        raise Refused("agreement")
    (height, around), data = fields(data, "QI")
    if height < 1:
        raise Refused("agreement")
    if kind <= 2:
        rest, data = decode_voted(data)
    elif kind == 3:
        rest, data = fields(data, "I32s32s64s")
        if rest[0] != NO_ROUND and rest[0] >= around:
            raise Refused("agreement")
    elif kind <= 5:
        (block,), data = fields(data, "32s")
        rest, data = decode_signatures(data, lambda data: fields(data, "32s64s"))
        rest = (block, rest)
    else:
        (skip,), data = fields(data, "B")

        def vote(data):
            (step,), data = fields(data, "B")
            if step not in (1, 2):
                raise Refused("agreement")
            voted, data = decode_voted(data)
            return (step, *voted), data

        rest, data = decode_signatures(data, vote)
        if skip > 1:
            raise Refused("agreement")
        rest = (skip, rest)
    return (kind, height, around, rest), data


def decode_saying(data):
    if len(data) > SAYING_BYTES:
        raise Refused("too_large")
    (version, again), data = fields(data, "BH")
    if version != 1:
        raise Refused("version")
    word, data = decode_word(data)
    if data:
        raise Refused("agreement")
    return again, word


def said_digest(chain, label, author, block, position):
    count = struct.pack("<I", 0 if block is None else 1)
    return derived("seal", bytes([label]) + chain + author + count + (block or bytes(32)) + position)


def statements(chain, word):
    """Every signature in a message, with its author and the digest it is over."""
    kind, height, around, rest = word
    place = struct.pack("<QI", height, around)
    if kind <= 2:
        block, voter, signature = rest
        return [(voter, said_digest(chain, 2 + kind, voter, block, place), signature)]
    if kind == 3:
        valid, block, proposer, signature = rest
        return [(proposer, said_digest(chain, 5, proposer, block, place + struct.pack("<I", valid)), signature)]
    if kind <= 5:
        block, signatures = rest
        return [(voter, said_digest(chain, kind - 1, voter, block, place), signed) for voter, signed in signatures]
    return [(voter, said_digest(chain, 2 + step, voter, block, place), signed) for step, block, voter, signed in rest[1]]


def check_signatures(chain, word):
    for author, digest, signature in statements(chain, word):
        try:
            VerifyKey(author).verify(digest, signature)
        except BadSignatureError as error:
            raise Refused("bad_signature") from error


def decode_evidence(data):
    one, data = decode_word(data)
    other, data = decode_word(data)
    if data or one[0] > 3 or one[:3] != other[:3] or one[3][-2] != other[3][-2]:
        raise Refused("agreement")
    if one[0] == 3:
        order = [(rest[1], -1 if rest[0] == NO_ROUND else rest[0], rest[3]) for rest in (one[3], other[3])]
        contradicts = order[0][:2] != order[1][:2]
    else:
        order = [(rest[0] is not None, rest[0] or b"", rest[2]) for rest in (one[3], other[3])]
        contradicts = order[0][:2] != order[1][:2]
    if not contradicts or order[0] >= order[1]:
        raise Refused("agreement")
    return one, other


def check_agreement(v):
    chain = bytes.fromhex(v["chain"])
    keys = [SigningKey(bytes.fromhex(secret)) for secret in v["secret_keys"]]
    public = {bytes(key.verify_key): key for key in keys}
    sayings = [bytes.fromhex(saying) for saying in v["sayings"]]
    words, digests = [decode_saying(saying) for saying in sayings], []
    for again, word in words:
        same("again", again, 1)
        check_signatures(chain, word)
        said = statements(chain, word)
        for author, digest, signature in said:
            # Signing is deterministic: the page alone gives every byte.
            same("signature", public[author].sign(digest).signature, signature)
        if word[0] <= 3:
            digests.append(said[0][1].hex())
    same("digests of votes and proposals", digests, v["digests"])
    same("kinds", sorted({word[0] for _, word in words}), [1, 2, 3, 4, 5, 6])

    vote, proposal = sayings[0], next(saying for saying in sayings if saying[3] == 3)
    many = next(saying for saying in sayings if saying[3] == 5)
    refused("a later version", "version", lambda: decode_saying(b"\2" + vote[1:]))
    refused("an unknown kind", "agreement", lambda: decode_saying(vote[:3] + b"\7" + vote[4:]))
    refused("height 0", "agreement", lambda: decode_saying(vote[:4] + bytes(8) + vote[12:]))
    refused("some of 2", "agreement", lambda: decode_saying(vote[:16] + b"\2" + vote[17:]))
    refused("no block, and one", "agreement", lambda: decode_saying(vote[:16] + b"\0" + vote[17:]))
    refused("a byte behind", "agreement", lambda: decode_saying(vote + b"\0"))
    refused("a byte less", "truncated", lambda: decode_saying(vote[:-1]))
    refused("valid in its own round", "agreement", lambda: decode_saying(proposal[:16] + proposal[12:16] + proposal[20:]))
    refused("nobody", "agreement", lambda: decode_saying(many[:48] + bytes(2)))
    swapped = many[:50] + many[146:242] + many[50:146] + many[242:]
    refused("voters out of order", "agreement", lambda: decode_saying(swapped))
    refused("too many bytes", "too_large", lambda: decode_saying(bytes(SAYING_BYTES + 1)))
    for saying in sayings:
        spoiled = saying[:12] + bytes([saying[12] ^ 1]) + saying[13:]
        moved = struct.unpack_from("<I", spoiled, 12)[0]
        refused(f"signed for another round than {moved}", "bad_signature",
                lambda: check_signatures(chain, decode_saying(spoiled)[1]))
    refused("signed for another chain", "bad_signature", lambda: check_signatures(bytes(32), words[0][1]))
    precommit = vote[:3] + b"\2" + vote[4:]
    refused("a prevote as a precommit", "bad_signature",
            lambda: check_signatures(chain, decode_saying(precommit)[1]))

    for piece in v["evidence"]:
        piece = bytes.fromhex(piece)
        pair = decode_evidence(piece)
        for word in pair:
            check_signatures(chain, word)
        half = len(piece) // 2
        refused("the greater first", "agreement", lambda: decode_evidence(piece[half:] + piece[:half]))
        refused("the same twice", "agreement", lambda: decode_evidence(piece[:half] * 2))


def check_genesis(v):
    same("chain id", derived("chain", bytes.fromhex(v["genesis"])).hex(), v["chain"])


if __name__ == "__main__":
    check_wire(json.loads((HERE / "wire.json").read_text()))
    check_kinds(json.loads((HERE / "kinds.json").read_text()), PAGE.read_text())
    check_agreement(json.loads((HERE / "agreement.json").read_text()))
    check_ledger(json.loads((HERE / "ledger.json").read_text()), PAGE.read_text())
    check_genesis(json.loads((HERE / "genesis.json").read_text()))
    print(f"{CHECKED} facts hold")
