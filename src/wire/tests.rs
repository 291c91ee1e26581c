//! Bytes, and what happens to those that are not right.

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::kind::Blob;
use super::kind::data::GraphUpdate;
use super::kind::external::Custom;
use super::*;
use crate::types::{Hash, Incarnation, MessageId, NetworkId, NetworkName, NodeId, Stamp, WallMs, limits};

mod checkpoint;
mod endorsement;
mod excerpt;
mod golden;
mod positions;
mod sealed;

const START_MS: u64 = 1_700_000_000_000;

fn network() -> NetworkName {
    "golden".parse().unwrap()
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn author() -> NodeId {
    NodeId(key().verifying_key().to_bytes())
}

fn header(topic: Category) -> Header {
    Header {
        course: Course::Feed,
        priority: Priority::Normal,
        network: network().id(),
        feed: FeedId { author: author(), incarnation: Incarnation(0x0102_0304_0506_0708), topic },
        sequence: 0,
        previous: Hash::ZERO,
        clock: Stamp(0),
        count: 0,
        body_bytes: 0,
        root: Hash::ZERO,
    }
}

fn id(n: u64) -> MessageId {
    MessageId::new(Stamp::new(START_MS + n / 7, (n % 7) as u16), 0x2AA_BBCC_DDEE_FF00)
}

/// A message of a kind nobody knows, so that any payload will do.
fn message<'a>(n: u64, payload: &'a [u8]) -> Message<'a> {
    Message {
        id: id(n),
        kind: u16::from(Category::Data.tag()) << 8 | 0xEE,
        schema_version: 1,
        content_type: ContentType::Bincode,
        destination: Destination::Everyone,
        correlation: n.is_multiple_of(3).then(|| id(1)),
        parent: None,
        expires: None,
        tags: Vec::new(),
        headers: Default::default(),
        encryption: None,
        payload,
    }
}

fn sealed(payloads: &[Vec<u8>]) -> Verified {
    let mut pending = Pending::default();
    for (n, payload) in payloads.iter().enumerate() {
        pending.push(&message(n as u64 + 1, payload));
    }
    pending.seal(header(Category::Data), &key()).unwrap()
}

fn check(wire: &[u8]) -> Result<Verified, Refusal> {
    Verified::check(Bundle::decode(Bytes::copy_from_slice(wire))?, network().id())
}

/// The tree by the letter of RFC 6962, for comparison.
fn root_by_the_book(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::ZERO,
        [one] => *one,
        many => {
            let split = many.len().next_power_of_two() / 2;
            let (left, right) = many.split_at(split);
            let mut bytes = vec![1];
            bytes.extend(root_by_the_book(left).0);
            bytes.extend(root_by_the_book(right).0);
            Hash(*blake3::hash(&bytes).as_bytes())
        }
    }
}

