//! What a client may ask its node to say, every other node takes: a draft that passes its check becomes a message
//! within the limits, and the bundle around it is believed.
#![no_main]

use arbitrary::Arbitrary;
use metanode::types::limits::{HEADER_VALUE_BYTES, MESSAGE_BYTES, NAME_BYTES};
use metanode::types::{Hash, Incarnation, MessageId, Stamp, WallMs};
use metanode::wire::kind::external::Custom;
use metanode::wire::kind::Blob;
use metanode::wire::{Category, Course, Destination, Draft, Faults, FeedId, Header, Payload, Pending, Priority};
use metanode_fuzz::{START_MS, author, believed, check, key, network};

#[derive(Arbitrary, Debug)]
struct Asked {
    body_bytes: u32,
    tags: Vec<u8>,
    /// Sizes of names and values.
    headers: Vec<(u8, u16)>,
    /// So many more headers, each with a value of this size.
    alike: Option<(u8, u16)>,
    destination: Option<u8>,
    expires: Option<u64>,
}

libfuzzer_sys::fuzz_target!(|asked: Asked| {
    let body = Blob(vec![b'x'; asked.body_bytes as usize % (MESSAGE_BYTES + 1)]);
    let custom = Custom { type_name: "a.b".into(), schema_version: 1, content_type: "a/b".into(), body };
    let payload = Payload::Custom(custom.into());
    let mut faults = Faults::default();
    payload.check(&mut faults);
    let mut draft = Draft::new(&payload);
    let text = |size: usize| "é".repeat(size / 2) + if size % 2 == 1 { "e" } else { "" };
    draft.tags = asked.tags.iter().map(|size| text(usize::from(*size) % (NAME_BYTES + 2))).collect();
    let header = |(n, (name, value)): (usize, &(u8, u16))| {
        (format!("{n}-{}", text(usize::from(*name) % NAME_BYTES)), text(usize::from(*value) % (HEADER_VALUE_BYTES + 2)))
    };
    draft.headers = asked.headers.iter().enumerate().map(header).collect();
    if let Some((count, size)) = asked.alike {
        let more = (0..count % 33).map(|n| (format!("alike-{n}"), text(usize::from(size) % (HEADER_VALUE_BYTES + 2))));
        draft.headers.extend(more);
    }
    draft.destination = asked.destination.map_or(Destination::Everyone, |n| Destination::Service(text(n.into())));
    draft.expires = asked.expires.map(WallMs);
    draft.check(WallMs(START_MS), &mut faults);
    if !faults.is_empty() {
        return;
    }
    let mut pending = Pending::default();
    pending.push(&draft.message(MessageId::new(Stamp::new(START_MS, 1), 7)));
    let header = Header {
        course: Course::Feed,
        priority: Priority::Normal,
        network: network(),
        feed: FeedId { author: author(7), incarnation: Incarnation(1), topic: Category::External },
        sequence: 0,
        previous: Hash::ZERO,
        clock: Stamp(0),
        count: 0,
        body_bytes: 0,
        root: Hash::ZERO,
    };
    let bundle = pending.seal(header, &key(7)).expect("there is a message");
    let checked = check(bundle.wire()).expect("what a node says, the others take");
    assert!(checked.refused().is_empty());
    believed(&checked);
});
