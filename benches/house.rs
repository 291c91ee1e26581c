//! The parts a message passes through, one by one. `metanode bench` measures them together.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ed25519_dalek::SigningKey;
use metanode::crdt::{Entry, Index, Session, compare, tag};
use metanode::feed::{Feeds, Log, Placed, Room, page};
use metanode::ledger::{Agreement, Genesis, GenesisAccount, GenesisValidator, Ledger, Mempool, Params, Token};
use metanode::types::storage::{Batch, Txn};
use metanode::types::{
    Hash, Incarnation, MemoryStore, MessageId, NetworkId, NetworkName, NodeId, Stamp, Tokens, Version, WallMs,
};
use metanode::wire::ledger::{Body, Order, Transaction};
use metanode::wire::{
    Bundle, Category, Course, Draft, FeedId, Header, Kind, Payload, Pending, Priority, Ranges, Verified,
};
use negentropy::{Id, Negentropy, NegentropyStorageVector};

const TRADE: &str = r#"{"exchange":"binance","symbol":"XRP/ETH","time_ms":1570752011620,"trade_id":"13519807","side":"sell","price":0.00141342,"amount":23.0,"cost":0.03250866}"#;
const COUNT: u64 = 200;

fn network() -> NetworkId {
    "bench".parse::<NetworkName>().unwrap().id()
}

fn header(key: &SigningKey, sequence: u64, previous: Hash) -> Header {
    Header {
        course: Course::Feed,
        priority: Priority::Normal,
        network: network(),
        feed: FeedId {
            author: NodeId(key.verifying_key().to_bytes()),
            incarnation: Incarnation(1),
            topic: Category::Data,
        },
        sequence,
        previous,
        clock: Stamp(0),
        count: 0,
        body_bytes: 0,
        root: Hash::ZERO,
    }
}

fn seal(key: &SigningKey, drafts: &[Draft], sequence: u64, previous: Hash) -> Verified {
    let mut pending = Pending::default();
    for (n, draft) in drafts.iter().enumerate() {
        let stamp = Stamp::new(1_700_000_000_000 + sequence * 1000, n as u16 + 1);
        pending.push(&draft.message(MessageId::new(stamp, 7)));
    }
    pending.seal(header(key, sequence, previous), key).unwrap()
}

