//! What can be wrong with a message, typed. Validation collects; it does not stop at the first fault.

use std::fmt;

use serde::Serialize;

/// The three classes of faults a message can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultClass {
    /// The message does not have the shape its kind asks for.
    Schema,
    /// The message cannot be believed, or not now.
    Security,
    /// The message is well formed and genuine, but what it says breaks a rule of its kind.
    Business,
}

/// Which check a fault failed. Stable names; programs match on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultCode {
    /// A kind this node does not know.
    UnknownKind,
    /// A field that the kind does not have.
    UnknownField,
    /// A field that the kind needs.
    MissingField,
    /// A value of the wrong type or shape.
    Malformed,
    /// Too long, too many, too big.
    TooLarge,
    /// `expires_at` is past.
    Expired,
    /// Created too far ahead of this node's clock.
    FarFuture,
    /// Seen before.
    Replayed,
    /// The signature, root or proof does not hold.
    BadSignature,
    /// The bytes are not the bytes that were signed.
    BadChecksum,
    /// The author may not say this.
    NotAuthorised,
    /// It cannot be sealed for its reader.
    Unsealable,
    /// A value outside what the kind's rules allow.
    Rule,
}

impl FaultCode {
    /// The class the code belongs to.
    pub const fn class(self) -> FaultClass {
        match self {
            FaultCode::UnknownKind
            | FaultCode::UnknownField
            | FaultCode::MissingField
            | FaultCode::Malformed
            | FaultCode::TooLarge => FaultClass::Schema,
            FaultCode::Expired
            | FaultCode::FarFuture
            | FaultCode::Replayed
            | FaultCode::BadSignature
            | FaultCode::BadChecksum
            | FaultCode::NotAuthorised
            | FaultCode::Unsealable => FaultClass::Security,
            FaultCode::Rule => FaultClass::Business,
        }
    }
}

/// One thing that is wrong with a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Schema, security or business.
    pub class: FaultClass,
    /// Which check.
    pub code: FaultCode,
    /// Where, as a JSON pointer into the message (RFC 6901): `/payload/price`.
    pub path: String,
    /// What is wrong and what would be right, for a person.
    pub detail: String,
}

/// All faults of one message, in the order they were found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Notes a fault.
    pub fn add(&mut self, code: FaultCode, path: impl Into<String>, detail: impl Into<String>) {
        self.0.push(Fault { class: code.class(), code, path: path.into(), detail: detail.into() });
    }

    /// Notes a business fault at a field of the payload unless `holds`. `field` is relative: `price`, `legs/0/amount`.
    pub fn rule(&mut self, holds: bool, field: &str, detail: &str) {
        if !holds {
            self.add(FaultCode::Rule, format!("/payload/{field}"), detail);
        }
    }

    /// Notes all of `others`.
    pub fn extend(&mut self, others: &Faults) {
        self.0.extend_from_slice(&others.0);
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The faults.
    pub fn as_slice(&self) -> &[Fault] {
        &self.0
    }

    /// `Ok` with `value` when nothing is wrong.
    pub fn or<T>(self, value: T) -> Result<T, Faults> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{}: {}", fault.path, fault.detail)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
