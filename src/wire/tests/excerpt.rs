//! Excerpts: whatever part of a bundle is kept can be proved, cut down and put together again, and nothing else passes.

use std::collections::BTreeSet;

use super::*;
use crate::wire::kind::Json;
use crate::wire::kind::state::{Change, CollectionWrite, Op};

pub(super) fn write(n: u64) -> Draft {
    let op = Op::Set { value: Json::from(&serde_json::Value::from(n)) };
    let changes = vec![Change { path: format!("cell/{n}"), over: Vec::new(), op }];
    Draft::new(&Payload::CollectionWrite(CollectionWrite { collection: "c".into(), client: None, changes }))
}

fn bundle(count: u64) -> Verified {
    let mut pending = Pending::default();
    (1..=count).for_each(|n| pending.push(&write(n).message(id(n))));
    pending.seal(header(Category::Data), &key()).unwrap()
}

fn excerpt(bundle: &Verified, keep: &BTreeSet<u32>) -> Option<Excerpt> {
    let items: Vec<Bytes> = bundle.bytes().collect();
    Excerpt::of(bundle.bundle(), &items, keep)
}

fn picks(count: u64) -> impl Strategy<Value = BTreeSet<u32>> {
    prop::collection::btree_set(0..count as u32, 1..=count as usize)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_kept_of_a_bundle_is_proved_and_no_more(
        (count, one, two) in (1..70u64).prop_flat_map(|count| (Just(count), picks(count), picks(count))),
    ) {
        let whole = bundle(count);
        let first = excerpt(&whole, &one).unwrap();
        for bytes in [first.encode(), first.encode_tight()] {
            let read = Excerpt::decode(&bytes).unwrap();
            prop_assert_eq!(&read, &first);
            let proven = read.prove(network().id()).unwrap();
            let said: BTreeSet<u32> = proven.writes().iter().map(|said| said.index).collect();
            prop_assert_eq!(&said, &one);
        }
        let second = excerpt(&whole, &two).unwrap();
        let both = first.join(&second).unwrap();
        prop_assert_eq!(&both, &excerpt(&whole, &(&one | &two)).unwrap());
        prop_assert_eq!(both.narrow(&two), Some(second));
        prop_assert_eq!(first.narrow(&(&two - &one)), None);
        if one.len() as u64 == count {
            let items: usize = whole.bytes().map(|item| 4 + item.len()).sum();
            let indices = 4 * count as usize;
            prop_assert_eq!(first.encode_plain().len(), SIGNED_BYTES + 13 + indices + items, "no hash is needed");
        }
    }

    #[test]
    fn a_changed_byte_is_never_believed(
        (count, keep) in (1..20u64).prop_flat_map(|count| (Just(count), picks(count))), at: prop::sample::Index, bit in 0..8u32,
    ) {
        let mut bytes = excerpt(&bundle(count), &keep).unwrap().encode().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let changed = Excerpt::decode(&bytes.into()).and_then(|read| read.prove(network().id()));
        // What is packed may be packed in another way; what it says is the same then.
        if let Ok(proven) = changed {
            let said: BTreeSet<u32> = proven.writes().iter().map(|said| said.index).collect();
            prop_assert_eq!(said, keep);
        }
    }

    #[test]
    fn noise_is_no_excerpt(bytes: Vec<u8>) {
        let header = bundle(3).signed_header().encode();
        let _ = Excerpt::decode(&Bytes::from(bytes.clone()));
        let read = Excerpt::decode(&Bytes::from([&header[..], &bytes].concat()));
        prop_assert!(read.is_err() || read.unwrap().prove(network().id()).is_err());
    }
}

#[test]
fn an_excerpt_of_another_network_topic_or_course_is_refused() {
    let keep = BTreeSet::from([0]);
    let other = "other".parse::<NetworkName>().unwrap().id();
    assert_eq!(excerpt(&bundle(2), &keep).unwrap().prove(other), Err(Refusal::WrongNetwork));
    let mut pending = Pending::default();
    pending.push(&write(1).message(id(1)));
    let direct = Header { course: Course::Direct, ..header(Category::Data) };
    let direct = pending.seal(direct, &key()).unwrap();
    assert_eq!(excerpt(&direct, &keep).unwrap().prove(network().id()), Err(Refusal::OutsideFeed));
}

#[test]
fn one_message_of_many_costs_a_hash_for_each_level_and_all_cost_none() {
    let whole = bundle(1000);
    let one = excerpt(&whole, &BTreeSet::from([499])).unwrap();
    assert!(one.encode().len() < SIGNED_BYTES + 17 + 10 * 32 + 120, "{}", one.encode().len());
    let all = excerpt(&whole, &(0..1000).collect()).unwrap();
    assert!(
        all.encode_tight().len() < whole.wire().len() + 4100,
        "{} of {}",
        all.encode_tight().len(),
        whole.wire().len()
    );
}
