//! Laws of ids and clocks.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const WALL: WallMs = WallMs(1_700_000_000_000);

proptest! {
    #[test]
    fn a_message_id_tells_its_stamp_and_sorts_by_it(a in any::<(u32, u16)>(), b in any::<(u32, u16)>(), suffix in any::<u64>()) {
        let stamp = |(ms, counter): (u32, u16)| Stamp::new(WALL.0 + u64::from(ms), counter);
        let (one, two) = (MessageId::new(stamp(a), suffix), MessageId::new(stamp(b), suffix));
        prop_assert!(one.is_v7());
        prop_assert_eq!(one.stamp(), stamp(a));
        prop_assert_eq!(one.cmp(&two), stamp(a).cmp(&stamp(b)));
        prop_assert_eq!(one.to_string().parse::<MessageId>().unwrap(), one);
    }

    #[test]
    fn ids_are_what_their_text_says(key in any::<[u8; 32]>()) {
        let id = NodeId(key);
        prop_assert!(id.to_string().starts_with("12D3Koo"));
        prop_assert_eq!(id.to_string().parse::<NodeId>().unwrap(), id);
        prop_assert_eq!(NodeId::from_peer_id_bytes(&id.peer_id_bytes()), Some(id));
        prop_assert_eq!(Hash(key).to_string().parse::<Hash>().unwrap(), Hash(key));
    }

    #[test]
    fn a_clock_only_grows_whatever_the_wall_and_the_others_say(steps in prop::collection::vec((any::<i16>(), any::<Option<i32>>()), 1..60)) {
        let mut clock = Clock::resume(Stamp(0));
        let (mut last, mut persisted) = (Stamp(0), Stamp(0));
        let mut wall = WALL;
        for (jump, seen) in steps {
            wall = WallMs(wall.0.saturating_add_signed(i64::from(jump)));
            if let Some(offset) = seen {
                let remote = Stamp::new(wall.0.saturating_add_signed(i64::from(offset % 40_000)), 9);
                let far = remote.ms() > wall.plus(limits::MAX_FUTURE).0;
                prop_assert_eq!(clock.see(remote, wall).is_err(), far);
            }
            persisted = clock.ceiling(wall).unwrap_or(persisted);
            let next = clock.tick(wall);
            prop_assert!(next > last);
            prop_assert!(next < persisted, "{next:?} is used before a ceiling above it is kept ({persisted:?})");
            last = next;
        }
        prop_assert!(Clock::resume(persisted).tick(WALL) > last, "a new life may repeat a stamp");
    }
}

#[test]
fn a_remote_stamp_pushes_a_clock_a_little_and_no_further() {
    let mut clock = Clock::resume(Stamp(0));
    let ahead = Stamp::new(WALL.plus(Duration::from_secs(14)).0, 0);
    assert_eq!(clock.see(ahead, WALL), Ok(()));
    let pushed = clock.tick(WALL);
    assert!(pushed.wall() > WALL && pushed.ms() <= WALL.plus(limits::MAX_CLOCK_PUSH).0 + 1, "{pushed:?}");
}

#[test]
fn crash_after_crash_a_clock_stays_where_others_take_its_stamps() {
    let mut clock = Clock::resume(Stamp(0));
    let mut last = Stamp(0);
    for life in 0..20 {
        let ceiling = clock.ceiling(WALL).unwrap_or_else(|| panic!("life {life} begins without a ceiling of its own"));
        for _ in 0..1_000 {
            let next = clock.tick(WALL);
            assert!(next > last && next < ceiling);
            last = next;
        }
        assert!(last.wall() < WALL.plus(limits::MAX_FUTURE), "life {life}: {last:?}");
        clock = Clock::resume(ceiling);
    }
}

#[test]
fn texts_that_are_no_ids_say_what_would_be() {
    assert!("Bad Name".parse::<NetworkName>().unwrap_err().to_string().contains("a-z"));
    assert!("12D3KooW".parse::<NodeId>().unwrap_err().to_string().contains("metanode key show"));
    assert!("QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".parse::<NodeId>().is_err(), "an RSA peer");
    assert!("17".parse::<MessageId>().unwrap_err().to_string().contains("UUID"));
}

#[test]
fn networks_with_other_names_have_other_ids() {
    let id = |name: &str| name.parse::<NetworkName>().unwrap().id();
    assert_ne!(id("local"), id("local2"));
}

#[test]
fn a_row_that_speaks_of_a_great_length_is_refused_without_asking_for_it() {
    // One text of 2^60 bytes: the tag of an eight-byte number, the number, and nothing.
    let mut torn = vec![253];
    torn.extend_from_slice(&(1u64 << 60).to_le_bytes());
    assert_eq!(row::decode::<String>(&torn), None);
    assert_eq!(row::decode::<Option<String>>(&[&[1], torn.as_slice()].concat()), None);
    let written = row::encode(&(7u64, "text"));
    assert_eq!(row::decode(&written), Some((7u64, String::from("text"))));
    assert_eq!(row::decode::<(u64, String)>(&[written.as_slice(), &[0]].concat()), None, "bytes are left over");
}
