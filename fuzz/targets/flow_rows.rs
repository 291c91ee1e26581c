//! Rows of durable subscriptions, dead letters, drafts on the disk and idempotency keys, damaged: they are read, refused
//! or passed over, never a panic; and a machine that was loaded from them goes on.
#![no_main]

use std::time::Duration;

use metanode::deliver::{Deliveries, Letter, Outcome, Selector, dead_letters};
use metanode::flow::{Idempotency, Spill};
use metanode::types::storage::{Batch, Key, Table, Txn, View};
use metanode::types::{MemoryStore, Mono, Now, WallMs};

const TABLES: [Table; 7] = [
    Table::Subscription,
    Table::Progress,
    Table::Failure,
    Table::Dead,
    Table::Letter,
    Table::Spill,
    Table::Idempotency,
];

fn no_letter(_: u64, _: &dyn View) -> Option<Letter> {
    None
}

libfuzzer_sys::fuzz_target!(|rows: Vec<(u8, Vec<u8>, Vec<u8>)>| {
    let (mut store, mut batch) = (MemoryStore::default(), Batch::default());
    for (table, key, value) in rows.into_iter().take(64) {
        batch.put(Key::new(TABLES[usize::from(table) % TABLES.len()], &[&key]), value);
    }
    store.commit(batch);
    let _ = dead_letters(&Selector::default(), 100, 1_000, &store);
    let mut batch = Batch::default();
    let tx = &mut Txn::new(&store, &mut batch);
    let mut spill = Spill::load(&store);
    for _ in 0..8 {
        let _ = spill.take(tx);
    }
    let now = Now { mono: Mono(5_000_000), wall: WallMs(1_700_000_000_000) };
    Idempotency::load(&store).forget(now.wall, tx);
    let Ok(mut deliveries) = Deliveries::load(no_letter, &store) else { return };
    let names: Vec<_> = deliveries.all().map(|(name, ..)| name.clone()).collect();
    for name in names {
        let leased = deliveries.lease(&name, 10, None, u64::MAX, now.mono).map(|leased| leased.leases);
        let failed = Outcome::Nack { reason: String::new(), after: None, sink_down: false };
        let outcomes: Vec<_> =
            leased.unwrap_or_default().into_iter().map(|lease| (lease.position, failed.clone())).collect();
        let _ = deliveries.settle(&name, &outcomes, now, tx);
    }
    let later = Now { mono: now.mono + Duration::from_secs(3_600), ..now };
    deliveries.tick(later, tx);
    deliveries.save(tx);
});
