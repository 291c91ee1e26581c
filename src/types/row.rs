//! The form of rows whose fields are numbers and texts: bincode's standard configuration, bounded.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::limits;

/// A value as a row.
pub fn encode(value: &impl Serialize) -> Vec<u8> {
    let row = bincode::serde::encode_to_vec(value, bincode::config::standard());
    debug_assert!(row.is_ok(), "a vector takes every row");
    row.unwrap_or_default()
}

/// What [`encode`] wrote, and nothing after it. A row that a disk has damaged may speak of any length: no more than
/// [`limits::ROW_BYTES`] is asked of memory before the bytes are seen.
pub fn decode<T: DeserializeOwned>(row: &[u8]) -> Option<T> {
    let bounded = bincode::config::standard().with_limit::<{ limits::ROW_BYTES }>();
    let read = bincode::serde::decode_from_slice(row, bounded).ok();
    read.filter(|(_, size)| *size == row.len()).map(|(value, _)| value)
}
