//! A state that is taken in from others: the same rows, the same proofs, the same blocks after it; nothing of a lie.

use proptest::prelude::*;

use super::*;
use crate::ledger::query::{NoProof, prove, recount, trail};
use crate::ledger::rows::{Account, Row};
use crate::ledger::snapshot::{BadPart, NotStaged, Wanted, clear, followed, next_batch, stage_base, stage_finality};
use crate::types::Hash;
use crate::wire::kind::Blob;
use crate::wire::ledger::{Branch, PageSlot};

fn store(name: &str, byte: u8) -> Body {
    Body::Store { name: name.into(), value: Blob(vec![byte; 20]), epochs: 2 }
}

/// A chain on which rows of many sorts came, changed and went.
fn served() -> World {
    let mut world = World::of(&genesis_with(params()), 5);
    world.works(4, Body::Stake { amount: Tokens(600_000) });
    for round in 0..4 {
        (0..6).for_each(|n| world.send(5, store(&format!("r{n}"), round)));
        world.send(6, transfer(40 + round, 1_000));
        world.block();
        world.send(5, Body::Erase { name: "r1".into() });
        world.block();
    }
    world
}

/// A store in which nothing but the genesis is.
fn late() -> World {
    World::of(&genesis_with(params()), 5)
}

fn trust(world: &World) -> Trust {
    let head = world.ledger.head();
    Trust { chain: head.chain, height: head.height, set: world.ledger.next_validators().hash() }
}

/// Every row of a store.
fn all(store: &MemoryStore) -> Vec<(Vec<u8>, Bytes)> {
    let mut rows = Vec::new();
    let from = crate::types::storage::Key::from_bytes(vec![0]).unwrap();
    let to = crate::types::storage::Key::from_bytes(vec![0xFF]).unwrap();
    store.scan(&from, &to, &mut |key, value| {
        rows.push((key.to_vec(), value.clone()));
        std::ops::ControlFlow::Continue(())
    });
    rows
}

