//! Frames of positions: their bytes for ever, and that any bytes are read without harm.

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::types::{WallMs, limits};
use crate::wire::{Place, PositionFault, PositionFrame};

/// Inputs are in the test; what comes of them is in the file.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Vectors {
    names: String,
    positions: String,
}

fn names() -> PositionFrame {
    PositionFrame::Names(vec![(0, "home".into()), (258, "wörk".into())])
}

fn positions() -> PositionFrame {
    let moving = Place { number: 258, position: [1.0, -2.5, 0.0], velocity: [0.25, 0.0, 1e-3] };
    let at_rest = Place { number: 0, position: [3.0, 4.0, 5.0], velocity: [0.0; 3] };
    PositionFrame::Places { frame: 7, at: WallMs(1_700_000_000_000), places: vec![moving, at_rest] }
}

#[test]
fn bytes_of_positions_are_the_golden_ones() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/positions.json");
    let now = Vectors { names: hex::encode(names().encode()), positions: hex::encode(positions().encode()) };
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(&path, serde_json::to_string_pretty(&now).unwrap() + "\n").unwrap();
    }
    let pinned: Vectors = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(pinned, now);
    for (text, frame) in [(pinned.names, names()), (pinned.positions, positions())] {
        assert_eq!(PositionFrame::decode(&hex::decode(text).unwrap()), Ok(frame));
    }
}

#[test]
fn what_is_no_frame_is_refused_with_its_reason() {
    let changed = |at: usize, byte: u8| {
        let mut bytes = positions().encode();
        bytes[at] = byte;
        PositionFrame::decode(&bytes)
    };
    assert_eq!(changed(0, 2), Err(PositionFault::Version(2)));
    assert_eq!(changed(1, 3), Err(PositionFault::Kind(3)));
    assert_eq!(changed(2, 0), Err(PositionFault::Count(0)));
    assert_eq!(changed(3, 0xFF), Err(PositionFault::Count(0xFF02)));
    assert_eq!(changed(2, 1), Err(PositionFault::Size));
    let mut endless = positions().encode();
    endless[20..24].copy_from_slice(&f32::INFINITY.to_le_bytes());
    assert_eq!(PositionFrame::decode(&endless), Err(PositionFault::Number));
    let nameless = [1, 1, 1, 0, 0, 0, 0, 0, 0];
    assert_eq!(PositionFrame::decode(&nameless), Err(PositionFault::Id));
    let longer = PositionFrame::Names(vec![(1, "x".repeat(limits::GRAPH_ID_BYTES + 1)), (2, "y".into())]);
    assert_eq!(PositionFrame::decode(&longer.encode()), Ok(PositionFrame::Names(vec![(2, "y".into())])));
}

fn place() -> impl Strategy<Value = Place> {
    let three = || [-1e6f32..1e6, -1e6f32..1e6, -1e6f32..1e6];
    (any::<u32>(), three(), three()).prop_map(|(number, position, velocity)| Place { number, position, velocity })
}

proptest! {
    #[test]
    fn frames_are_read_as_they_were_written(
        places in prop::collection::vec(place(), 1..20), frame in any::<u32>(), at in any::<u64>(),
        names in prop::collection::vec((any::<u32>(), "[a-zé]{1,60}"), 1..20),
    ) {
        for frame in [PositionFrame::Places { frame, at: WallMs(at), places }, PositionFrame::Names(names)] {
            prop_assert_eq!(PositionFrame::decode(&frame.encode()), Ok(frame));
        }
    }

    #[test]
    fn any_bytes_are_a_frame_that_is_written_the_same_or_none(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200), like in any::<bool>(),
    ) {
        if like && bytes.len() > 4 {
            let count = ((bytes.len() - 4) / 28) as u8;
            bytes[..4].copy_from_slice(&[1, 1 + (count & 1), count, 0]);
        }
        if let Ok(frame) = PositionFrame::decode(&bytes) {
            prop_assert_eq!(frame.encode(), bytes);
        }
    }
}
