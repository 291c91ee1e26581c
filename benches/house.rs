//! The parts a message passes through, one by one. `metanode bench` measures them together.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ed25519_dalek::SigningKey;
use metanode::feed::{Feeds, Log, Placed, Room, page};
use metanode::types::storage::{Batch, Txn};
use metanode::types::{Hash, Incarnation, MemoryStore, MessageId, NetworkId, NetworkName, NodeId, Stamp, WallMs};
use metanode::wire::{Bundle, Category, Course, Draft, FeedId, Header, Kind, Payload, Pending, Priority, Verified};

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

criterion_group!(house, wire, feed);
criterion_main!(house);
