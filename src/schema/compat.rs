//! Whether every value that one schema allows is allowed by another: a proof by structure, or no proof.
//!
//! Deciding containment of JSON Schemas in general is beyond any bound, so this answers three ways. `Compatible` is
//! proved: no value that the narrower schema allows is refused by the wider one; the tests hold that against the
//! validator. `Incompatible` names a rule of the wider schema that the narrower one does not keep. `CannotTell` says
//! which keyword is outside what is compared, or that the documents are too large to be compared.
//!
//! Compared are: `type`, `enum`, `const`, the bounds of numbers, texts, lists and objects, `multipleOf`, `pattern` (equal
//! or not), `items`, `prefixItems`, `uniqueItems`, `properties`, `required`, `additionalProperties`, `allOf`, `anyOf`,
//! and references. `oneOf`, `not`, `if`, `contains`, `patternProperties`, `propertyNames` and `dependent…` count as kept
//! where the narrower schema has the very same one.
//!
//! The comparison goes by type of value: for each of the seven, what the narrower schema is known to say (several
//! subschemas that all hold) against each keyword of the wider one.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value};

use super::bounds::{Types, at_least, at_most, lower, sizes_at_least, sizes_at_most, step, upper};
use super::document::{Document, compile, escape, is_note};
use crate::wire::kind::schemas::Compatibility;

/// Steps of one comparison; a step is one subschema against another.
const STEPS: usize = 10_000;
/// What a value checked against a subschema costs, in steps: the subschema is compiled for it.
const COMPILE_STEPS: usize = 20;
/// Findings told of one comparison.
const FINDINGS: usize = 32;

/// Something the wider schema asks for that the narrower does not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
pub struct Finding {
    /// Where in the wider schema, its references put in, as a JSON pointer.
    pub path: String,
    /// What is in the way.
    pub reason: String,
    /// Whether it is known to break something, or only not known to keep it.
    pub certain: bool,
}

/// Which way two versions were compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Whether the new version takes what the old one took.
    Backward,
    /// Whether the old version takes what the new one takes.
    Forward,
}

/// A version that the new one does not go with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Conflict {
    /// The old version.
    pub version: u32,
    /// Which way.
    pub direction: Direction,
    /// What is in the way.
    pub findings: Vec<Finding>,
}

/// What a comparison came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Proved.
    Compatible,
    /// Something is known to break.
    Incompatible,
    /// Not proved, and nothing known to break.
    CannotTell,
}

impl Verdict {
    /// Of what was found.
    pub fn of(conflicts: &[Conflict]) -> Verdict {
        let mut findings = conflicts.iter().flat_map(|conflict| &conflict.findings);
        match conflicts {
            [] => Verdict::Compatible,
            [..] if findings.any(|finding| finding.certain) => Verdict::Incompatible,
            [..] => Verdict::CannotTell,
        }
    }
}

/// Compares a new version with the old ones, oldest first, as `mode` asks for. `fuel` is what is left of the steps that
/// all comparisons of a subject have together.
pub fn compare(mode: Compatibility, new: &Document, old: &[(u32, &Document)], fuel: &mut usize) -> Vec<Conflict> {
    let skip = if mode.is_transitive() { 0 } else { old.len().saturating_sub(1) };
    let mut conflicts = Vec::new();
    for (version, old) in old.iter().rev().take(old.len() - skip) {
        let mut look = |direction, narrow: &Document, wide: &Document| {
            let findings = beyond(narrow, wide, fuel);
            if !findings.is_empty() {
                conflicts.push(Conflict { version: *version, direction, findings });
            }
        };
        if mode.is_backward() {
            look(Direction::Backward, old, new);
        }
        if mode.is_forward() {
            look(Direction::Forward, new, old);
        }
    }
    conflicts
}

/// What keeps `wide` from allowing all that `narrow` allows; nothing is a proof that it does.
pub(super) fn beyond(narrow: &Document, wide: &Document, fuel: &mut usize) -> Vec<Finding> {
    let given = STEPS.min(*fuel);
    let mut proof = Proof { steps: given, findings: Vec::new() };
    let holds = proof.covers(&[narrow.expanded()], wide.expanded(), "");
    *fuel -= given - proof.steps;
    debug_assert_eq!(holds, proof.findings.is_empty());
    merged(proof.findings).into_iter().take(FINDINGS).collect()
}

