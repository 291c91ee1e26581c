//! Bytes that must never change. A difference here is a new wire version, not a new vector.

use serde::{Deserialize, Serialize};

use super::*;

/// Inputs are in the test; what comes of them is in the file.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Vectors {
    network_name: String,
    network_id: String,
    secret_key: String,
    node_id: String,
    message_id: String,
    message: String,
    leaf: String,
    root_of_three: String,
    header: String,
    statement_digest: String,
    signature: String,
    bundle_id: String,
    bundle_plain: String,
    bundle_lz4: String,
    request_heads: String,
    request_range: String,
    response_heads: String,
    response_range: String,
    request_fork: String,
    request_ends: String,
    response_fork: String,
    request_deliver: String,
    response_receipt: String,
    write: String,
    excerpt: String,
    ranges: String,
    request_collections: String,
    request_compare: String,
    request_take: String,
    request_roll: String,
    response_collections: String,
    response_compared: String,
    response_taken: String,
    response_rolled: String,
}

fn full_message() -> Message<'static> {
    Message {
        id: id(5),
        kind: Kind::ExchangeData.tag(),
        schema_version: 1,
        content_type: ContentType::Json,
        destination: Destination::Service("prices".into()),
        correlation: Some(id(1)),
        parent: Some(id(2)),
        expires: Some(crate::types::WallMs(START_MS + 60_000)),
        tags: vec!["xrp", "eth"],
        headers: [("desk", "7")].into(),
        encryption: Some(Encryption { key_id: Hash([4; 32]), ephemeral: [5; 32] }),
        payload: b"{}",
    }
}

fn current() -> Vectors {
    let full = full_message();
    let plain = {
        let mut pending = Pending::default();
        pending.push(&message(1, b"one"));
        pending.push(&message(2, b"two"));
        pending.push(&message(3, b"three"));
        pending.seal(header(Category::Data), &key()).unwrap()
    };
    let packed = sealed(&[vec![b'a'; 1000], vec![b'b'; 1000]]);
    let signed = plain.signed_header();
    let (written, excerpt) = excerpt();
    let ranges = ranges().encode();
    let state = |request| hex::encode(Request::State(request).encode());
    let stated = |response| hex::encode(Response::State(response).encode());
    let feed = plain.header().feed;
    let head = Head { feed, floor: 3, next: 301, hash: plain.id(), forked: Some(302) };
    Vectors {
        network_name: network().to_string(),
        network_id: network().id().0.to_string(),
        secret_key: hex::encode(key().to_bytes()),
        node_id: author().to_string(),
        message_id: full.id.to_string(),
        message: hex::encode(full.encode()),
        leaf: merkle::leaf(&full.encode()).to_string(),
        root_of_three: plain.header().root.to_string(),
        header: hex::encode(signed.header.encode()),
        statement_digest: signed.header.statement(&signed.header.encode()).digest().to_string(),
        signature: hex::encode(signed.signature.0),
        bundle_id: plain.id().to_string(),
        bundle_plain: hex::encode(plain.wire()),
        bundle_lz4: hex::encode(packed.wire()),
        request_heads: hex::encode(Request::Heads { after: Some(feed) }.encode()),
        request_range: hex::encode(Request::Range { feed, from: 3, to: 300, newest_first: true }.encode()),
        response_heads: hex::encode(Response::Heads { heads: vec![head], more: true }.encode()),
        response_range: hex::encode(
            Response::Range { floor: 3, bundles: vec![Bytes::from_static(b"bundle")] }.encode(),
        ),
        request_fork: hex::encode(Request::Fork { feed }.encode()),
        request_ends: hex::encode(Request::Ends { author: feed.author, incarnation: feed.incarnation }.encode()),
        response_fork: hex::encode(
            Response::Fork { first: Bytes::from_static(b"first"), second: Bytes::from_static(b"second") }.encode(),
        ),
        request_deliver: hex::encode(
            Request::Deliver {
                hops: Hops {
                    passed: vec![Hop { node: author(), at_ms: crate::types::WallMs(START_MS) }],
                    ahead: vec![NodeId([7; 32])],
                    retries: 2,
                },
                bundle: Bytes::from_static(b"bundle"),
            }
            .encode(),
        ),
        response_receipt: hex::encode(
            Response::Receipt(Receipt::sign(
                plain.id(),
                Delivery::Taken,
                crate::types::WallMs(START_MS),
                network().id(),
                &key(),
            ))
            .encode(),
        ),
        write: hex::encode(written.wire()),
        excerpt: hex::encode(&excerpt),
        ranges: hex::encode(&ranges),
        request_collections: state(StateRequest::Collections { after: Some("a".into()) }),
        request_compare: state(StateRequest::Compare { collection: "c".into(), ranges: ranges.clone().into() }),
        request_take: state(StateRequest::Take { writes: vec![Bytes::from_static(b"excerpt")] }),
        request_roll: state(StateRequest::Roll {
            collection: "c".into(),
            floor: roll_floor(),
            after: Some(roll_entry(1)),
        }),
        response_collections: stated(StateResponse::Collections {
            listed: ["c", "d"].map(listed).to_vec(),
            more: false,
        }),
        response_compared: stated(StateResponse::Compared {
            ranges: ranges.into(),
            writes: vec![Bytes::from_static(b"excerpt")],
        }),
        response_taken: stated(StateResponse::Taken),
        response_rolled: stated(StateResponse::Rolled { entries: vec![roll_entry(2), roll_entry(3)], more: true }),
    }
}

