//! The form of rows whose fields are numbers and texts: bincode's standard configuration, bounded.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::limits;

/// A value as a row.
pub fn encode(value: &impl Serialize) -> Vec<u8> {
    // Most are short: written once, copied once, and as long as they have to be.
    let mut short = [0; 256];
    if let Ok(size) = bincode::serde::encode_into_slice(value, &mut short, bincode::config::standard())
        && let Some(row) = short.get(..size)
    {
        return row.to_vec();
    }
    let row = bincode::serde::encode_to_vec(value, bincode::config::standard());
    debug_assert!(row.is_ok(), "a vector takes every row");
    row.unwrap_or_default()
}

/// A value at the end of a row that holds several.
pub fn append(value: &impl Serialize, row: &mut Vec<u8>) {
    let appended = bincode::serde::encode_into_std_write(value, row, bincode::config::standard());
    debug_assert!(appended.is_ok(), "a vector takes every row");
}

/// What [`encode`] wrote, and nothing after it. A row that a disk has damaged may speak of any length: no more than
/// [`limits::ROW_BYTES`] is asked of memory before the bytes are seen.
pub fn decode<T: DeserializeOwned>(row: &[u8]) -> Option<T> {
    decode_first(row).filter(|(_, rest)| rest.is_empty()).map(|(value, _)| value)
}

/// The same of the first value of a row that holds several, and the rest of it.
pub fn decode_first<T: DeserializeOwned>(row: &[u8]) -> Option<(T, &[u8])> {
    let bounded = bincode::config::standard().with_limit::<{ limits::ROW_BYTES }>();
    let (value, size) = bincode::serde::decode_from_slice(row, bounded).ok()?;
    Some((value, row.get(size..)?))
}