#[test]
fn the_tree_is_that_of_rfc_6962_and_every_path_leads_to_its_root() {
    for count in 1..70usize {
        let leaves: Vec<Hash> = (0..count).map(|n| merkle::leaf(&n.to_le_bytes())).collect();
        let root = merkle::root(leaves.clone());
        assert_eq!(root, root_by_the_book(&leaves), "{count} leaves");
        for (index, leaf) in leaves.iter().enumerate() {
            let path = merkle::path(leaves.clone(), index).unwrap();
            assert_eq!(merkle::climb(*leaf, index, count, &path), Some(root));
            assert!(count == 1 || merkle::climb(*leaf, index ^ 1, count, &path) != Some(root), "another place");
            assert_eq!(merkle::climb(*leaf, index, count, &[&path[..], &[root]].concat()), None, "a path too long");
        }
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let wire = sealed(&[b"one".to_vec(), b"two".to_vec()]).wire().to_vec();
    assert!(check(&wire).is_ok());
    for at in 0..wire.len() * 8 {
        let mut bad = wire.clone();
        bad[at / 8] ^= 1 << (at % 8);
        assert!(check(&bad).is_err(), "bit {at} flipped and still believed");
    }
}

#[test]
fn every_truncation_and_every_byte_too_many_is_refused() {
    let wire = sealed(&[vec![9; 2000], vec![8; 2000]]).wire().to_vec();
    assert_eq!(Bundle::decode(wire.clone().into()).unwrap().codec(), Codec::Zstd);
    for size in 0..wire.len() {
        assert!(check(&wire[..size]).is_err(), "{size} bytes");
    }
    assert!(matches!(check(&[&wire[..], &[0]].concat()), Err(Refusal::Truncated { .. })));
}

#[test]
fn a_frame_is_its_bundles_one_after_the_other_and_nothing_else() {
    let bundles: Vec<Bytes> = (1..6).map(|n| sealed(&vec![vec![n; 300]; n as usize]).wire().clone()).collect();
    let frame = Bytes::from(bundles.concat());
    let split: Vec<Bytes> = Bundle::split(frame.clone()).unwrap().iter().map(|b| b.wire().clone()).collect();
    assert_eq!(split, bundles);
    assert!(Bundle::split(Bytes::new()).is_err());
    let ends: Vec<usize> = bundles
        .iter()
        .scan(0, |at, b| {
            *at += b.len();
            Some(*at)
        })
        .collect();
    for size in 0..frame.len() {
        assert_eq!(Bundle::split(frame.slice(..size)).is_ok(), ends.contains(&size), "{size} bytes");
    }
    let many = bundles[0].repeat(limits::FRAME_BUNDLES + 1);
    assert!(matches!(Bundle::split(many.into()), Err(Refusal::Frame { .. })));
}

#[test]
fn a_small_frame_that_unpacks_to_much_is_refused_before_it_is_unpacked() {
    let bundle = sealed(&vec![vec![0; 100_000]; 6]).wire().clone();
    assert!(bundle.len() < 10_000, "{}", bundle.len());
    assert!(Bundle::split(bundle.clone()).is_ok());
    let two = Bytes::from([&bundle[..], &bundle[..]].concat());
    assert!(
        matches!(Bundle::split(two), Err(Refusal::TooLarge { size_bytes }) if size_bytes > limits::FRAME_BODY_BYTES)
    );
}

#[test]
fn a_draft_that_passes_becomes_a_message_that_is_taken() {
    let custom = |bytes: usize| Custom {
        type_name: "a.b".into(),
        schema_version: 1,
        content_type: "x/y".into(),
        body: Blob(vec![0; bytes]),
    };
    let said = |bytes: usize| {
        let mut draft = Draft::new(&Payload::Custom(custom(bytes)));
        draft.tags = (0..limits::TAGS).map(|n| format!("{n:0128}")).collect();
        draft.headers =
            (0..limits::HEADERS).map(|n| (format!("{n:0128}"), "v".repeat(limits::HEADER_VALUE_BYTES))).collect();
        draft.destination = Destination::Topic("t".repeat(limits::NAME_BYTES));
        draft.correlation = Some(MessageId([7; 16]));
        draft.parent = Some(MessageId([7; 16]));
        draft.expires = Some(WallMs(u64::MAX));
        let mut faults = Faults::default();
        draft.check(WallMs(0), &mut faults);
        let bytes = draft.message(MessageId::new(Stamp::new(1, 0), 1)).encode();
        (faults.is_empty(), Message::decode(&bytes).is_ok())
    };
    // The largest that passes is taken, and it is not far from the largest that could be.
    let largest = (100_000..160_000).rev().find(|bytes| said(*bytes).0).unwrap();
    assert!(said(largest).1);
    assert!(!said(largest + 800).1, "{largest}");
    assert_eq!(said(limits::MESSAGE_BYTES / 2), (false, false));
}

#[test]
fn a_claim_of_a_gigabyte_costs_nothing() {
    let mut wire = sealed(&[vec![9; 2000]]).wire().to_vec();
    wire[60..64].copy_from_slice(&(1u32 << 30).to_le_bytes());
    assert_eq!(check(&wire).unwrap_err(), Refusal::TooLarge { size_bytes: 1 << 30 });
    let mut wire = sealed(&[vec![9; 2000]]).wire().to_vec();
    wire[229..233].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(check(&wire), Err(Refusal::Truncated { .. })));
    let mut wire = sealed(&[vec![9; 2000]]).wire().to_vec();
    wire[128..132].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(check(&wire).unwrap_err(), Refusal::Count { count: u32::MAX });
}

#[test]
fn a_body_that_unpacks_to_more_than_it_says_is_refused() {
    let body = vec![0u8; 900_000];
    for (codec, packed) in
        [(Codec::Lz4, lz4_flex::block::compress(&body)), (Codec::Zstd, zstd::bulk::compress(&body, 3).unwrap())]
    {
        assert_eq!(codec.unpack(&packed, 1000).unwrap_err(), Refusal::Packing);
        assert_eq!(codec.unpack(&packed, body.len()).unwrap(), body);
        assert_eq!(codec.unpack(&packed, limits::BUNDLE_BYTES).unwrap_err(), Refusal::Packing);
        assert!(matches!(codec.unpack(&packed, limits::BUNDLE_BYTES + 1), Err(Refusal::TooLarge { .. })));
    }
}

