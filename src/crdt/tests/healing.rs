//! Comparing states: the index against a sorted list, sessions against the plain difference of sets and against
//! negentropy, and any two states against the model of all writes.

use negentropy::{Id, Negentropy, NegentropyStorageVector};

use super::super::index;
use super::*;
use crate::wire::{Mode, Ranges};

const SALT: [u8; 8] = *b"saltsalt";

fn entry(stamp: u64, seed: u64) -> Entry {
    let digest = Domain::Trace.hash(&[&seed.to_be_bytes()]);
    Entry { version: Version { stamp: Stamp(stamp), digest: digest.0[..16].try_into().unwrap() }, digest }
}

/// What a session cost and brought.
#[derive(Default, Debug)]
struct Spent {
    frames: usize,
    bytes: usize,
    rounds: usize,
    fetched: BTreeSet<Entry>,
    given: BTreeSet<Entry>,
}

/// Compares two indexes until the first knows what differs; nothing is merged meanwhile.
fn differences(ours: &Index, theirs: &Index, mut session: Session) -> Spent {
    let mut spent = Spent::default();
    while !session.is_idle() {
        let mut asked = Vec::new();
        while let Some((ranges, kept)) = session.ask(Some(ours)) {
            asked.push((ranges.encode(), kept));
        }
        spent.rounds += usize::from(!asked.is_empty());
        assert!(spent.frames < 2_000, "{spent:?}");
        for (sent, kept) in asked {
            let Compared { ranges, wanted } = compare(Some(theirs), &Ranges::decode(&sent).unwrap());
            let answer = ranges.encode();
            assert_eq!(Ranges::decode(&answer).unwrap(), ranges);
            spent.frames += 1;
            spent.bytes += sent.len() + answer.len();
            let came = wanted.iter().map(|entry| tag(SALT, entry.digest)).collect();
            spent.fetched.extend(wanted);
            session.on_answer(kept, &ranges, &came, Some(ours)).unwrap();
        }
        spent.given.extend(session.give(usize::MAX));
    }
    assert_eq!(session.found().broken, 0);
    spent
}

fn set(entries: &[(u64, u64)]) -> BTreeSet<Entry> {
    entries.iter().map(|(stamp, seed)| entry(*stamp, *seed)).collect()
}

/// What two sets lack of each other, by the reference implementation of another protocol.
fn by_negentropy(ours: &BTreeSet<Entry>, theirs: &BTreeSet<Entry>) -> (BTreeSet<Hash>, BTreeSet<Hash>) {
    let storage = |set: &BTreeSet<Entry>| {
        let mut storage = NegentropyStorageVector::new();
        for entry in set {
            storage.insert(entry.version.stamp.0, Id::from_byte_array(entry.digest.0)).unwrap();
        }
        storage.seal().unwrap();
        storage
    };
    let (one, two) = (storage(ours), storage(theirs));
    let (mut client, mut server) = (Negentropy::borrowed(&one, 0).unwrap(), Negentropy::borrowed(&two, 0).unwrap());
    let (mut have, mut need) = (Vec::new(), Vec::new());
    let mut query = Some(client.initiate().unwrap());
    while let Some(asked) = query {
        let answer = server.reconcile(&asked).unwrap();
        query = client.reconcile_with_ids(&answer, &mut have, &mut need).unwrap();
    }
    let hashes = |ids: Vec<Id>| ids.iter().map(|id| Hash(**id)).collect();
    (hashes(have), hashes(need))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn an_index_is_a_sorted_list(
        deeds in prop::collection::vec((0..3u8, 0..40u64, 0..12u64), 1..1_500), low in 0..44u64, span in 0..20u64,
    ) {
        let (mut index, mut model) = (Index::default(), BTreeSet::new());
        for (deed, stamp, seed) in deeds {
            let entry = entry(stamp, seed * 100 + stamp);
            if deed == 0 {
                prop_assert_eq!(index.remove(&entry), model.remove(&entry));
            } else {
                prop_assert_eq!(index.insert(entry), model.insert(entry));
            }
        }
        let range = Version { stamp: Stamp(low), digest: [9; 16] }..Version { stamp: Stamp(low + span), digest: [7; 16] };
        let within: Vec<Entry> = model.iter().filter(|entry| range.contains(&entry.version)).copied().collect();
        let sum = within.iter().fold(Root::default(), |sum, entry| sum.with(entry.digest));
        prop_assert_eq!(index.sum(&range), Sum { count: within.len() as u64, root: sum });
        prop_assert_eq!(index.entries(&range), within.into_iter().rev().collect::<Vec<_>>());
        let all = model.iter().fold(Root::default(), |sum, entry| sum.with(entry.digest));
        prop_assert!(index.is_sound(model.len() as u64, all.hash()));
        for (rank, entry) in model.iter().enumerate().step_by(7) {
            prop_assert_eq!(index.nth(rank as u64), Some(entry));
        }
        prop_assert_eq!(index.nth(model.len() as u64), None);
    }

    #[test]
    fn what_differs_is_found_whatever_it_is(
        common in prop::collection::vec((0..3_000u64, any::<u64>()), 0..700),
        ours in prop::collection::vec((0..3_200u64, any::<u64>()), 0..60),
        theirs in prop::collection::vec((0..3_200u64, any::<u64>()), 0..60),
    ) {
        let (mine, other) = (&set(&common) | &set(&ours), &set(&common) | &set(&theirs));
        let indexes = [&mine, &other].map(|set| Index::build(set.iter().copied()));
        let [one, two] = &indexes;
        let spent = differences(one, two, Session::whole(Some(one), Version::MAX, SALT));
        prop_assert_eq!(&spent.fetched, &(&other - &mine));
        if mine.is_empty() {
            return Ok(());
        }
        // What the peer does not have is found as well, except where it was asked for all it has.
        let surplus = &mine - &other;
        prop_assert!(spent.given.is_subset(&surplus));
        prop_assert_eq!(&spent.given, &surplus);
        let (have, need) = by_negentropy(&mine, &other);
        prop_assert_eq!(have, surplus.iter().map(|entry| entry.digest).collect());
        prop_assert_eq!(need, spent.fetched.iter().map(|entry| entry.digest).collect());
    }

    #[test]
    fn ranges_are_read_as_they_were_written_and_noise_is_not(
        bounds in prop::collection::btree_set((0..50u64, 0..4u8), 2..20), picks in prop::collection::vec(any::<u8>(), 20),
        noise: Vec<u8>,
    ) {
        let version = |(stamp, byte): (u64, u8)| {
            let mut digest = [0; 16];
            digest[usize::from(byte)] = byte;
            Version { stamp: Stamp(stamp << 40), digest }
        };
        let bounds: BTreeSet<Version> = bounds.into_iter().map(version).collect();
        let mut falling = bounds.into_iter().rev();
        let top = falling.next().unwrap();
        let mode = |pick: u8| match pick % 5 {
            0 => Mode::Same,
            1 => Mode::Sum([pick; 16]),
            2 => Mode::Salted([pick; 16]),
            3 => Mode::Tags(vec![[pick; 6]; usize::from(pick % 9)]),
            _ => Mode::All,
        };
        let parts = falling.zip(picks).map(|(low, pick)| crate::wire::Part { low, mode: mode(pick) }).collect();
        let ranges = Ranges { salt: SALT, top, parts };
        let bytes = ranges.encode();
        prop_assert_eq!(Ranges::decode(&bytes).unwrap(), ranges);
        for cut in 0..bytes.len() {
            prop_assert!(Ranges::decode(&bytes[..cut]).is_err());
        }
        if let Ok(read) = Ranges::decode(&noise) {
            prop_assert_eq!(read.encode(), noise);
        }
    }
}