fn wire(c: &mut Criterion) {
    let key = SigningKey::from_bytes(&[7; 32]);
    let draft = Draft::new(&Payload::from_json_str(Kind::ExchangeData, TRADE).unwrap());
    let drafts = vec![draft; COUNT as usize];
    let bundle = seal(&key, &drafts, 0, Hash::ZERO);
    let single = seal(&key, &drafts[..1], 0, Hash::ZERO);

    let mut group = c.benchmark_group("wire");
    group.throughput(Throughput::Elements(COUNT));
    group.bench_function("seal 200 trades", |b| b.iter(|| seal(&key, black_box(&drafts), 0, Hash::ZERO)));
    group.bench_function("check 200 trades", |b| {
        b.iter(|| Verified::check(Bundle::decode(black_box(bundle.wire().clone())).unwrap(), network()).unwrap())
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("seal one trade", |b| b.iter(|| seal(&key, black_box(&drafts[..1]), 0, Hash::ZERO)));
    group.bench_function("check one trade", |b| {
        b.iter(|| Verified::check(Bundle::decode(black_box(single.wire().clone())).unwrap(), network()).unwrap())
    });
    group.bench_function("parse one trade", |b| {
        b.iter(|| Draft::new(&Payload::from_json_str(Kind::ExchangeData, black_box(TRADE)).unwrap()))
    });
    group.finish();
}

fn feed(c: &mut Criterion) {
    let key = SigningKey::from_bytes(&[7; 32]);
    let draft = Draft::new(&Payload::from_json_str(Kind::ExchangeData, TRADE).unwrap());
    let drafts = vec![draft; COUNT as usize];
    let mut chain: Vec<Verified> = Vec::new();
    for sequence in 0..50 {
        let previous = chain.last().map_or(Hash::ZERO, Verified::id);
        chain.push(seal(&key, &drafts, sequence, previous));
    }
    let keep = |chain: Vec<Verified>| {
        let (mut feeds, mut log, mut store) = (Feeds::default(), Log::default(), MemoryStore::default());
        for bundle in chain {
            let mut batch = Batch::default();
            let mut tx = Txn::new(&store, &mut batch);
            if let Placed::Appended(bundle) = feeds.offer(bundle, false, &mut tx) {
                let (_, bytes) = log.append(&bundle, None, WallMs(0), &mut tx);
                feeds.stored(bundle.header().feed, bytes, &mut tx);
            }
            store.commit(batch);
        }
        store
    };
    let store = keep(chain.clone());

    let mut group = c.benchmark_group("feed");
    group.throughput(Throughput::Elements(COUNT * 50));
    group.bench_function("place 50 bundles of 200", |b| {
        b.iter_batched(|| chain.clone(), |chain| black_box(keep(chain)), BatchSize::SmallInput)
    });
    group.bench_function("read 50 bundles of 200", |b| {
        b.iter(|| {
            black_box(page(0, Room { messages: usize::MAX, bytes: usize::MAX }, &Default::default(), WallMs(0), &store))
                .entries
                .len()
        })
    });
    group.finish();
}

/// Transfers of one block, each of another account to another, among a hundred thousand that have tokens.
const TRANSFERS: u64 = 2_000;

fn account(n: u64) -> SigningKey {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&n.to_le_bytes());
    SigningKey::from_bytes(&seed)
}

fn id(key: &SigningKey) -> NodeId {
    NodeId(key.verifying_key().to_bytes())
}

fn genesis() -> Genesis {
    let keys = (0..TRANSFERS).map(|n| id(&account(n)));
    // The others need no key: nobody signs for them here.
    let others = (0..100_000 - TRANSFERS).map(|n| NodeId(*blake3::hash(&n.to_le_bytes()).as_bytes()));
    let accounts = keys.chain(others).map(|id| GenesisAccount { id, balance: Tokens(1_000_000_000) });
    let validator = GenesisValidator { id: id(&account(0)), stake: Tokens(5_000_000), commission_permille: 0 };
    Genesis {
        name: "bench".into(),
        time_ms: WallMs(1_700_000_000_000),
        treasury: Tokens::ZERO,
        token: Token { symbol: "BNC".into(), decimals: 6 },
        params: Params::default(),
        validators: vec![validator],
        accounts: accounts.collect(),
    }
    .checked()
    .unwrap()
}

fn ledger(c: &mut Criterion) {
    let (mut store, mut batch, mut pool) = (MemoryStore::default(), Batch::default(), Mempool::default());
    let ledger = Ledger::open(&genesis(), 100, &mut Txn::new(&store, &mut batch)).unwrap();
    let chain = ledger.head().chain;
    store.commit(batch);
    let mut waiting = Batch::default();
    for n in 0..TRANSFERS {
        let to = id(&account((n + 7) % TRANSFERS));
        let transaction =
            Transaction { fee: Tokens(5_000), body: Body::Transfer { to, amount: Tokens(1), memo: None } };
        let order = Order { chain, account: id(&account(n)), nonce: 0, transactions: vec![transaction] };
        let sealed = order.seal(&account(n)).unwrap();
        ledger.submit_checked(sealed, &mut pool, &mut Txn::new(&store, &mut waiting)).unwrap();
    }
    let proposer = id(&account(0));
    let propose = || ledger.propose(&pool, &store, 0, WallMs(1_700_000_000_001), proposer, &Agreement).unwrap();
    let block = propose().block;
    assert_eq!(block.transactions().len() as u64, TRANSFERS);

    let mut group = c.benchmark_group("ledger");
    group.sample_size(20).throughput(Throughput::Elements(TRANSFERS));
    group.bench_function("propose 2000 transfers", |b| b.iter(|| black_box(propose())));
    group.bench_function("execute 2000 transfers", |b| {
        b.iter(|| ledger.execute(black_box(&block), &pool, &store, &Agreement).unwrap())
    });
    group.bench_function("execute 2000 transfers and check their seals", |b| {
        b.iter(|| ledger.execute(black_box(&block), &Mempool::default(), &store, &Agreement).unwrap())
    });
    group.bench_function("apply 2000 transfers", |b| {
        let fresh = || (ledger.clone(), pool.clone(), propose());
        let apply = |(mut ledger, mut pool, executed): (Ledger, Mempool, _)| {
            let mut batch = Batch::default();
            let tx = &mut Txn::new(&store, &mut batch);
            ledger.apply(executed, bytes::Bytes::new(), &mut pool, tx, &Agreement).unwrap();
            batch
        };
        b.iter_batched(fresh, apply, BatchSize::LargeInput)
    });
    group.finish();
}

/// What two states differ in, found by ranges of versions and by negentropy, on the same sets: the newest of a million
/// differ, as after a partition.
fn state(c: &mut Criterion) {
    const COMMON: u64 = 1_000_000;
    const DIFFER: u64 = 10_000;
    let entry = |stamp: u64, seed: u64| {
        let digest = blake3::hash(&seed.to_le_bytes());
        let mut short = [0; 16];
        short.copy_from_slice(&digest.as_bytes()[..16]);
        Entry { version: Version { stamp: Stamp(stamp << 8), digest: short }, digest: Hash(*digest.as_bytes()) }
    };
    let all = |side: u64| {
        let own = (0..DIFFER).map(move |n| entry(COMMON + 2 * n + side, COMMON * (side + 1) + n));
        (0..COMMON).map(move |n| entry(n, n)).chain(own).collect::<Vec<Entry>>()
    };
    let (ours, theirs) = (all(0), all(1));
    let [one, two] = [&ours, &theirs].map(|entries| Index::build(entries.iter().copied()));
    let by_ranges = || {
        let mut session = Session::whole(Some(&one), Version::MAX, [7; 8]);
        let (mut bytes, mut rounds, mut found) = (0, 0, 0);
        while !session.is_idle() {
            let mut asked = Vec::new();
            while let Some((ranges, kept)) = session.ask(Some(&one)) {
                asked.push((ranges.encode(), kept));
            }
            rounds += usize::from(!asked.is_empty());
            for (ranges, kept) in asked {
                let answer = compare(Some(&two), &Ranges::decode(&ranges).unwrap());
                bytes += ranges.len() + answer.ranges.encode().len();
                let came = answer.wanted.iter().map(|entry| tag([7; 8], entry.digest)).collect();
                found += answer.wanted.len();
                session.on_answer(kept, &answer.ranges, &came, Some(&one)).unwrap();
            }
            found += session.give(usize::MAX).len();
        }
        (bytes, rounds, found)
    };
    let storage = |entries: &[Entry]| {
        let mut storage = NegentropyStorageVector::with_capacity(entries.len());
        for entry in entries {
            storage.insert(entry.version.stamp.0, Id::from_byte_array(entry.digest.0)).unwrap();
        }
        storage.seal().unwrap();
        storage
    };
    let (left, right) = (storage(&ours), storage(&theirs));
    let by_negentropy = || {
        let mut client = Negentropy::borrowed(&left, 0).unwrap();
        let mut server = Negentropy::borrowed(&right, 0).unwrap();
        let (mut have, mut need, mut bytes, mut rounds) = (Vec::new(), Vec::new(), 0, 0);
        let mut query = Some(client.initiate().unwrap());
        while let Some(asked) = query {
            let answer = server.reconcile(&asked).unwrap();
            (bytes, rounds) = (bytes + asked.len() + answer.len(), rounds + 1);
            query = client.reconcile_with_ids(&answer, &mut have, &mut need).unwrap();
        }
        (bytes, rounds, have.len() + need.len())
    };
    for (name, (bytes, rounds, found)) in [("ranges", by_ranges()), ("negentropy", by_negentropy())] {
        let each = bytes as f64 / found as f64;
        println!("{name}: {found} differ, {each:.1} bytes of ids for each, {rounds} round trips");
    }
    let mut group = c.benchmark_group("state");
    group.sample_size(10).throughput(Throughput::Elements(2 * DIFFER));
    group.bench_function("find 20000 of a million by ranges", |b| b.iter(by_ranges));
    group.bench_function("find 20000 of a million by negentropy", |b| b.iter(by_negentropy));
    group.finish();
}

criterion_group!(house, wire, feed, ledger, state);
criterion_main!(house);
