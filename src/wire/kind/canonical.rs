//! Whether JSON text is already the text this program would write for its value, found out without building the value.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// What `serde_json` reads, as the first name of an object, as JSON in a string: such an object is read the slow way.
const RAW: &str = "$serde_json::private::RawValue";

/// Whether `text` is the one value it reads as, written without spaces, each name once and in their order, numbers and
/// characters in the form in which they are written. False of what is no JSON, and may be false of other text that
/// would be written the same.
pub fn is_canonical(text: &str) -> bool {
    let mut rest = Rest(text.as_bytes());
    let mut parser = serde_json::Deserializer::from_str(text);
    Compare { rest: &mut rest, mark: b"" }.deserialize(&mut parser).is_ok() && parser.end().is_ok() && rest.0.is_empty()
}

/// What is left of the text. What is written has to be what is there.
struct Rest<'t>(&'t [u8]);

impl Write for Rest<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.strip_prefix(bytes).ok_or(io::ErrorKind::InvalidData)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Rest<'_> {
    fn value<E: Error>(&mut self, value: impl serde::Serialize) -> Result<(), E> {
        serde_json::to_writer(self, &value).map_err(|_| E::custom("written otherwise"))
    }

    fn mark<E: Error>(&mut self, mark: &[u8]) -> Result<(), E> {
        self.write_all(mark).map_err(|_| E::custom("written otherwise"))
    }
}

/// A value is read, and compared on the way, with the mark that stands before it.
struct Compare<'r, 't> {
    rest: &'r mut Rest<'t>,
    mark: &'static [u8],
}

impl<'de> DeserializeSeed<'de> for Compare<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        self.rest.mark(self.mark)?;
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Compare<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.rest.value(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.rest.value(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.rest.value(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.rest.value(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.rest.value(value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.rest.value(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.rest.mark(b"[")?;
        let mut mark: &'static [u8] = b"";
        while items.next_element_seed(Compare { rest: &mut *self.rest, mark })?.is_some() {
            mark = b",";
        }
        self.rest.mark(b"]")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        self.rest.mark(b"{")?;
        let mut last: Option<Cow<'de, str>> = None;
        while let Some(name) = members.next_key_seed(Name)? {
            if name == RAW {
                return Err(A::Error::custom("a name that is read as something else"));
            }
            match last {
                None => {}
                Some(last) if last < name => self.rest.mark(b",")?,
                Some(_) => return Err(A::Error::custom("names in another order")),
            }
            self.rest.value(&name)?;
            members.next_value_seed(Compare { rest: &mut *self.rest, mark: b":" })?;
            last = Some(name);
        }
        self.rest.mark(b"}")
    }
}

/// The name of a member, borrowed where it has no escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Cow<'de, str>, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(name.into()))
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
        let deep = "[".repeat(200) + &"]".repeat(200);
        assert!(!is_canonical(&deep), "as deep as what is read, no deeper");
        assert!(is_canonical(&json!({"a": [1, -2, 0.5, "é\n"], "b": {}}).to_string()));
    }
}