#[test]
fn what_differs_after_a_partition_costs_few_bytes_and_three_rounds() {
    let common = (0..60_000u64).map(|n| entry(n << 16, n));
    let since = |from: u64| (0..1_000u64).map(move |n| entry((60_000 + n) << 16 | (from & 1), from + n));
    let (mine, other): (BTreeSet<Entry>, BTreeSet<Entry>) =
        (common.clone().chain(since(1_000_000)).collect(), common.chain(since(2_000_001)).collect());
    let [one, two] = [&mine, &other].map(|set| Index::build(set.iter().copied()));
    let spent = differences(&one, &two, Session::whole(Some(&one), Version::MAX, SALT));
    assert_eq!((spent.fetched.len(), spent.given.len()), (1_000, 1_000));
    assert!(spent.rounds <= 3, "{} rounds", spent.rounds);
    assert!(spent.bytes / 2_000 <= 24, "{} bytes for each of 2,000", spent.bytes / 2_000);
    // One that is old costs no more than a few frames.
    let mut old = mine.clone();
    assert!(old.remove(&entry(17_000 << 16, 17_000)));
    let old = Index::build(old.iter().copied());
    let spent = differences(&old, &one, Session::whole(Some(&old), Version::MAX, SALT));
    assert_eq!((spent.fetched.len(), spent.rounds), (1, 3), "{spent:?}");
    assert!(spent.bytes < 16_384, "{} bytes", spent.bytes);
    assert!(one.memory_bytes() / 61_000 <= 130, "{} bytes a write", one.memory_bytes() / 61_000);
}

#[test]
fn sums_that_were_forged_are_found_by_an_audit() {
    let all: BTreeSet<Entry> = (0..500u64).map(|n| entry(n, n)).collect();
    let mut other = all.clone();
    // Two others whose digests add up to the same as two that were there.
    let gone: Vec<Entry> = [100u64, 101].map(|n| entry(n, n)).to_vec();
    let shift = Domain::Trace.hash(&[b"shift"]);
    let forged = [Root::from(gone[0].digest).with(shift), Root::from(gone[1].digest).without(shift)];
    for (old, root) in gone.iter().zip(forged) {
        assert!(other.remove(old));
        other.insert(Entry { digest: root.hash(), ..*old });
    }
    let [one, two] = [&all, &other].map(|set| Index::build(set.iter().copied()));
    assert_eq!(one.total(), two.total());
    let blind = differences(&one, &two, Session::whole(Some(&one), Version::MAX, SALT));
    let audited = differences(&one, &two, Session::audit(&one, 0, 400, SALT));
    assert_eq!(audited.fetched, &other - &all);
    assert!(blind.fetched.len() <= 2);
}

