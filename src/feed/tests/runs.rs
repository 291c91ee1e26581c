//! The log's runs against a list of everything that arrived.

use super::*;

/// What arrived: position, when, which bundle.
type Arrived = Vec<(u64, WallMs, Verified)>;

/// What a step does to a keeper.
#[derive(Clone, Debug)]
enum Deed {
    /// This author says so many bundles of so many messages, at one time.
    Say { author: u8, bundles: usize, messages: usize },
    /// Time goes on.
    Wait { ms: u64 },
    /// Retention takes at most so many bundles.
    Trim { budget: usize },
    /// The process ends and another begins.
    Restart,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let say =
        (1u8..4, 1usize..9, 1usize..4).prop_map(|(author, bundles, messages)| Deed::Say { author, bundles, messages });
    let wait = (1u64..5).prop_map(|ms| Deed::Wait { ms });
    let trim = (1usize..12).prop_map(|budget| Deed::Trim { budget });
    prop::collection::vec(prop_oneof![4 => say, 2 => wait, 2 => trim, 1 => Just(Deed::Restart)], 1..24)
}

fn run(deeds: &[Deed]) -> (Keeper, Arrived) {
    let (mut keeper, mut arrived) = (Keeper::default(), Arrived::new());
    let mut authors: Vec<Author> = (0..4).map(Author::new).collect();
    let nothing = Retention::from([(Category::Data, Rule { max_age: None, max_bytes: Some(0) })]);
    for deed in deeds {
        match *deed {
            Deed::Say { author, bundles, messages } => {
                for _ in 0..bundles {
                    let bundle = authors[usize::from(author)].say(messages, b"payload");
                    arrived.push((keeper.log.end(), WallMs(START_MS + keeper.elapsed_ms), bundle.clone()));
                    assert_eq!(keeper.offer(&bundle, false), "appended");
                }
            }
            Deed::Wait { ms } => keeper.elapsed_ms += ms,
            Deed::Trim { budget } => {
                keeper.with(|feeds, log, tx| {
                    trim(feeds, &nothing, WallMs(START_MS), budget, tx);
                    log.save(tx);
                });
                arrived.retain(|(_, _, bundle)| Stored::load(bundle.slot(), &keeper.store).is_some());
            }
            Deed::Restart => keeper = keeper.reopened(),
        }
    }
    (keeper, arrived)
}

proptest! {
    #[test]
    fn everything_kept_is_read_from_everywhere_and_found(deeds in deeds()) {
        let (keeper, arrived) = run(&deeds);
        let positions: Vec<u64> =
            arrived.iter().flat_map(|(at, _, bundle)| (*at..).take(bundle.count() as usize)).collect();
        let end = keeper.log.end();
        let (first, last) = bounds(&keeper.store);
        prop_assert_eq!((first, last), (positions.first().copied().unwrap_or(end), end));
        for from in 0..=end {
            let read = page(from, EVERYTHING, &Filter::default(), WallMs(START_MS), &keeper.store);
            let seen: Vec<u64> = read.entries.iter().map(|e| e.position).collect();
            let wanted: Vec<u64> = positions.iter().copied().filter(|p| *p >= from).collect();
            prop_assert_eq!(read.missed, wanted.first().map_or(0, |next| next - from));
            prop_assert!((from.max(seen.last().map_or(0, |last| last + 1))..=end).contains(&read.next));
            prop_assert_eq!(seen, wanted, "from {}", from);
        }
        let all = (0..=end).collect();
        let read: Vec<u64> = entries_at(&all, &keeper.store).iter().map(|entry| entry.position).collect();
        prop_assert_eq!(&read, &positions);
        for position in all {
            let found = found_at(position, &keeper.store).map(|found| found.entry.position);
            prop_assert_eq!(found, positions.contains(&position).then_some(position));
        }
        for (at, _, bundle) in &arrived {
            for (position, message) in (*at..).zip(bundle.messages()) {
                prop_assert_eq!(find(message.id, &keeper.store).map(|f| f.entry.position), Some(position));
            }
        }
        let correlated = arrived.iter().map(|(_, _, bundle)| bundle.correlated().len()).sum::<usize>();
        prop_assert_eq!(conversation(MessageId([9; 16]), EVERYTHING, &keeper.store).0.len(), correlated);
    }

    #[test]
    fn a_reading_since_a_time_has_all_that_arrived_from_then_on_and_no_earlier_run(deeds in deeds(), ms in 0u64..60) {
        let (keeper, arrived) = run(&deeds);
        let since = WallMs(START_MS + ms);
        let started = start_position(Start::Since(since), &keeper.store);
        for (position, at, _) in &arrived {
            prop_assert_eq!(*position >= started, *at >= since, "{} at {:?}, started at {}", position, at, started);
        }
    }

    #[test]
    fn rows_go_with_the_last_bundle_they_lead_to(deeds in deeds()) {
        let (mut keeper, _) = run(&deeds);
        let all = Retention::from([(Category::Data, Rule { max_age: Some(Duration::ZERO), max_bytes: None })]);
        keeper.with(|feeds, _, tx| trim(feeds, &all, WallMs(u64::MAX / 2), usize::MAX, tx));
        for table in [Table::Bundle, Table::Log, Table::Span, Table::Correlation] {
            let start = Key::new(table, &[]);
            prop_assert!(keeper.store.last(&start, &start.after_prefix()).is_none(), "{table:?} has a row left");
        }
    }
}

#[test]
fn bundles_that_arrive_together_are_one_row() {
    let mut keeper = Keeper::default();
    Author::chain(1, 50).iter().for_each(|b| {
        keeper.offer(b, false);
    });
    let start = Key::new(Table::Log, &[]);
    let mut rows = 0;
    keeper.store.scan(&start, &start.after_prefix(), &mut |_, _| {
        rows += 1;
        std::ops::ControlFlow::Continue(())
    });
    // Fifty bundles of two messages on average, a second between messages, a minute to a run.
    assert_eq!(rows, 2);
}
