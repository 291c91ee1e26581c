//! What payloads of all kinds have in common: their bounds, and the words their rules are written in.
//!
//! Pure. A payload that breaks a bound is a schema fault ([`FaultCode::TooLarge`]); a value that makes no sense is a
//! business fault ([`FaultCode::Rule`]). Nothing is allocated unless something is wrong.

use std::collections::{BTreeMap, BTreeSet};

use super::value::Blob;
use crate::types::{Hash, WallMs, limits};
use crate::wire::fault::{FaultCode, Faults};

pub use crate::types::limits::NAME_BYTES;

const KIB: usize = 1024;

/// Free text, bytes.
pub const TEXT_BYTES: usize = 8 * KIB;
/// An address, a URL or a path, bytes.
pub const ADDRESS_BYTES: usize = 2 * KIB;
/// A value in a map or a free JSON value, bytes.
pub const VALUE_BYTES: usize = limits::HEADER_VALUE_BYTES;
/// Items of one list.
pub const LIST_ITEMS: usize = 1024;
/// Entries of one map.
pub const MAP_ENTRIES: usize = 64;
/// Bytes of a proof, a stored value or another blob inside a payload.
pub const BLOB_BYTES: usize = 64 * KIB;
/// Bytes of the body of a custom message: the largest message less room for the rest of it.
pub const BODY_BYTES: usize = limits::MESSAGE_BYTES - 16 * KIB;
/// An ed25519 or X25519 public key, bytes.
pub const KEY_BYTES: usize = 32;
/// An ed25519 signature, bytes.
pub const SIGNATURE_BYTES: usize = 64;
/// Times are before this many milliseconds since 1970, the end of a message id's clock (the year 10889).
const TIME_MS: u64 = 1 << 48;

/// The rules of a payload, or of a part of one, beyond its shape.
pub trait Rules {
    /// Notes every rule that is broken, at the path of the field that would have to change.
    fn check(&self, faults: &mut Faults);
}

/// The vocabulary of rules. `field` is relative to the payload or part: `price`. All of it chains.
pub(super) trait Checks {
    /// `detail` says what would be right.
    fn must(&mut self, holds: bool, field: &str, detail: &str) -> &mut Self;
    /// Not longer than `max` bytes, items or entries.
    fn fits(&mut self, field: &str, size: usize, max: usize) -> &mut Self;

    /// 1 to [`NAME_BYTES`] bytes without control characters.
    fn name(&mut self, field: &str, text: &str) -> &mut Self {
        self.words(field, text, NAME_BYTES).must(
            !text.chars().any(char::is_control),
            field,
            "a name has no control characters",
        )
    }

    /// 1 to `max` bytes, not only blanks.
    fn words(&mut self, field: &str, text: &str, max: usize) -> &mut Self {
        self.fits(field, text.len(), max).must(!text.trim().is_empty(), field, "must not be empty")
    }

    /// 1 to [`TEXT_BYTES`] bytes.
    fn text(&mut self, field: &str, text: &str) -> &mut Self {
        self.words(field, text, TEXT_BYTES)
    }

    /// An address, URL or path: 1 to [`ADDRESS_BYTES`] bytes without blanks.
    fn address(&mut self, field: &str, text: &str) -> &mut Self {
        self.words(field, text, ADDRESS_BYTES).must(!text.contains(char::is_whitespace), field, "must have no blanks")
    }

    /// The name of an application's type: a name of letters, digits, `.`, `_` and `-`.
    fn type_name(&mut self, field: &str, text: &str) -> &mut Self {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        self.name(field, text).must(text.bytes().all(plain), field, "use letters, digits, `.`, `_` and `-`")
    }

    /// [`Checks::name`], if there is one.
    fn name_if(&mut self, field: &str, text: &Option<String>) -> &mut Self {
        if let Some(text) = text {
            self.name(field, text);
        }
        self
    }

    /// [`Checks::text`], if there is one.
    fn text_if(&mut self, field: &str, text: &Option<String>) -> &mut Self {
        if let Some(text) = text {
            self.text(field, text);
        }
        self
    }

    /// At most [`LIST_ITEMS`] names, none twice.
    fn names(&mut self, field: &str, names: &[String]) -> &mut Self {
        self.fits(field, names.len(), LIST_ITEMS).distinct(field, names);
        for name in names.iter().take(LIST_ITEMS) {
            self.name(field, name);
        }
        self
    }

    /// No item twice.
    fn distinct<T: Ord>(&mut self, field: &str, items: &[T]) -> &mut Self {
        let different: BTreeSet<&T> = items.iter().collect();
        self.must(different.len() == items.len(), field, "must not name one twice")
    }

