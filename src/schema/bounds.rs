//! What is known of values: their types, and the bounds of numbers and sizes. Numbers of documents are exact (below
//! 2^53), so they are compared as they are.

use std::fmt;

use serde_json::{Map, Value};

/// A set of types of values. A number with nothing after its point is an integer, as in draft 2020-12.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Types(u8);

impl Types {
    pub const NULL: Types = Types(1);
    pub const BOOLEAN: Types = Types(2);
    pub const INTEGER: Types = Types(4);
    /// A number that is no integer.
    pub const FRACTION: Types = Types(8);
    pub const STRING: Types = Types(16);
    pub const ARRAY: Types = Types(32);
    pub const OBJECT: Types = Types(64);
    const ALL: Types = Types(127);

    /// Each alone.
    pub const EACH: [Types; 7] =
        [Types::NULL, Types::BOOLEAN, Types::INTEGER, Types::FRACTION, Types::STRING, Types::ARRAY, Types::OBJECT];

    /// What a schema's `type` allows.
    pub fn of(schema: &Map<String, Value>) -> Types {
        match schema.get("type") {
            None => Types::ALL,
            Some(Value::Array(names)) => names.iter().fold(Types(0), |all, name| Types(all.0 | Types::named(name).0)),
            Some(name) => Types::named(name),
        }
    }

    fn named(name: &Value) -> Types {
        match name.as_str() {
            Some("null") => Types::NULL,
            Some("boolean") => Types::BOOLEAN,
            Some("integer") => Types::INTEGER,
            Some("number") => Types(Types::INTEGER.0 | Types::FRACTION.0),
            Some("string") => Types::STRING,
            Some("array") => Types::ARRAY,
            Some("object") => Types::OBJECT,
            Some(_) | None => Types(0),
        }
    }

    /// The type of a value.
    pub fn of_value(value: &Value) -> Types {
        match value {
            Value::Null => Types::NULL,
            Value::Bool(_) => Types::BOOLEAN,
            Value::Number(number) if number.as_f64().is_some_and(|n| n.fract() != 0.0) => Types::FRACTION,
            Value::Number(_) => Types::INTEGER,
            Value::String(_) => Types::STRING,
            Value::Array(_) => Types::ARRAY,
            Value::Object(_) => Types::OBJECT,
        }
    }

    /// Whether it has all of the others.
    pub fn has(self, other: Types) -> bool {
        self.0 & other.0 == other.0
    }

    /// Those of both.
    pub fn and(self, other: Types) -> Types {
        Types(self.0 | other.0)
    }

    pub fn is_number(self) -> bool {
        self == Types::INTEGER || self == Types::FRACTION
    }
}

impl fmt::Display for Types {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Types::NULL => "null",
            Types::BOOLEAN => "boolean",
            Types::INTEGER => "integer",
            Types::FRACTION => "number with a fraction",
            Types::STRING => "string",
            Types::ARRAY => "array",
            Types::OBJECT => "object",
            Types(_) => "value",
        })
    }
}

/// An end of a range of numbers, and whether it is outside the range itself.
pub(super) type End = Option<(f64, bool)>;

fn numbers<'a>(schemas: impl Iterator<Item = &'a Map<String, Value>>, keyword: &str) -> impl Iterator<Item = f64> {
    schemas.filter_map(move |schema| schema.get(keyword)?.as_f64())
}

/// The highest end below which no number is. Integers begin at the next one.
pub(super) fn lower<'a>(schemas: impl Iterator<Item = &'a Map<String, Value>>, one: Types) -> End {
    ends(schemas, ["minimum", "exclusiveMinimum"], one == Types::INTEGER, 1.0)
}

/// The lowest end above which no number is.
pub(super) fn upper<'a>(schemas: impl Iterator<Item = &'a Map<String, Value>>, one: Types) -> End {
    ends(schemas, ["maximum", "exclusiveMaximum"], one == Types::INTEGER, -1.0)
}

/// The innermost end; `sign` is 1 for lower ends and -1 for upper ones.
fn ends<'a>(
    schemas: impl Iterator<Item = &'a Map<String, Value>>,
    [closed, open]: [&str; 2],
    whole: bool,
    sign: f64,
) -> End {
    let mut innermost: End = None;
    for schema in schemas {
        for (keyword, exclusive) in [(closed, false), (open, true)] {
            let Some(number) = schema.get(keyword).and_then(Value::as_f64) else { continue };
            let end = match (whole, exclusive) {
                (false, exclusive) => (number * sign, exclusive),
                (true, false) => ((number * sign).ceil(), false),
                (true, true) => ((number * sign).floor() + 1.0, false),
            };
            let further = innermost.is_none_or(|(at, out)| end.0 > at || (end.0 == at && end.1 && !out));
            innermost = if further { Some(end) } else { innermost };
        }
    }
    innermost.map(|(at, exclusive)| (at * sign, exclusive))
}

/// Whether numbers from `end` on are at least `number`, or above it.
pub(super) fn at_least(end: End, number: f64, above: bool) -> bool {
    end.is_some_and(|(at, exclusive)| at > number || (at == number && (exclusive || !above)))
}

/// Whether numbers up to `end` are at most `number`, or below it.
pub(super) fn at_most(end: End, number: f64, below: bool) -> bool {
    end.is_some_and(|(at, exclusive)| at < number || (at == number && (exclusive || !below)))
}

/// Whether all numbers are multiples of `number`.
pub(super) fn step<'a>(schemas: impl Iterator<Item = &'a Map<String, Value>>, number: f64, one: Types) -> bool {
    let whole = |n: f64| n.fract() == 0.0 && n != 0.0;
    let mut steps = numbers(schemas, "multipleOf");
    (one == Types::INTEGER && number == 1.0)
        || steps.any(|n| n == number || (whole(n) && whole(number) && n % number == 0.0))
}

/// Whether a size is never below `least`.
pub(super) fn sizes_at_least<'a>(
    schemas: impl Iterator<Item = &'a Map<String, Value>>,
    keyword: &str,
    least: f64,
) -> bool {
    least <= 0.0 || numbers(schemas, keyword).any(|size| size >= least)
}

/// Whether a size is never above `most`.
pub(super) fn sizes_at_most<'a>(
    schemas: impl Iterator<Item = &'a Map<String, Value>>,
    keyword: &str,
    most: f64,
) -> bool {
    numbers(schemas, keyword).any(|size| size <= most)
}