/// One collection without a floor, another with one.
fn listed(name: &str) -> ListedCollection {
    let head = CollectionHead { name: name.into(), retained: 3, root: Hash([8; 32]) };
    ListedCollection { head, floor: (name == "d").then(roll_floor) }
}

/// The floor of the roll of entries 1 to 3.
fn roll_floor() -> FloorName {
    let mut hasher = crate::types::Domain::Roll.hasher();
    for entry in [1, 2, 3].map(roll_entry) {
        hasher.update(&entry.version.to_bytes());
        hasher.update(entry.digest.as_bytes());
    }
    hasher.update(&3u64.to_be_bytes());
    FloorName { version: roll_entry(9).version, count: 3, root: Hash(*hasher.finalize().as_bytes()) }
}

fn roll_entry(n: u8) -> RollEntry {
    let version = crate::types::Version { stamp: Stamp::new(START_MS, n.into()), digest: [n; 16] };
    RollEntry { version, digest: Hash([n; 32]) }
}

/// A bundle of five writes, and the second and the fifth of them.
fn excerpt() -> (Verified, Bytes) {
    let mut pending = Pending::default();
    (1..=5).for_each(|n| pending.push(&super::excerpt::write(n).message(id(n))));
    let bundle = pending.seal(header(Category::Data), &key()).unwrap();
    let items: Vec<Bytes> = bundle.bytes().collect();
    let excerpt = Excerpt::of(bundle.bundle(), &items, &[1, 4].into()).unwrap();
    (bundle, excerpt.encode())
}

fn ranges() -> Ranges {
    let bound = |ms, first: &[u8]| {
        let mut digest = [0; 16];
        digest[..first.len()].copy_from_slice(first);
        crate::types::Version { stamp: Stamp::new(ms, 0), digest }
    };
    let parts = vec![
        Part { low: bound(START_MS, &[0x80, 0x01]), mode: Mode::Same },
        Part { low: bound(START_MS, &[]), mode: Mode::Sum([1; 16]) },
        Part { low: bound(START_MS - 1, &[]), mode: Mode::Salted([2; 16]) },
        Part { low: bound(START_MS - 500, &[7]), mode: Mode::Tags(vec![[3; 6], [4; 6]]) },
        Part { low: bound(0, &[]), mode: Mode::All },
    ];
    Ranges { salt: [5; 8], top: bound(START_MS + 9, &[]), parts }
}

#[test]
fn the_bytes_on_the_wire_are_the_golden_ones() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/wire.json");
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(path, serde_json::to_string_pretty(&current()).unwrap() + "\n").unwrap();
    }
    let golden: Vectors = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(current(), golden);
    let read = hex::decode(&golden.message).unwrap();
    assert_eq!(Message::decode(&read).unwrap(), full_message());
    for bundle in [&golden.bundle_plain, &golden.bundle_lz4] {
        check(&hex::decode(bundle).unwrap()).unwrap();
    }
}
