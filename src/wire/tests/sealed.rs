//! Sealed payloads: opened by their reader, and by nobody in any other circumstances.

use proptest::prelude::*;
use zeroize::Zeroizing;

use crate::types::{MessageId, NetworkId, NetworkName, NodeId, Stamp, WallMs};
use crate::wire::kind::monitoring::Metrics;
use crate::wire::{Destination, Draft, Message, Payload, SealingKey, Unopened, seal_for};

const AUTHOR: NodeId = NodeId([1; 32]);
const READER: NodeId = NodeId([2; 32]);
const EXPIRES: WallMs = WallMs(2_000_000_000_000);

fn network(name: &str) -> NetworkId {
    name.parse::<NetworkName>().unwrap().id()
}

fn key() -> SealingKey {
    SealingKey::from_seed(READER, &[3; 32])
}

fn payload() -> Payload {
    Payload::Metrics(Metrics { service: "s".into(), start_ms: WallMs(1), end_ms: WallMs(2), samples: Vec::new() })
}

fn draft() -> Draft {
    let mut draft = Draft::new(&payload());
    draft.destination = Destination::Node(READER);
    draft.tags = vec!["one".into()];
    draft.headers.insert("desk".into(), "7".into());
    draft
}

fn sealed(random: u8) -> Draft {
    let mut draft = draft();
    let random = Zeroizing::new([random; 32]);
    assert!(seal_for(&mut draft, AUTHOR, network("golden"), READER, key().public(), &random));
    draft
}

fn id() -> MessageId {
    MessageId::new(Stamp::new(1_700_000_000_000, 5), 9)
}

fn open(message: &Message<'_>) -> Result<Vec<u8>, Unopened> {
    key().open(message, AUTHOR, network("golden"), EXPIRES).map(|plain| plain.to_vec())
}

#[test]
fn a_sealed_payload_keeps_its_bytes() {
    let draft = sealed(4);
    let message = draft.message(id());
    let encryption = message.encryption.clone().unwrap();
    assert_eq!(
        [
            hex::encode(key().public()),
            encryption.key_id.to_string(),
            hex::encode(encryption.ephemeral),
            hex::encode(message.payload),
        ],
        [
            "90ab790ecbf0704232ffe9436faeccc913b66a60e99c688a40bba4d5e2e61450",
            "58f6b30d81b5c64696c95aea942cf536c1dbac774a4f3c88adbfae84a007fd43",
            "c1788ad242c9981a531ffd935da2368bab52f8c8df602cd8f0879b492d65584c",
            "8553159ef707b242bd21faefaf420cdd499242574b"
        ]
    );
    assert_eq!(open(&message), Ok(payload().encode()));
}

#[test]
fn what_is_sealed_opens_in_its_own_circumstances_only() {
    let draft = sealed(4);
    let message = draft.message(id());
    let opened = |key: &SealingKey, author, net: &str, expires| {
        key.open(&message, author, network(net), expires).map(|plain| plain.to_vec())
    };
    assert_eq!(opened(&key(), AUTHOR, "golden", EXPIRES), Ok(payload().encode()));
    assert_eq!(opened(&key(), READER, "golden", EXPIRES), Err(Unopened::Altered), "of another author");
    assert_eq!(opened(&key(), AUTHOR, "other", EXPIRES), Err(Unopened::Altered), "in another network");
    assert_eq!(opened(&key(), AUTHOR, "golden", WallMs(1)), Err(Unopened::ExpiredKey));
    let other = SealingKey::from_seed(READER, &[9; 32]);
    assert_eq!(opened(&other, AUTHOR, "golden", EXPIRES), Err(Unopened::UnknownKey));
    // The same secret as another node's key: the id tells them apart, and so does what is bound.
    let stolen = SealingKey::from_seed(AUTHOR, &[3; 32]);
    assert_eq!(opened(&stolen, AUTHOR, "golden", EXPIRES), Err(Unopened::UnknownKey));
    let mut confused = message.clone();
    confused.encryption.as_mut().unwrap().key_id = stolen.id();
    assert_eq!(stolen.open(&confused, AUTHOR, network("golden"), EXPIRES).unwrap_err(), Unopened::Altered);
    confused.encryption.as_mut().unwrap().key_id = other.id();
    assert_eq!(other.open(&confused, AUTHOR, network("golden"), EXPIRES).unwrap_err(), Unopened::Altered);
    confused.encryption = None;
    assert_eq!(open(&confused), Err(Unopened::UnknownKey));
}

/// Everything a message says around its payload, changed one at a time.
#[test]
fn a_ciphertext_cannot_be_moved_to_another_message() {
    let draft = sealed(4);
    let message = draft.message(id());
    let other = id();
    type Change = fn(&mut Message<'_>, MessageId);
    let changes: [(&str, Change); 9] = [
        ("kind", |m, _| m.kind += 1),
        ("schema version", |m, _| m.schema_version += 1),
        ("content type", |m, _| m.content_type = crate::wire::ContentType::Json),
        ("destination", |m, _| m.destination = Destination::Node(AUTHOR)),
        ("correlation", |m, id| m.correlation = Some(id)),
        ("parent", |m, id| m.parent = Some(id)),
        ("expires", |m, _| m.expires = Some(WallMs(7))),
        ("tags", |m, _| m.tags.clear()),
        ("headers", |m, _| m.headers.clear()),
    ];
    for (what, change) in changes {
        let mut moved = message.clone();
        change(&mut moved, other);
        assert_eq!(open(&moved), Err(Unopened::Altered), "{what}");
    }
}

#[test]
fn a_key_that_is_none_seals_nothing() {
    let mut draft = draft();
    assert!(!seal_for(&mut draft, AUTHOR, network("golden"), READER, &[0; 32], &Zeroizing::new([1; 32])));
    assert!(!draft.is_sealed() && draft.payload() == payload().encode());
}

#[test]
fn two_seals_of_one_payload_have_nothing_in_common() {
    let (one, other) = (sealed(1), sealed(2));
    assert_ne!(one.payload(), other.payload());
    assert_ne!(one.message(id()).encryption, other.message(id()).encryption);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn an_altered_bit_anywhere_closes_it(at in any::<prop::sample::Index>(), bit in 0..8u32, ephemeral in any::<bool>()) {
        let draft = sealed(4);
        let mut message = draft.message(id());
        let mut bytes = message.payload.to_vec();
        let encryption = message.encryption.as_mut().unwrap();
        if ephemeral {
            encryption.ephemeral[at.index(32)] ^= 1 << bit;
        } else {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        message.payload = &bytes;
        // The top bit of an X25519 key means nothing (RFC 7748, section 5), but it is bound like all others.
        prop_assert_eq!(open(&message), Err(Unopened::Altered));
    }
}