impl World {
    fn stage<T>(&mut self, work: impl FnOnce(&mut Txn<'_>) -> T) -> T {
        self.commit(|_, _, tx| work(tx))
    }

    /// The state after the last block of another, in parts of so many rows.
    fn begin(&mut self, other: &World) -> Snapshot {
        let (headers, more) = trail(Height(1), 16, &other.store).unwrap().unwrap();
        assert!(!more);
        followed(&headers, trust(self), &Gullible).unwrap();
        self.stage(|tx| headers.iter().for_each(|finality| stage_finality(finality, tx)));
        Snapshot::of(headers.last().unwrap().header.clone())
    }

    fn put(&mut self, snapshot: &mut Snapshot, wanted: Wanted, part: &Part) -> Result<(), NotStaged> {
        self.stage(|tx| snapshot.put(wanted, part, tx))
    }

    fn fetch(&mut self, snapshot: &mut Snapshot, other: &World, most: usize) {
        let height = snapshot.target().height;
        while let Some(wanted) = snapshot.ask() {
            let part = part(height, wanted.branch, most, &other.store).unwrap();
            self.put(snapshot, wanted, &part).unwrap();
        }
        assert!(snapshot.is_whole());
    }

    /// Puts it in place, batch by batch; `look` sees the store after each.
    fn swap(&mut self, snapshot: &Snapshot, mut look: impl FnMut(&MemoryStore)) {
        self.stage(|tx| snapshot.begin_swap(tx)).unwrap();
        while let Some(batch) = next_batch(&self.store).unwrap() {
            look(&self.store);
            self.store.commit(batch);
        }
        self.ledger = Ledger::resume(5, &self.store).unwrap().unwrap();
    }
}

#[test]
fn who_takes_in_a_state_has_every_row_proves_it_and_goes_on() {
    let mut served = served();
    for most in [1, 3, 1_000] {
        let mut late = late();
        late.block();
        let mut snapshot = late.begin(&served);
        late.fetch(&mut snapshot, &served, most);
        let before = late.ledger.head().clone();
        assert_eq!(
            chain::head(&late.store).unwrap(),
            Some(before),
            "the old state is there until the new one is whole"
        );
        late.swap(&snapshot, |store| assert_eq!(chain::head(store).unwrap(), None, "and nobody sees a half"));
        let mut other = served.clone();
        assert_eq!(
            (late.ledger.head().id, late.ledger.head().height),
            (other.ledger.head().id, other.ledger.head().height)
        );
        assert_eq!(recount(&late.store).unwrap(), other.ledger.head().state_root);
        assert!(clear(&late.store).is_none(), "nothing is left of the way");
        let proof = prove(&Account::key(&id(5)), None, Height(1), &late.store).unwrap();
        let seats = genesis_with(params()).seats().unwrap().hash();
        let proved = verify(&proof, late.chain(), seats, &Gullible).unwrap();
        assert_eq!(proved.row::<Account>(&id(5)).unwrap().unwrap(), Some(other.account(5)));
        for _ in 0..8 {
            other.send(6, transfer(7, 1));
            let executed = other.propose();
            let again = late.ledger.execute(&executed.block, &Mempool::default(), &late.store, &Gullible).unwrap();
            late.apply(again);
            other.apply(executed);
        }
        assert_eq!(recount(&late.store).unwrap(), other.ledger.head().state_root);
        // And serves it to the next.
        let mut third = self::late();
        let mut snapshot = third.begin(&late);
        third.fetch(&mut snapshot, &late, most);
        third.swap(&snapshot, |_| ());
        assert_eq!(recount(&third.store).unwrap(), other.ledger.head().state_root);
    }
    served.block();
}

#[test]
fn what_is_not_under_the_root_is_refused_and_asked_for_again() {
    let (served, mut late) = (served(), late());
    let mut snapshot = late.begin(&served);
    let root = snapshot.ask().unwrap();
    let height = snapshot.target().height;
    let Part::Rows(rows) = part(height, root.branch, 1_000, &served.store).unwrap() else { panic!("few rows") };
    let Part::Page(page) = part(height, root.branch, 3, &served.store).unwrap() else { panic!("many rows") };
    let mut lies =
        vec![Part::Rows(rows[1..].to_vec()), Part::Rows(Vec::new()), Part::Page(Box::new([PageSlot::Empty; 16]))];
    let mut altered = rows.clone();
    altered[0].1 = [&altered[0].1[..], &[0]].concat().into();
    lies.push(Part::Rows(altered));
    let (mut swapped, mut turned) = (rows.clone(), page.clone());
    swapped.swap(0, 1);
    lies.push(Part::Rows(swapped));
    turned.rotate_left(1);
    lies.push(Part::Page(turned));
    lies.push(Part::Rows([rows.clone(), vec![rows[0].clone(); 1_024]].concat()));
    let mut wanted = root;
    for lie in &lies {
        let refused = late.put(&mut snapshot, wanted, lie);
        assert!(matches!(refused, Err(NotStaged::Bad(_))), "{refused:?}");
        wanted = snapshot.ask().unwrap();
        assert_eq!(wanted, root, "it is still wanted");
    }
    assert!(clear(&late.store).is_some_and(|_| !snapshot.is_whole()));
    late.put(&mut snapshot, wanted, &Part::Page(page)).unwrap();
    late.fetch(&mut snapshot, &served, 3);
    late.swap(&snapshot, |_| ());
    assert_eq!(recount(&late.store).unwrap(), served.ledger.head().state_root);
}

#[test]
fn a_page_that_calls_a_row_a_branch_does_no_harm() {
    let (served, mut late) = (served(), late());
    let mut snapshot = late.begin(&served);
    let height = snapshot.target().height;
    let mut lied = 0;
    while let Some(wanted) = snapshot.ask() {
        let honest = part(height, wanted.branch, 1, &served.store).unwrap();
        let Part::Page(page) = honest.clone() else {
            late.put(&mut snapshot, wanted, &honest).unwrap();
            continue;
        };
        let lie = Box::new(page.map(|slot| match slot {
            PageSlot::Leaf { key, value } => {
                let hash = Hash(*blake3::hash(&[&[0][..], &key.0, &value.0].concat()).as_bytes());
                PageSlot::Branch(hash)
            }
            other => other,
        }));
        // Where the row's neighbour is another, both pages have one hash.
        match late.put(&mut snapshot, wanted, &Part::Page(lie.clone())) {
            Ok(()) => lied += usize::from(lie != page),
            Err(NotStaged::Bad(BadPart::Hash)) => {
                let wanted = snapshot.ask().unwrap();
                late.put(&mut snapshot, wanted, &honest).unwrap();
            }
            Err(other) => panic!("{other}"),
        }
    }
    late.swap(&snapshot, |_| ());
    late.block();
    let proof = prove(&Account::key(&id(5)), None, Height(1), &late.store).unwrap();
    let seats = genesis_with(params()).seats().unwrap().hash();
    assert!(verify(&proof, late.chain(), seats, &Gullible).is_ok(), "after {lied} lies");
}

#[test]
fn an_attempt_that_ended_early_leaves_nothing_and_a_swap_goes_on() {
    let (served, mut late) = (served(), late());
    let mut snapshot = late.begin(&served);
    let wanted = snapshot.ask().unwrap();
    let first = part(snapshot.target().height, wanted.branch, 3, &served.store).unwrap();
    late.put(&mut snapshot, wanted, &first).unwrap();
    assert_eq!(late.ledger.head(), &chain::head(&late.store).unwrap().unwrap());
    while let Some(batch) = clear(&late.store) {
        late.store.commit(batch);
    }
    assert_eq!(all(&late.store), all(&self::late().store), "as if nothing had been");
    let mut snapshot = late.begin(&served);
    late.fetch(&mut snapshot, &served, 3);
    late.stage(|tx| snapshot.begin_swap(tx)).unwrap();
    let opened = {
        let mut batch = Batch::default();
        Ledger::open(&genesis_with(params()), 5, &mut Txn::new(&late.store, &mut batch))
    };
    assert_eq!(opened.err(), Some(OpenError::Swapping), "a chain is not begun where one is half there");
    while let Some(batch) = next_batch(&late.store).unwrap() {
        late.store.commit(batch);
    }
    assert_eq!(recount(&late.store).unwrap(), served.ledger.head().state_root);
}

#[test]
fn who_trusted_a_block_says_from_which_height_on_it_knows_validators() {
    let (served, mut late) = (served(), late());
    let trusted = chain::header(Height(4), &served.store).unwrap().unwrap();
    let from = Trust { chain: served.chain(), height: Height(4), set: trusted.next_validators };
    let (headers, _) = trail(Height(5), 16, &served.store).unwrap().unwrap();
    followed(&headers, from, &Gullible).unwrap();
    let stranger = Trust { set: Hash([1; 32]), ..from };
    assert!(matches!(followed(&headers, stranger, &Gullible), Err(Unproved::Strangers(_))));
    late.stage(|tx| {
        stage_base(Height(5), tx);
        headers.iter().for_each(|finality| stage_finality(finality, tx));
    });
    let mut snapshot = Snapshot::of(headers.last().unwrap().header.clone());
    late.fetch(&mut snapshot, &served, 100);
    late.swap(&snapshot, |_| ());
    let key = Account::key(&id(5));
    assert_eq!(prove(&key, None, Height(1), &late.store), Err(NoProof::Before(Height(5))));
    let proof = prove(&key, None, Height(5), &late.store).unwrap();
    assert!(verify(&proof, late.chain(), trusted.next_validators, &Gullible).is_ok());
    assert_eq!(trail(Height(1), 16, &late.store), Ok(None), "and leads nobody from before it");
    let allowed = Trusted { height: Height(4), id: trusted.id() };
    assert_eq!(allowed.allows(Height(4), trusted.id()), Ok(()));
    let why = allowed.allows(Height(4), BlockId::default()).unwrap_err().to_string();
    assert!(why.contains("chain.trusted") && why.contains("ledger block 4"), "{why}");
}

#[test]
fn a_height_that_is_not_kept_is_refused_with_those_that_are() {
    let served = served();
    let head = served.ledger.head();
    for height in [Height(0), head.oldest, head.height, head.height.next()] {
        let kept = head.oldest <= height && height <= head.height;
        match part(height, Branch::ROOT, 10, &served.store) {
            Ok(_) => assert!(kept, "{height}"),
            Err(why) => assert_eq!(
                (why, kept),
                (NoPart::Height { have: height, oldest: head.oldest, newest: head.height }, false)
            ),
        }
    }
    let deep = Branch { depth: 64, start: Hash([7; 32]) };
    assert_eq!(part(head.height, deep, 10, &served.store), Err(NoPart::Branch));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Rows are stored, erased and stored again, while old heights are let go.
    #[test]
    fn every_height_that_is_kept_can_be_taken_in(steps in prop::collection::vec((0..3u8, any::<bool>()), 1..20)) {
        let mut world = World::of(&genesis_with(params()), 3);
        let mut roots = vec![world.ledger.head().clone()];
        for (name, keep) in steps {
            let name = format!("r{name}");
            world.send(5, if keep { store(&name, 1) } else { Body::Erase { name } });
            world.block();
            roots.push(world.ledger.head().clone());
        }
        let oldest = world.ledger.head().oldest;
        for head in roots.iter().filter(|head| head.height >= oldest && head.height > Height(0)) {
            let Part::Rows(rows) = part(head.height, Branch::ROOT, 1_000, &world.store).unwrap() else { panic!() };
            let leaves: Vec<_> = rows.iter().map(|(key, value)| (rows::place(key), rows::digest(value))).collect();
            let grown = crate::ledger::tree::grown(Vec::new(), &leaves, head.height, &world.store).unwrap();
            prop_assert_eq!(grown.root.hash(), head.state_root);
        }
    }

    #[test]
    fn a_branch_holds_what_its_children_hold_and_has_one_form(place in any::<[u8; 32]>(), depth in 0..64u8) {
        let place = Hash(place);
        let mut branch = Branch::ROOT;
        for at in 0..depth {
            prop_assert!(branch.is_proper() && branch.holds(&place));
            let slot = crate::wire::ledger::nibble(&place, usize::from(at));
            let child = branch.child(slot).unwrap();
            prop_assert_eq!(child.parent(), Some((branch, slot)));
            prop_assert!(!branch.child(slot ^ 1).unwrap().holds(&place));
            branch = child;
        }
        prop_assert_eq!(branch.nibbles().len(), usize::from(depth));
    }
}