    /// At least one item.
    fn filled<T>(&mut self, field: &str, items: &[T]) -> &mut Self {
        self.must(!items.is_empty(), field, "must have at least one item")
    }

    /// At most [`MAP_ENTRIES`] names with values of at most [`VALUE_BYTES`].
    fn map(&mut self, field: &str, map: &BTreeMap<String, String>) -> &mut Self {
        self.fits(field, map.len(), MAP_ENTRIES);
        for (name, value) in map.iter().take(MAP_ENTRIES) {
            self.name(field, name).fits(field, value.len(), VALUE_BYTES);
        }
        self
    }

    /// 1 to `max` bytes.
    fn blob(&mut self, field: &str, blob: &Blob, max: usize) -> &mut Self {
        self.fits(field, blob.0.len(), max).must(!blob.0.is_empty(), field, "must not be empty")
    }

    /// Exactly `size` bytes, as the field's algorithm has it.
    fn sized(&mut self, field: &str, blob: &Blob, size: usize) -> &mut Self {
        self.must(blob.0.len() == size, field, "has the wrong number of bytes for its algorithm")
    }

    /// The hash of something.
    fn hash(&mut self, field: &str, hash: &Hash) -> &mut Self {
        self.must(*hash != Hash::ZERO, field, "must name something: all zeros is no hash")
    }

    /// A time after 1970 and before the year 10889.
    fn time(&mut self, field: &str, at: WallMs) -> &mut Self {
        self.must((1..TIME_MS).contains(&at.0), field, "must be milliseconds since 1970")
    }

    /// `end`, at `field`, is a time after `start`.
    fn after(&mut self, field: &str, end: WallMs, start: WallMs) -> &mut Self {
        self.must(end > start && end.0 < TIME_MS, field, "must be milliseconds since 1970, after the start")
    }

    /// More than nothing.
    fn some(&mut self, field: &str, number: impl Into<u64>) -> &mut Self {
        self.must(number.into() > 0, field, "must be greater than 0")
    }

    /// A number, greater than zero, not infinite.
    fn positive(&mut self, field: &str, number: f64) -> &mut Self {
        self.must(number.is_finite() && number > 0.0, field, "must be a finite number greater than 0")
    }

    /// A number, zero or more, not infinite.
    fn not_negative(&mut self, field: &str, number: f64) -> &mut Self {
        self.must(number.is_finite() && number >= 0.0, field, "must be a finite number, 0 or more")
    }

    /// 0 to 100.
    fn percent(&mut self, field: &str, number: f64) -> &mut Self {
        self.must((0.0..=100.0).contains(&number), field, "must be from 0 to 100")
    }

    /// 0 to 1.
    fn fraction(&mut self, field: &str, number: f64) -> &mut Self {
        self.must((0.0..=1.0).contains(&number), field, "must be from 0 to 1")
    }

    /// The rules of a part, at its path.
    fn part(&mut self, field: &str, part: &impl Rules) -> &mut Self;

    /// The rules of each part of a list of at most [`LIST_ITEMS`].
    fn parts<T: Rules>(&mut self, field: &str, parts: &[T]) -> &mut Self;
}

impl Checks for Faults {
    fn must(&mut self, holds: bool, field: &str, detail: &str) -> &mut Faults {
        self.rule(holds, field, detail);
        self
    }

    fn fits(&mut self, field: &str, size: usize, max: usize) -> &mut Faults {
        if size > max {
            self.add(FaultCode::TooLarge, format!("/payload/{field}"), format!("{size}, but at most {max} fit"));
        }
        self
    }

    fn part(&mut self, field: &str, part: &impl Rules) -> &mut Faults {
        let mut inside = Faults::default();
        part.check(&mut inside);
        moved(self, field, &inside);
        self
    }

    fn parts<T: Rules>(&mut self, field: &str, parts: &[T]) -> &mut Faults {
        self.fits(field, parts.len(), LIST_ITEMS);
        for (i, part) in parts.iter().take(LIST_ITEMS).enumerate() {
            let mut inside = Faults::default();
            part.check(&mut inside);
            if !inside.is_empty() {
                moved(self, &format!("{field}/{i}"), &inside);
            }
        }
        self
    }
}

/// Notes the faults of a part at the path of the part.
fn moved(faults: &mut Faults, field: &str, inside: &Faults) {
    for fault in inside.as_slice() {
        let rest = fault.path.strip_prefix("/payload").unwrap_or_default();
        faults.add(fault.code, format!("/payload/{field}{rest}"), fault.detail.clone());
    }
}