#[test]
fn a_peer_that_does_not_answer_what_was_asked_is_caught() {
    let index = Index::build((0..500u64).map(|n| entry(n, n)));
    let fresh = || Session::whole(Some(&index), Version::MAX, SALT);
    let answer = |change: fn(&mut Ranges)| {
        let mut session = fresh();
        let (mut ranges, asked) = session.ask(Some(&index)).unwrap();
        change(&mut ranges);
        session.on_answer(asked, &ranges, &BTreeSet::new(), Some(&index))
    };
    assert!(answer(|ranges| ranges.parts.iter_mut().for_each(|part| part.mode = Mode::Same)).is_ok());
    assert!(answer(|ranges| ranges.parts.clear()).is_err(), "nothing");
    assert!(answer(|ranges| ranges.salt = [1; 8]).is_err(), "another salt");
    assert!(answer(|ranges| ranges.top = Version::default().next()).is_err(), "another place");
    assert!(answer(|_| {}).is_err(), "a range that is not divided");
    assert!(answer(|ranges| ranges.parts[0].mode = Mode::All).is_err(), "a question");
    assert!(answer(|ranges| drop(ranges.parts.remove(0))).is_err(), "across two ranges");
    // Promises that are not kept are counted.
    let mut session = fresh();
    let (mut ranges, asked) = session.ask(Some(&index)).unwrap();
    ranges.parts.iter_mut().for_each(|part| part.mode = Mode::Same);
    ranges.parts[0].mode = Mode::Tags(vec![[7; 6], [8; 6]]);
    session.on_answer(asked, &ranges, &BTreeSet::new(), Some(&index)).unwrap();
    let (mut ranges, asked) = session.ask(Some(&index)).unwrap();
    ranges.parts.iter_mut().for_each(|part| part.mode = Mode::Same);
    session.on_answer(asked, &ranges, &BTreeSet::new(), Some(&index)).unwrap();
    let found = session.found();
    assert_eq!((found.promised, found.kept, found.broken), (2, 0, 2));
}

impl Host {
    fn member(&self, collection: &str, entry: &Entry) -> Option<Member> {
        let unit = index::find(collection, entry, &self.store)?;
        let row = Row::decode(entry.version, &self.store.get(&unit.row(entry.version))?)?;
        Some(Member { unit, version: entry.version, body: row.body })
    }

    fn take_all(&mut self, members: &[Member]) {
        self.step(|merge| {
            for member in members {
                merge.apply(member.clone());
            }
        });
    }
}

/// One session, in which both sides get what they lack.
fn heal(a: &mut Host, b: &mut Host, name: &str, salt: [u8; 8]) {
    let mut session = Session::whole(a.replica.index(name), Version::MAX, salt);
    for _ in 0..200 {
        if let Some((ranges, asked)) = session.ask(a.replica.index(name)) {
            let Compared { ranges, wanted } = compare(b.replica.index(name), &ranges);
            let members: Vec<Member> = wanted.iter().filter_map(|entry| b.member(name, entry)).collect();
            let came = members.iter().map(|member| tag(salt, member.digest())).collect();
            a.take_all(&members);
            session.on_answer(asked, &ranges, &came, a.replica.index(name)).unwrap();
        } else if session.has_surplus() {
            let given: Vec<Member> = session.give(3).iter().filter_map(|entry| a.member(name, entry)).collect();
            b.take_all(&given);
        } else {
            return;
        }
    }
    panic!("a session without end");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_two_states_become_what_follows_from_the_writes_of_both(
        sketches in prop::collection::vec(sketch(), 1..40), sides in prop::collection::vec(1..4u8, 40), reload: bool,
    ) {
        let all = members(&sketches);
        let (mut a, mut b) = (Host::default(), Host::default());
        for (member, sides) in all.iter().zip(&sides) {
            if sides & 1 != 0 { a.take(member) }
            if sides & 2 != 0 { b.take(member) }
        }
        a.settle(3);
        b.settle(3);
        if reload {
            a.reload();
            b.reload();
        }
        for round in 0..4u8 {
            for name in [owned(), "open".into()] {
                heal(&mut a, &mut b, &name, [round; 8]);
            }
            a.settle(100);
            b.settle(100);
        }
        prop_assert_eq!(a.replica.root(), b.replica.root());
        let (retained, shown) = Model { all: &all, forks: &[] }.judge();
        prop_assert_eq!(a.retained(), retained.clone());
        prop_assert_eq!(b.retained(), retained);
        prop_assert_eq!(a.shown(), shown);
        for host in [&a, &b] {
            host.check_counts();
            for (name, retained, root) in host.replica.heads() {
                prop_assert!(host.replica.index(name).unwrap().is_sound(retained, root));
            }
        }
    }
}
