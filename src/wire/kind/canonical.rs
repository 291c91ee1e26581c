//! Whether JSON text is already the text this program would write for its value, found out without building the value.

use std::borrow::Cow;

use serde_json::Number;

/// What `serde_json` reads, as the first name of an object, as JSON in a string: such an object is read the slow way.
const RAW: &str = "$serde_json::private::RawValue";

/// How many arrays and objects within each other `serde_json` reads.
const DEPTH: usize = 127;

/// Digits of a number that are certainly one of 64 bits.
const DIGITS: usize = 18;

/// Whether `text` is the one value it reads as, written without spaces, each name once and in their order, numbers and
/// characters in the form in which they are written. False of what is no JSON, and may be false of other text that
/// would be written the same.
pub fn is_canonical(text: &str) -> bool {
    let mut rest = Rest(text.as_bytes());
    rest.value(DEPTH).is_some() && rest.0.is_empty()
}

/// What is left of the text. Each step takes what it is named for from the front, or it is not there in that form.
struct Rest<'t>(&'t [u8]);

impl<'t> Rest<'t> {
    fn value(&mut self, depth: usize) -> Option<()> {
        match self.0.first()? {
            b'n' => self.mark(b"null"),
            b't' => self.mark(b"true"),
            b'f' => self.mark(b"false"),
            b'"' => self.string().map(drop),
            b'[' => self.array(depth.checked_sub(1)?),
            b'{' => self.object(depth.checked_sub(1)?),
            _ => self.number(),
        }
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        self.mark(b"[")?;
        if self.mark(b"]").is_some() {
            return Some(());
        }
        loop {
            self.value(depth)?;
            if self.mark(b",").is_none() {
                return self.mark(b"]");
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<()> {
        self.mark(b"{")?;
        if self.mark(b"}").is_some() {
            return Some(());
        }
        let mut last: Option<Cow<'t, str>> = None;
        loop {
            let name = self.string()?;
            if name == RAW || last.is_some_and(|last| last >= name) {
                return None;
            }
            last = Some(name);
            self.mark(b":")?;
            self.value(depth)?;
            if self.mark(b",").is_none() {
                return self.mark(b"}");
            }
        }
    }

    /// What it says. One with escapes is read and written as others do it.
    fn string(&mut self) -> Option<Cow<'t, str>> {
        let inner = self.0.strip_prefix(b"\"")?;
        let plain = inner.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
        if inner[plain] == b'"' {
            self.0 = &inner[plain + 1..];
            return std::str::from_utf8(&inner[..plain]).ok().map(Cow::Borrowed);
        }
        let mut escaped = false;
        let end = inner.iter().position(|byte| {
            let ends = *byte == b'"' && !escaped;
            escaped = *byte == b'\\' && !escaped;
            ends
        })?;
        let said: String = serde_json::from_slice(&self.0[..end + 2]).ok()?;
        self.mark(serde_json::to_string(&said).ok()?.as_bytes())?;
        Some(Cow::Owned(said))
    }

    /// A short whole number is seen to be one; others are read and written as others do it.
    fn number(&mut self) -> Option<()> {
        let size = self.0.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'));
        let (text, rest) = self.0.split_at(size.unwrap_or(self.0.len()));
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        let leads = text == b"0" || digits.first().is_some_and(|digit| (b'1'..=b'9').contains(digit));
        if !leads || digits.len() > DIGITS || !digits.iter().all(u8::is_ascii_digit) {
            let number: Number = serde_json::from_slice(text).ok()?;
            (number.to_string().as_bytes() == text).then_some(())?;
        }
        self.0 = rest;
        Some(())
    }

    fn mark(&mut self, mark: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(mark)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Number, Value, json};

    use super::*;
    use crate::wire::kind::Json;

    fn values() -> impl Strategy<Value = Value> {
        let number = prop_oneof![
            any::<u64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(|number| Number::from_f64(number).map_or(Value::Null, Value::Number)),
        ];
        let text = prop_oneof!["[a-c\"\\\\/\u{1}\u{e9}]{0,4}", any::<String>()];
        let leaf =
            prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), number, text.prop_map(Value::from)];
        leaf.prop_recursive(3, 24, 4, |inner| {
            let members = prop::collection::vec(("[a-c\"\\n]{0,2}", inner.clone()), 0..4);
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(Value::from),
                members.prop_map(|members| Value::Object(Map::from_iter(members))),
            ]
        })
    }

    proptest! {
        /// What is written is known again, and only that is, however it was altered.
        #[test]
        fn what_is_taken_as_it_is_would_be_written_so(value in values(), at: prop::sample::Index, with in "[ \\[\\]{}:,\"0-9a-c.eE+-]{0,2}") {
            let text = value.to_string();
            prop_assert!(is_canonical(&text), "{text}");
            let mut altered: Vec<char> = text.chars().collect();
            altered.splice(at.index(altered.len())..=at.index(altered.len()), with.chars());
            let altered: String = altered.into_iter().collect();
            if is_canonical(&altered) {
                let again = Json::from(&serde_json::from_str::<Value>(&altered).unwrap());
                prop_assert_eq!(again.as_str(), altered);
            }
        }
    }

    #[test]
    fn other_ways_to_write_the_same_are_not_taken() {
        let others = [
            "",
            " 1",
            "1 ",
            "1 2",
            "[1, 2]",
            "[1,]",
            "{\"b\":1,\"a\":2}",
            "{\"a\":1,\"a\":2}",
            "\"\\u0061\"",
            "\"\\/\"",
            "1e2",
            "1.50",
            "-0",
            "01",
            "[",
            "nul",
            "{\"a\":}",
            "{\"$serde_json::private::RawValue\":\"1\"}",
            "[{\"$serde_json::private::RawValue\":\"x\"}]",
        ];
        others.iter().for_each(|text| assert!(!is_canonical(text), "{text}"));
        for depth in 1..300 {
            let deep = "[".repeat(depth) + &"]".repeat(depth);
            let read = serde_json::from_str::<Value>(&deep).is_ok();
            assert_eq!(is_canonical(&deep), read, "as deep as what is read, no deeper: {depth}");
        }
        assert!(is_canonical(&json!({"a": [1, -2, 0.5, "é\n"], "b": {}}).to_string()));
    }
}
