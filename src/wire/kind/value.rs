//! Values that look different to people than on the wire: bytes, large amounts, free JSON.
//!
//! Pure. Each has one text form (JSON) and one binary form, and reads back what it writes.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use super::canonical::is_canonical;

/// Bytes that mean something to someone else. JSON: lower-case hexadecimal; binary: length and bytes.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Blob(pub Vec<u8>);

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { to.serialize_str(&hex::encode(&self.0)) } else { to.serialize_bytes(&self.0) }
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Blob, D::Error> {
        if from.is_human_readable() {
            let text = String::deserialize(from)?;
            hex::decode(text).map(Blob).map_err(|e| de::Error::custom(format!("bytes are hexadecimal: {e}")))
        } else {
            serde_bytes::ByteBuf::deserialize(from).map(|bytes| Blob(bytes.into_vec()))
        }
    }
}

impl JsonSchema for Blob {
    fn schema_name() -> Cow<'static, str> {
        "Blob".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^([0-9a-fA-F]{2})*$", "description": "Bytes, hexadecimal"})
    }
}

/// An amount in base units that may pass 64 bits, as on other chains (wei). JSON: a decimal string; binary: an integer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(pub u128);

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { to.collect_str(&self.0) } else { to.serialize_u128(self.0) }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Amount, D::Error> {
        if from.is_human_readable() {
            let text = String::deserialize(from)?;
            text.parse()
                .map(Amount)
                .map_err(|e| de::Error::custom(format!("an amount is decimal digits in quotes: {e}")))
        } else {
            u128::deserialize(from).map(Amount)
        }
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[0-9]{1,39}$", "description": "Base units, decimal digits"})
    }
}

/// Any JSON value, kept as text. JSON: the value itself; binary: its compact text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(String);

impl Json {
    /// The value as compact JSON text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value.
    pub fn value(&self) -> Value {
        // It was a value when it was made.
        serde_json::from_str(&self.0).unwrap_or_default()
    }

    /// A value that was read, if its text can be read again: what an object of one member says in a string may be deeper.
    fn written<E: de::Error>(value: &Value) -> Result<Json, E> {
        let written = Json::from(value);
        is_canonical(&written.0).then_some(written).ok_or_else(|| E::custom("JSON too deep to be read again"))
    }
}

impl From<&Value> for Json {
    fn from(value: &Value) -> Json {
        Json(value.to_string())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if !to.is_human_readable() {
            return to.serialize_str(&self.0);
        }
        let value: Value = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        value.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Json, D::Error> {
        if from.is_human_readable() {
            return Json::written(&Value::deserialize(from)?);
        }
        let text = String::deserialize(from)?;
        if is_canonical(&text) {
            return Ok(Json(text));
        }
        let value: Value = serde_json::from_str(&text).map_err(|e| de::Error::custom(format!("not JSON: {e}")))?;
        Json::written(&value)
    }
}

impl JsonSchema for Json {
    fn schema_name() -> Cow<'static, str> {
        "Json".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"description": "Any JSON value"})
    }
}