#[test]
fn a_relay_may_pack_anew_without_breaking_the_seal() {
    let sealed = sealed(&[vec![9; 2000], vec![8; 2000]]);
    let body = sealed.bundle().unpack().unwrap();
    let packed = zstd::bulk::compress(&body, 3).unwrap();
    let mut wire = sealed.wire()[..SIGNED_BYTES].to_vec();
    wire.push(Codec::Zstd as u8);
    wire.extend((packed.len() as u32).to_le_bytes());
    wire.extend(packed);
    assert_eq!(check(&wire).unwrap().id(), sealed.id());
}

#[test]
fn another_networks_bundle_is_refused() {
    let wire = sealed(&[b"one".to_vec()]).wire().clone();
    let other: NetworkName = "other".parse().unwrap();
    let refused = Verified::check(Bundle::decode(wire).unwrap(), other.id());
    assert_eq!(refused.unwrap_err(), Refusal::WrongNetwork);
}

/// Seals messages without any of the care that [`Pending`]'s callers take.
fn careless(header: Header, messages: &[Message<'_>]) -> Result<Verified, Refusal> {
    let mut pending = Pending::default();
    messages.iter().for_each(|m| pending.push(m));
    check(pending.seal(header, &key()).unwrap().wire())
}

#[test]
fn what_an_author_may_not_seal_is_refused() {
    let data = header(Category::Data);
    let grown = [message(1, b""), message(2, b"")];
    assert!(careless(data.clone(), &grown).is_ok());
    let twice = [message(2, b""), message(2, b"")];
    assert_eq!(careless(data.clone(), &twice).unwrap_err(), Refusal::Ids);
    let back = [message(9, b""), message(2, b"")];
    assert_eq!(careless(data.clone(), &back).unwrap_err(), Refusal::Ids);
    let minutes = 7 * 1000 * 61;
    let wide = [message(1, b""), message(1 + minutes, b"")];
    assert_eq!(careless(data.clone(), &wide).unwrap_err(), Refusal::Ids);
    let elsewhere = careless(header(Category::System), &grown);
    assert_eq!(elsewhere.unwrap_err(), Refusal::WrongTopic);
    let unlinked = Header { sequence: 4, ..data.clone() };
    assert_eq!(careless(unlinked, &grown).unwrap_err(), Refusal::OutsideFeed);
    let endless = Header { sequence: limits::SEQUENCES, previous: Hash([1; 32]), ..data.clone() };
    assert_eq!(careless(endless, &grown).unwrap_err(), Refusal::Sequence { sequence: limits::SEQUENCES });
    let rootless = Header { previous: Hash([1; 32]), ..data.clone() };
    assert_eq!(careless(rootless, &grown).unwrap_err(), Refusal::OutsideFeed);
    let chained = Header { course: Course::Ephemeral, sequence: 1, previous: Hash([1; 32]), ..data.clone() };
    assert_eq!(careless(chained, &grown).unwrap_err(), Refusal::OutsideFeed);
    let mut kept = message(1, b"");
    kept.kind = Kind::ExchangeData.tag();
    let fleeting = Header { course: Course::Ephemeral, ..data.clone() };
    assert_eq!(careless(fleeting, &[kept]).unwrap_err(), Refusal::OutsideFeed);
    let large = vec![0; limits::MESSAGE_BYTES];
    assert!(matches!(careless(data.clone(), &[message(1, &large)]), Err(Refusal::MessageTooLarge { .. })));
    let mut tagged = message(1, b"");
    tagged.tags = vec!["t"; limits::TAGS + 1];
    assert!(matches!(careless(data.clone(), &[tagged]), Err(Refusal::Message { .. })));
    let mut nameless = message(1, b"");
    nameless.destination = Destination::Service(String::new());
    assert!(matches!(careless(data, &[nameless]), Err(Refusal::Message { .. })));
}

#[test]
fn a_payload_that_is_not_its_kinds_is_kept_and_refused_delivery() {
    let mut bad = message(1, b"not a trade");
    bad.kind = Kind::ExchangeData.tag();
    let bundle = careless(header(Category::Data), &[bad, message(2, b"unknown kinds pass")]).unwrap();
    let refused: Vec<u32> = bundle.refused().iter().map(|(index, _)| *index).collect();
    assert_eq!(refused, [0]);
}

#[test]
fn one_message_cut_out_is_provable_alone_and_nothing_else_is() {
    let bundle = sealed(&(0..11).map(|n| vec![n; 40]).collect::<Vec<_>>());
    let items: Vec<Bytes> = bundle.bytes().collect();
    for index in 0..items.len() {
        let proof = bundle.bundle().prove(&items, index).unwrap();
        let text = serde_json::to_string(&proof).unwrap();
        let read: Proof = serde_json::from_str(&text).unwrap();
        assert_eq!(read, proof);
        assert_eq!(read.verify(network().id()).unwrap().id, id(index as u64 + 1));
        assert_eq!(Proof::from_bytes(&proof.to_bytes()), Some(proof.clone()));
        let altered = Proof { message: items[(index + 1) % items.len()].clone(), ..proof.clone() };
        assert_eq!(altered.verify(network().id()).unwrap_err(), Refusal::BadProof);
        let moved = Proof { index: (index as u32 + 1) % 11, ..proof.clone() };
        assert_eq!(moved.verify(network().id()).unwrap_err(), Refusal::BadProof);
        let mut cut = proof.clone();
        cut.path.pop();
        assert_eq!(cut.verify(network().id()).unwrap_err(), Refusal::BadProof);
        let mut forged = proof.clone();
        forged.signed.header.clock = Stamp(1);
        assert_eq!(forged.verify(network().id()).unwrap_err(), Refusal::BadSignature);
    }
}

#[test]
fn a_range_that_runs_backwards_is_no_request() {
    let feed = header(Category::Data).feed;
    let request = Request::Range { feed, from: 5, to: 4, newest_first: false };
    assert!(matches!(Request::decode(&request.encode()), Err(Refusal::Frame { .. })));
}

#[test]
fn unknown_kinds_travel_and_known_ones_name_themselves() {
    let kind: Kind = "Data/GraphUpdate".parse().unwrap();
    let _: Option<GraphUpdate> = None;
    assert_eq!(Kind::from_tag(kind.tag()), Some(kind));
    assert_eq!(Kind::from_tag(0x05EE), None);
}

type Parts = (u64, Vec<u8>, Vec<String>, Option<u64>, Option<[u8; 16]>);

fn any_message() -> impl Strategy<Value = Parts> {
    let tags = prop::collection::vec("[a-zA-Zäß ]{0,20}", 0..4);
    (1u64..1000, prop::collection::vec(any::<u8>(), 0..200), tags, any::<Option<u64>>(), any::<Option<[u8; 16]>>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_message_is_what_was_encoded((n, payload, tags, expires, correlation) in any_message()) {
        let mut message = message(n, &payload);
        message.tags = tags.iter().map(String::as_str).collect();
        message.expires = expires.map(crate::types::WallMs);
        message.correlation = correlation.map(MessageId);
        message.headers = tags.iter().map(|t| (t.as_str(), "value")).collect();
        let bytes = message.encode();
        prop_assert_eq!(Message::decode(&bytes).unwrap(), message);
    }

    #[test]
    fn a_bundle_is_what_was_sealed(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..40)) {
        let ours = sealed(&payloads);
        let theirs = check(ours.wire()).unwrap();
        prop_assert_eq!(theirs.id(), ours.id());
        prop_assert_eq!(theirs.first(), ours.first());
        prop_assert_eq!(theirs.correlated(), ours.correlated());
        let read: Vec<Vec<u8>> = theirs.messages().map(|m| m.payload.to_vec()).collect();
        prop_assert_eq!(read, payloads);
    }

    #[test]
    fn arbitrary_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(check(&bytes).is_err());
        let _ = Message::decode(&bytes);
        let _ = Request::decode(&bytes);
        let _ = Response::decode(&bytes);
        let _ = SignedHeader::decode(&bytes);
        let _ = Proof::from_bytes(&bytes);
    }

    #[test]
    fn frames_are_what_was_encoded(from in any::<u64>(), more in any::<u64>(), newest_first in any::<bool>(),
                                   bundles in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..5)) {
        let feed = header(Category::Economic).feed;
        let request = Request::Range { feed, from, to: from.saturating_add(more), newest_first };
        prop_assert_eq!(Request::decode(&request.encode()).unwrap(), request);
        let response = Response::Range { floor: from, bundles: bundles.into_iter().map(Bytes::from).collect() };
        prop_assert_eq!(Response::decode(&response.encode()).unwrap(), response);
        let head = Head { feed, floor: 1, next: from, hash: Hash([3; 32]), forked: newest_first.then_some(from) };
        let response = Response::Heads { heads: vec![head; 3], more: newest_first };
        prop_assert_eq!(Response::decode(&response.encode()).unwrap(), response);
    }
}
