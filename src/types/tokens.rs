//! Amounts of the ledger's token. Arithmetic is checked, always: there is no other.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An amount, in base units. All tokens of a chain together are at most [`Tokens::MOST`].
///
/// JSON: decimal digits in quotes, since many readers of JSON have no integers above 2^53; a number is read as well.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Tokens(pub u64);

/// A sum that is no amount, or a difference below nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the amounts do not add up within 64 bits")]
pub struct Overflow;

impl Tokens {
    /// Nothing.
    pub const ZERO: Tokens = Tokens(0);
    /// What a supply never passes. All power of validators, which is stake, thus is at most
    /// [`TOTAL_POWER`](super::chain::TOTAL_POWER).
    pub const MOST: Tokens = Tokens((1 << 62) - 1);

    /// Whether this is nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum.
    pub fn plus(self, more: Tokens) -> Result<Tokens, Overflow> {
        self.0.checked_add(more.0).map(Tokens).ok_or(Overflow)
    }

    /// The difference.
    pub fn minus(self, less: Tokens) -> Result<Tokens, Overflow> {
        self.0.checked_sub(less.0).map(Tokens).ok_or(Overflow)
    }

    /// So many times as much.
    pub fn times(self, factor: u64) -> Result<Tokens, Overflow> {
        self.0.checked_mul(factor).map(Tokens).ok_or(Overflow)
    }

    /// `self × part ÷ whole`, rounded down, without overflow between; none of nothing is nothing.
    pub fn share(self, part: u64, whole: u64) -> Result<Tokens, Overflow> {
        if whole == 0 {
            return Ok(Tokens::ZERO);
        }
        let share = u128::from(self.0) * u128::from(part) / u128::from(whole);
        u64::try_from(share).map(Tokens).map_err(|_| Overflow)
    }

    /// The same, rounded up.
    pub fn share_up(self, part: u64, whole: u64) -> Result<Tokens, Overflow> {
        if whole == 0 {
            return Ok(Tokens::ZERO);
        }
        let share = (u128::from(self.0) * u128::from(part)).div_ceil(u128::from(whole));
        u64::try_from(share).map(Tokens).map_err(|_| Overflow)
    }

    /// So many thousandths, rounded down; at most the whole.
    pub fn permille(self, permille: u16) -> Tokens {
        let part = u128::from(self.0) * u128::from(permille.min(1000)) / 1000;
        // A part of 64 bits has 64 bits.
        Tokens(u64::try_from(part).unwrap_or(self.0))
    }
}

impl fmt::Display for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Tokens {
    type Err = String;

    fn from_str(text: &str) -> Result<Tokens, String> {
        text.parse().map(Tokens).map_err(|_| format!("`{text}` is no amount: give base units, decimal digits"))
    }
}

impl Serialize for Tokens {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { to.collect_str(&self.0) } else { to.serialize_u64(self.0) }
    }
}

impl<'de> Deserialize<'de> for Tokens {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Tokens, D::Error> {
        if from.is_human_readable() { from.deserialize_any(Digits) } else { u64::deserialize(from).map(Tokens) }
    }
}

struct Digits;

impl de::Visitor<'_> for Digits {
    type Value = Tokens;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an amount: base units, decimal digits")
    }

    fn visit_u64<E: de::Error>(self, amount: u64) -> Result<Tokens, E> {
        Ok(Tokens(amount))
    }

    fn visit_i64<E: de::Error>(self, amount: i64) -> Result<Tokens, E> {
        u64::try_from(amount).map(Tokens).map_err(|_| E::custom("an amount is not negative"))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Tokens, E> {
        text.parse().map_err(E::custom)
    }
}

impl schemars::JsonSchema for Tokens {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Tokens".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["string", "integer"], "pattern": "^[0-9]{1,20}$", "minimum": 0,
            "description": "Base units of the chain's token"
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn arithmetic_is_that_of_numbers_or_refused(a: u64, b: u64, c in 1..u64::MAX, permille: u16) {
            let (wide_a, wide_b, wide_c) = (u128::from(a), u128::from(b), u128::from(c));
            let told = |wide: u128| u64::try_from(wide).map(Tokens).map_err(|_| Overflow);
            prop_assert_eq!(Tokens(a).plus(Tokens(b)), told(wide_a + wide_b));
            prop_assert_eq!(Tokens(a).minus(Tokens(b)), if a < b { Err(Overflow) } else { Ok(Tokens(a - b)) });
            prop_assert_eq!(Tokens(a).times(b), told(wide_a * wide_b));
            prop_assert_eq!(Tokens(a).share(b, c), told(wide_a * wide_b / wide_c));
            prop_assert_eq!(Tokens(a).share_up(b, c), told((wide_a * wide_b).div_ceil(wide_c)));
            prop_assert!(Tokens(a).permille(permille) <= Tokens(a));
        }

        #[test]
        fn an_amount_is_read_as_digits_or_number(a: u64) {
            let text = serde_json::to_string(&Tokens(a)).unwrap();
            prop_assert_eq!(&text, &format!("\"{a}\""));
            prop_assert_eq!(serde_json::from_str::<Tokens>(&text).unwrap(), Tokens(a));
            prop_assert_eq!(serde_json::from_str::<Tokens>(&a.to_string()).unwrap(), Tokens(a));
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in ["-1", "\"1.5\"", "1.5", "\"\"", "\"99999999999999999999\"", "null"] {
            assert!(serde_json::from_str::<Tokens>(text).is_err(), "{text}");
        }
    }
}