/// Each finding once; of the types that are refused in one place, one finding.
fn merged(findings: Vec<Found>) -> BTreeSet<Finding> {
    let (mut merged, mut refused) = (BTreeSet::new(), BTreeMap::<String, Types>::new());
    for Found { path, what } in findings {
        match what {
            What::Type(one) => {
                let types = refused.entry(path).or_insert(one);
                *types = types.and(one);
            }
            What::Told { reason, certain } => drop(merged.insert(Finding { path, reason, certain })),
        }
    }
    merged.extend(refused.into_iter().map(|(path, types)| {
        let names: Vec<String> = Types::EACH.iter().filter(|one| types.has(**one)).map(Types::to_string).collect();
        Finding { path, reason: format!("takes no {}", names.join(", no ")), certain: true }
    }));
    merged
}

/// A comparison under way.
struct Proof {
    steps: usize,
    findings: Vec<Found>,
}

/// What was found somewhere.
struct Found {
    path: String,
    what: What,
}

enum What {
    /// Values of a type are not taken.
    Type(Types),
    /// Anything else.
    Told { reason: String, certain: bool },
}

/// One of the subschemas that hold together, and whether its alternatives are being gone through.
#[derive(Clone, Copy)]
struct Part<'a> {
    schema: &'a Map<String, Value>,
    split: bool,
}

impl Proof {
    fn find(&mut self, path: &str, reason: impl Into<String>, certain: bool) -> bool {
        self.findings.push(Found { path: path.into(), what: What::Told { reason: reason.into(), certain } });
        false
    }

    fn refuses(&mut self, path: impl Into<String>, one: Types) -> bool {
        self.findings.push(Found { path: path.into(), what: What::Type(one) });
        false
    }

    fn must(&mut self, holds: bool, path: &str, reason: &str) -> bool {
        holds || self.find(path, reason, true)
    }

    /// Takes steps. False, with a finding, when there are none left.
    fn spend(&mut self, steps: usize, path: &str) -> bool {
        let enough = self.steps >= steps;
        self.steps = self.steps.saturating_sub(steps);
        enough || self.find(path, "the schemas are too large to be compared", false)
    }

    /// Whether whatever all of `narrow` allow, `wide` allows.
    fn covers(&mut self, narrow: &[&Value], wide: &Value, path: &str) -> bool {
        if !self.spend(1, path) {
            return false;
        }
        if narrow.iter().any(|schema| **schema == Value::Bool(false) || *schema == wide) {
            return true;
        }
        let mut parts = Vec::new();
        narrow.iter().for_each(|schema| flatten(schema, &mut parts));
        // Every type is looked at, so that everything is found at once.
        let held = Types::EACH.into_iter().filter(|one| self.covers_type(&parts, *one, wide, path)).count();
        held == Types::EACH.len()
    }

    /// The same for values of one type.
    fn covers_type(&mut self, parts: &[Part<'_>], one: Types, wide: &Value, path: &str) -> bool {
        if !self.spend(1, path) {
            return false;
        }
        if !parts.iter().all(|part| Types::of(part.schema).has(one)) {
            return true;
        }
        // Exact, whatever else the parts say.
        if let Some(listed) = listed(parts, one) {
            return self.covers_values(parts, &listed, one, wide, path);
        }
        let before = self.findings.len();
        let holds = match wide {
            Value::Object(asked) if !Types::of(asked).has(one) => self.refuses(format!("{path}/type"), one),
            Value::Object(asked) => {
                parts.iter().any(|part| part.schema == asked) || self.keeps(parts, one, asked, path)
            }
            Value::Bool(true) => true,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                self.refuses(path, one)
            }
        };
        if holds {
            return true;
        }
        let Some((index, alternatives)) = alternatives(parts) else { return false };
        self.findings.truncate(before);
        alternatives.iter().fold(true, |holds, alternative| {
            let mut parts = parts.to_vec();
            parts[index].split = true;
            flatten(alternative, &mut parts);
            let impossible = *alternative == Value::Bool(false);
            (impossible || self.covers_type(&parts, one, wide, path)) && holds
        })
    }

    /// The same for values that are listed: each is tried.
    fn covers_values(&mut self, parts: &[Part<'_>], listed: &[Value], one: Types, wide: &Value, path: &str) -> bool {
        if !self.spend((parts.len() + 1) * COMPILE_STEPS + listed.len(), path) {
            return false;
        }
        let compiled: Result<Vec<_>, String> =
            parts.iter().map(|part| compile(&Value::Object(part.schema.clone()))).collect();
        let types = wide.as_object().map_or(one, Types::of);
        let (Ok(narrow), Ok(wide)) = (compiled, compile(wide)) else {
            return self.find(path, "cannot be compared", false);
        };
        let given = |value: &&Value| Types::of_value(value) == one && narrow.iter().all(|n| n.is_valid(value));
        match listed.iter().filter(given).find(|value| !wide.is_valid(value)) {
            Some(_) if !types.has(one) => self.refuses(format!("{path}/type"), one),
            Some(value) => {
                let shown: String = value.to_string().chars().take(80).collect();
                self.find(path, format!("does not take {shown}"), true)
            }
            None => true,
        }
    }

    /// Whether values of one type that `parts` allow keep every keyword of `wide`.
    fn keeps(&mut self, parts: &[Part<'_>], one: Types, wide: &Map<String, Value>, path: &str) -> bool {
        wide.iter().fold(true, |holds, (keyword, value)| {
            let path = format!("{path}/{}", escape(keyword));
            self.keeps_keyword(parts, one, wide, keyword, value, &path) && holds
        })
    }

    fn keeps_keyword(
        &mut self,
        parts: &[Part<'_>],
        one: Types,
        wide: &Map<String, Value>,
        keyword: &str,
        value: &Value,
        path: &str,
    ) -> bool {
        let number = value.as_f64().unwrap_or_default();
        match keyword {
            "type" => true,
            note if is_note(note) => true,
            "enum" | "const" => self.find(path, format!("takes certain values only, not every {one}"), true),
            "allOf" => self.keeps_all(parts, one, value, path),
            "anyOf" => self.keeps_any(parts, one, value, path),
            "minimum" | "exclusiveMinimum" | "maximum" | "exclusiveMaximum" | "multipleOf" => {
                !one.is_number() || self.keeps_number(parts, one, keyword, number, path)
            }
            "minLength" | "maxLength" | "pattern" => {
                one != Types::STRING || self.keeps_text(parts, keyword, value, path)
            }
            "minItems" | "maxItems" | "uniqueItems" | "items" | "prefixItems" => {
                one != Types::ARRAY || self.keeps_list(parts, wide, keyword, value, path)
            }
            "minProperties" | "maxProperties" | "required" | "properties" | "additionalProperties" => {
                one != Types::OBJECT || self.keeps_object(parts, wide, keyword, value, path)
            }
            other => !applies(other, one) || self.keeps_same(parts, wide, other, path),
        }
    }

    fn keeps_all(&mut self, parts: &[Part<'_>], one: Types, value: &Value, path: &str) -> bool {
        let each = value.as_array().into_iter().flatten().enumerate();
        let each: Vec<_> = each.collect();
        each.into_iter()
            .fold(true, |holds, (index, wide)| self.covers_type(parts, one, wide, &format!("{path}/{index}")) && holds)
    }

    fn keeps_any(&mut self, parts: &[Part<'_>], one: Types, value: &Value, path: &str) -> bool {
        let before = self.findings.len();
        let takes = |schema: &Value| match schema {
            Value::Object(schema) => Types::of(schema).has(one),
            other => *other == Value::Bool(true),
        };
        let able: Vec<(usize, &Value)> =
            value.as_array().into_iter().flatten().enumerate().filter(|(_, schema)| takes(schema)).collect();
        for (index, wide) in &able {
            if self.covers_type(parts, one, wide, &format!("{path}/{index}")) {
                self.findings.truncate(before);
                return true;
            }
        }
        // With one shape that could take it, what is in its way is what is wrong; with several, together they may.
        match able.len() {
            0 => self.refuses(path, one),
            1 => false,
            _ => {
                self.findings.truncate(before);
                self.find(path, format!("no single one of the shapes takes every {one}"), false)
            }
        }
    }

    fn keeps_number(&mut self, parts: &[Part<'_>], one: Types, keyword: &str, number: f64, path: &str) -> bool {
        let schemas = || parts.iter().map(|part| part.schema);
        let holds = match keyword {
            "minimum" => at_least(lower(schemas(), one), number, false),
            "exclusiveMinimum" => at_least(lower(schemas(), one), number, true),
            "maximum" => at_most(upper(schemas(), one), number, false),
            "exclusiveMaximum" => at_most(upper(schemas(), one), number, true),
            _ => step(schemas(), number, one),
        };
        self.must(holds, path, &format!("asks for {number}, which was not asked for"))
    }

    fn keeps_text(&mut self, parts: &[Part<'_>], keyword: &str, value: &Value, path: &str) -> bool {
        let schemas = || parts.iter().map(|part| part.schema);
        let size = value.as_f64().unwrap_or_default();
        match keyword {
            "minLength" => self.must(sizes_at_least(schemas(), "minLength", size), path, "asks for longer texts"),
            "maxLength" => self.must(sizes_at_most(schemas(), "maxLength", size), path, "asks for shorter texts"),
            _ if schemas().any(|schema| schema.get("pattern") == Some(value)) => true,
            _ if schemas().any(|schema| schema.contains_key("pattern")) => {
                self.find(path, "patterns that differ are not compared", false)
            }
            _ => self.find(path, "asks for a pattern, which was not asked for", true),
        }
    }

    fn keeps_list(
        &mut self,
        parts: &[Part<'_>],
        wide: &Map<String, Value>,
        keyword: &str,
        value: &Value,
        path: &str,
    ) -> bool {
        let schemas = || parts.iter().map(|part| part.schema);
        let size = value.as_f64().unwrap_or_default();
        match keyword {
            "minItems" => self.must(sizes_at_least(schemas(), "minItems", size), path, "asks for longer lists"),
            "maxItems" => self.must(sizes_at_most(schemas(), "maxItems", size), path, "asks for shorter lists"),
            "uniqueItems" => {
                let unique = schemas().any(|schema| schema.get("uniqueItems") == Some(&Value::Bool(true)));
                let holds = *value != Value::Bool(true) || unique || sizes_at_most(schemas(), "maxItems", 1.0);
                self.must(holds, path, "asks for items that differ, which was not asked for")
            }
            "prefixItems" => {
                let each: Vec<(usize, &Value)> = value.as_array().into_iter().flatten().enumerate().collect();
                each.into_iter().fold(true, |holds, (index, item)| {
                    self.keeps_item(parts, index, item, &format!("{path}/{index}")) && holds
                })
            }
            _ => {
                let prefix = |schema: &Map<String, Value>| {
                    schema.get("prefixItems").and_then(Value::as_array).map_or(0, |items| items.len())
                };
                let own = prefix(wide);
                // The items one by one as far as anyone tells them apart, then all others at once.
                let last = schemas().map(prefix).max().unwrap_or_default().max(own);
                let held = (own..=last).filter(|index| self.keeps_item(parts, *index, value, path)).count();
                held == last - own + 1
            }
        }
    }

    fn keeps_item(&mut self, parts: &[Part<'_>], index: usize, wide: &Value, path: &str) -> bool {
        let schemas = || parts.iter().map(|part| part.schema);
        if sizes_at_most(schemas(), "maxItems", index as f64) {
            return true;
        }
        let narrow: Vec<&Value> = schemas().filter_map(|schema| item(schema, index)).collect();
        self.covers(&narrow, wide, path)
    }

    fn keeps_object(
        &mut self,
        parts: &[Part<'_>],
        wide: &Map<String, Value>,
        keyword: &str,
        value: &Value,
        path: &str,
    ) -> bool {
        let schemas = || parts.iter().map(|part| part.schema);
        let size = value.as_f64().unwrap_or_default();
        match keyword {
            "minProperties" => {
                let required: BTreeSet<&str> = schemas().flat_map(required).collect();
                let holds = required.len() as f64 >= size || sizes_at_least(schemas(), "minProperties", size);
                self.must(holds, path, "asks for more fields")
            }
            "maxProperties" => {
                self.must(sizes_at_most(schemas(), "maxProperties", size), path, "asks for fewer fields")
            }
            "required" => {
                let had: BTreeSet<&str> = schemas().flat_map(required).collect();
                let missing: Vec<&str> = required(wide).filter(|name| !had.contains(name)).collect();
                let told = format!("asks for {}, which could be left out", missing.join(", "));
                self.must(missing.is_empty(), path, &told)
            }
            "properties" => {
                let named: Vec<(&String, &Value)> = value.as_object().into_iter().flatten().collect();
                named.into_iter().fold(true, |holds, (name, wide)| {
                    let narrow: Vec<&Value> = schemas().filter_map(|schema| field(schema, Some(name))).collect();
                    self.covers(&narrow, wide, &format!("{path}/{}", escape(name))) && holds
                })
            }
            _ if wide.contains_key("patternProperties") => self.keeps_same(parts, wide, keyword, path),
            _ => self.keeps_other_fields(parts, wide, value, path),
        }
    }

    /// Fields that `wide` does not name.
    fn keeps_other_fields(&mut self, parts: &[Part<'_>], wide: &Map<String, Value>, value: &Value, path: &str) -> bool {
        let schemas = || parts.iter().map(|part| part.schema);
        let named = |name: &str| wide.get("properties").is_some_and(|fields| fields.get(name).is_some());
        let fields = |schema: &'_ Map<String, Value>| -> Vec<String> {
            let fields = schema.get("properties").and_then(Value::as_object);
            fields.into_iter().flatten().map(|(name, _)| name.clone()).collect()
        };
        let others: BTreeSet<String> = schemas().flat_map(fields).filter(|name| !named(name)).collect();
        let mut holds = true;
        for name in others.iter().map(Some).chain([None]) {
            let narrow: Vec<&Value> = schemas().filter_map(|schema| field(schema, name.map(String::as_str))).collect();
            let before = self.findings.len();
            if self.covers(&narrow, value, path) {
                continue;
            }
            if *value == Value::Bool(false) && self.steps > 0 {
                self.findings.truncate(before);
                let what = name.map_or("fields it does not name".into(), |name| format!("the field {name}"));
                self.find(path, format!("does not take {what}, which was taken"), true);
            }
            holds = false;
        }
        holds
    }

    /// A keyword that is not looked into: kept where one of `parts` has the very same.
    fn keeps_same(&mut self, parts: &[Part<'_>], wide: &Map<String, Value>, keyword: &str, path: &str) -> bool {
        let together: &[&str] = match keyword {
            "if" | "then" | "else" => &["if", "then", "else"],
            "contains" | "minContains" | "maxContains" => &["contains", "minContains", "maxContains"],
            "patternProperties" | "additionalProperties" => {
                &["properties", "patternProperties", "additionalProperties"]
            }
            _ => &[keyword],
        };
        let same = |part: &Part<'_>| together.iter().all(|name| part.schema.get(*name) == wide.get(*name));
        parts.iter().any(same) || self.find(path, format!("`{keyword}` is not compared, and not the same"), false)
    }
}

/// The subschemas that hold together in a schema: itself, and what its `allOf` has.
fn flatten<'a>(schema: &'a Value, parts: &mut Vec<Part<'a>>) {
    let Value::Object(members) = schema else {
        if *schema == Value::Bool(false) {
            static NOTHING: std::sync::LazyLock<Map<String, Value>> =
                std::sync::LazyLock::new(|| Map::from_iter([("type".to_string(), Value::Array(Vec::new()))]));
            parts.push(Part { schema: &NOTHING, split: false });
        }
        return;
    };
    parts.push(Part { schema: members, split: false });
    for item in members.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        flatten(item, parts);
    }
}

/// The values that `parts` can only be, if one of them lists some, or the type has no more.
fn listed(parts: &[Part<'_>], one: Types) -> Option<Vec<Value>> {
    let of = |part: &Part<'_>| match (part.schema.get("const"), part.schema.get("enum")) {
        (Some(value), _) => Some(vec![value.clone()]),
        (None, Some(Value::Array(values))) => Some(values.clone()),
        (None, _) => None,
    };
    parts.iter().find_map(of).or_else(|| match one {
        Types::NULL => Some(vec![Value::Null]),
        Types::BOOLEAN => Some(vec![Value::Bool(false), Value::Bool(true)]),
        _ => None,
    })
}

/// The first list of alternatives that is not being gone through.
fn alternatives<'a>(parts: &[Part<'a>]) -> Option<(usize, &'a Vec<Value>)> {
    parts.iter().enumerate().filter(|(_, part)| !part.split).find_map(|(index, part)| {
        let of = |keyword| part.schema.get(keyword).and_then(Value::as_array);
        of("anyOf").or_else(|| of("oneOf")).map(|alternatives| (index, alternatives))
    })
}

fn required(schema: &Map<String, Value>) -> impl Iterator<Item = &str> {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// What a schema says of an item of a list.
fn item(schema: &Map<String, Value>, index: usize) -> Option<&Value> {
    let prefix = schema.get("prefixItems").and_then(Value::as_array).and_then(|items| items.get(index));
    prefix.or_else(|| schema.get("items"))
}

/// What a schema says of a field, or of any that nobody names.
fn field<'a>(schema: &'a Map<String, Value>, name: Option<&str>) -> Option<&'a Value> {
    let named = name.and_then(|name| schema.get("properties").and_then(|fields| fields.get(name)));
    // A field that matches one of the patterns is not among the others; which do is not looked into.
    let others = || schema.get("additionalProperties").filter(|_| !schema.contains_key("patternProperties"));
    named.or_else(others)
}

/// Whether a keyword that is not looked into says anything of values of a type.
fn applies(keyword: &str, one: Types) -> bool {
    match keyword {
        "contains" | "minContains" | "maxContains" => one == Types::ARRAY,
        "patternProperties" | "propertyNames" | "dependentRequired" | "dependentSchemas" => one == Types::OBJECT,
        _ => true,
    }
}
