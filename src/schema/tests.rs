//! Comparing against the validator, documents that could run away, and the same registry in whatever order.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::compat::beyond;
use super::rows::registrations;
use super::*;
use crate::types::MemoryStore as Memory;
use crate::types::storage::{Batch, Txn};
use crate::types::{Incarnation, MessageId, NodeId, Stamp, WallMs};
use crate::wire::kind::Json;
use crate::wire::kind::schemas::{Compatibility, SchemaRegistration};
use crate::wire::{FaultCode, Faults};

fn document(schema: &Value) -> Document {
    Document::read(schema, "").unwrap_or_else(|faults| panic!("{schema}: {faults}"))
}

fn faults(schema: &Value) -> Vec<(FaultCode, String)> {
    let found = Document::read(schema, "").err().unwrap_or_default();
    found.as_slice().iter().map(|fault| (fault.code, fault.path.clone())).collect()
}

/// What keeps `wide` from taking all of `narrow`.
fn between(narrow: &Value, wide: &Value) -> Vec<Finding> {
    beyond(&document(narrow), &document(wide), &mut usize::MAX.clone())
}

#[track_caller]
fn holds(narrow: Value, wide: Value) {
    assert_eq!(between(&narrow, &wide), [], "{narrow} within {wide}");
}

#[track_caller]
fn breaks(narrow: Value, wide: Value, path: &str, certain: bool) {
    let found: Vec<_> = between(&narrow, &wide).into_iter().map(|f| (f.path, f.certain)).collect();
    assert_eq!(found, [(path.to_string(), certain)], "{narrow} within {wide}");
}

#[test]
fn what_widens_is_compatible() {
    holds(json!({"type": "integer"}), json!({"type": "number"}));
    holds(json!({"type": "integer", "minimum": 1}), json!({"exclusiveMinimum": 0}));
    holds(json!({"type": "integer", "exclusiveMinimum": 0}), json!({"minimum": 1}));
    holds(json!({"multipleOf": 6}), json!({"multipleOf": 3}));
    holds(json!({"enum": ["a", 1, null]}), json!({"type": ["string", "integer", "null"]}));
    holds(json!({"type": "boolean"}), json!({"enum": [true, false, "maybe"]}));
    holds(json!({"type": ["string", "null"]}), json!({"anyOf": [{"type": "string"}, {"type": "null"}]}));
    holds(json!({"oneOf": [{"const": 1}, {"const": 2}]}), json!({"type": "integer", "maximum": 2}));
    holds(json!({"allOf": [{"minLength": 3}, {"type": "string"}]}), json!({"type": "string", "minLength": 2}));
    holds(json!({"type": "array", "items": {"const": 1}, "maxItems": 1}), json!({"uniqueItems": true}));
    holds(
        json!({"type": "array", "prefixItems": [{"type": "string"}], "items": {"type": "integer"}}),
        json!({"type": "array", "items": {"type": ["string", "integer"]}}),
    );
    holds(
        json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false}),
        json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}, "minProperties": 1}),
    );
    holds(
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"type": "string", "pattern": "^x", "title": "A"}}}),
        json!({"type": "string", "pattern": "^x", "description": "the same"}),
    );
    holds(json!({"not": {"type": "null"}, "type": "string"}), json!({"not": {"type": "null"}}));
}

#[test]
fn what_narrows_is_told_where_and_whether_it_is_certain() {
    breaks(json!({"type": "number"}), json!({"type": "integer"}), "/type", true);
    breaks(json!({"type": "object"}), json!({"type": "object", "required": ["a"]}), "/required", true);
    breaks(
        json!({"type": "object", "properties": {"a": {"type": "string"}}}),
        json!({"type": "object", "properties": {"a": {"type": "string", "maxLength": 9}}}),
        "/properties/a/maxLength",
        true,
    );
    breaks(
        json!({"type": "object"}),
        json!({"type": "object", "additionalProperties": false}),
        "/additionalProperties",
        true,
    );
    breaks(json!({"enum": ["a", "b"]}), json!({"enum": ["a"]}), "", true);
    breaks(json!({"type": "string", "pattern": "a"}), json!({"type": "string", "pattern": "b"}), "/pattern", false);
    breaks(json!({"type": "string"}), json!({"not": {"minLength": 3}}), "/not", false);
    breaks(
        json!({"type": "integer"}),
        json!({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "integer", "maximum": 0}]}),
        "/anyOf",
        false,
    );
}

#[test]
fn documents_that_could_run_away_are_refused() {
    let at = |code, path: &str| vec![(code, path.to_string())];
    assert_eq!(faults(&json!({"$ref": "https://example.org/a.json"})), at(FaultCode::Malformed, "/$ref"));
    assert_eq!(faults(&json!({"$ref": "#"})), at(FaultCode::Malformed, "/$ref"));
    assert_eq!(faults(&json!({"$ref": "#/$defs/x"})), at(FaultCode::MissingField, ""));
    let circle = json!({"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}});
    assert_eq!(faults(&circle), at(FaultCode::Malformed, ""));
    assert_eq!(faults(&json!({"pattern": "(?=a)b"})), at(FaultCode::Malformed, ""));
    assert_eq!(faults(&json!({"pattern": "(((a{100}){100}){100}){100}"})), at(FaultCode::Malformed, ""));
    assert_eq!(faults(&json!({"minimum": 9_007_199_254_740_992_u64})), at(FaultCode::TooLarge, "/minimum"));
    assert_eq!(
        faults(&json!({"$schema": "http://json-schema.org/draft-07/schema#"})),
        at(FaultCode::Malformed, "/$schema")
    );
    assert_eq!(faults(&json!({"enum": vec!["x".repeat(40); 1000]})), at(FaultCode::TooLarge, ""));
    assert_eq!(
        faults(&json!({"typ": "object", "properties": {"a": {"minimun": 1}}})),
        [(FaultCode::UnknownField, "/properties/a/minimun".into()), (FaultCode::UnknownField, "/typ".into())]
    );
    let deep = (0..40).fold(json!({}), |inside, _| json!({"items": inside}));
    assert!(faults(&deep).iter().all(|(code, _)| *code == FaultCode::TooLarge) && !faults(&deep).is_empty());
    // Each definition twice the one before: 2^20 subschemas from a few lines.
    let mut defs = serde_json::Map::from_iter([("d0".to_string(), json!({"type": "string"}))]);
    for n in 1..20 {
        let before = json!({"$ref": format!("#/$defs/d{}", n - 1)});
        defs.insert(format!("d{n}"), json!({"allOf": [before, before]}));
    }
    assert_eq!(faults(&json!({"$ref": "#/$defs/d19", "$defs": defs})), at(FaultCode::TooLarge, ""));
    // A body and a schema that are each within bounds, and too much together.
    let wide = document(&json!({"items": {"enum": (0..3000).collect::<Vec<u32>>()}}));
    assert!(wide.check(&json!(vec![1; 100]), "").is_empty());
    assert_eq!(wide.check(&json!(vec![1; 10_000]), "/payload/body").as_slice()[0].code, FaultCode::TooLarge);
}

#[test]
fn a_comparison_that_takes_too_long_says_so() {
    let choices = |n: u32| json!({"anyOf": (0..8).map(|i| json!({"minimum": i * 100 + n, "type": "integer"})).collect::<Vec<_>>()});
    let narrow = json!({"allOf": (0..8).map(choices).collect::<Vec<_>>()});
    let wide = json!({"type": "integer", "minimum": 100_000});
    let found = between(&narrow, &wide);
    assert!(found.iter().any(|finding| !finding.certain && finding.reason.contains("too large")), "{found:?}");
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({})),
        Just(json!(true)),
        Just(json!(false)),
        prop::sample::subsequence(vec!["null", "boolean", "integer", "number", "string", "array", "object"], 1..4)
            .prop_map(|types| json!({ "type": types })),
        (-2..3i64, 0..3i64).prop_map(|(low, span)| json!({"type": "integer", "minimum": low, "maximum": low + span})),
        (-2..3i64).prop_map(|low| json!({"exclusiveMinimum": low})),
        (-2..3i64).prop_map(|high| json!({"type": "number", "exclusiveMaximum": f64::from(high as i32) + 0.5})),
        (1..4i64).prop_map(|of| json!({ "multipleOf": of })),
        (0..3u32, 0..3u32).prop_map(|(low, span)| json!({"minLength": low, "maxLength": low + span})),
        prop::sample::select(vec!["^a", "b$", "^ab$"])
            .prop_map(|pattern| json!({"type": "string", "pattern": pattern})),
        prop::collection::vec(value(), 1..4).prop_map(|values| json!({ "enum": values })),
        value().prop_map(|value| json!({ "const": value })),
    ]
}

/// Scalars of few, so that documents often meet what schemas say.
fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|b| json!(b)),
        (-3..7i64).prop_map(|n| json!(n)),
        prop::sample::select(vec![-0.5, 0.5, 1.0, 2.5]).prop_map(|n| json!(n)),
        prop::sample::select(vec!["", "a", "b", "ab", "aab"]).prop_map(|s| json!(s)),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(2, 8, 3, |inside| {
        prop_oneof![
            prop::collection::vec(inside.clone(), 0..4).prop_map(|items| json!(items)),
            prop::collection::btree_map("[abc]", inside, 0..4).prop_map(|fields| json!(fields)),
        ]
    })
}

fn schema() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(3, 24, 4, |inside| {
        let list = (prop::collection::vec(inside.clone(), 0..3), inside.clone(), 0..3u32, any::<bool>());
        let object = (
            prop::collection::btree_map("[abc]", inside.clone(), 0..3),
            prop::option::of(inside.clone()),
            prop::sample::subsequence(vec!["a", "b", "c"], 0..3),
            0..3u32,
        );
        prop_oneof![
            list.prop_map(|(prefix, items, size, unique)| {
                let mut schema = json!({"type": "array", "items": items, "maxItems": size + 1, "uniqueItems": unique});
                if !prefix.is_empty() {
                    schema["prefixItems"] = json!(prefix);
                }
                schema
            }),
            object.prop_map(|(fields, others, required, least)| {
                let mut schema = json!({"properties": fields, "required": required, "minProperties": least});
                if let Some(others) = others {
                    schema["additionalProperties"] = others;
                }
                schema
            }),
            prop::collection::vec(inside.clone(), 1..3).prop_map(|all| json!({ "allOf": all })),
            prop::collection::vec(inside.clone(), 1..4).prop_map(|any| json!({ "anyOf": any })),
            prop::collection::vec(inside.clone(), 1..3).prop_map(|one| json!({ "oneOf": one })),
            (inside.clone(), inside).prop_map(|(one, not)| json!({"allOf": [one], "not": not})),
        ]
    })
}

/// A schema that is like another but for one keyword somewhere.
fn changed(schema: &Value, at: usize, with: &Value) -> Value {
    fn walk(schema: &Value, left: &mut usize, with: &Value) -> Value {
        if *left == 0 {
            *left = usize::MAX;
            return match (schema, with) {
                (Value::Object(a), Value::Object(b)) => Value::Object(a.clone().into_iter().chain(b.clone()).collect()),
                _ => with.clone(),
            };
        }
        *left = left.saturating_sub(1);
        match schema {
            Value::Object(members) => {
                let changed = members.iter().map(|(name, inside)| {
                    let inside = match name.as_str() {
                        "items" | "additionalProperties" | "not" => walk(inside, left, with),
                        "allOf" | "anyOf" | "oneOf" | "prefixItems" => {
                            json!(inside.as_array().unwrap().iter().map(|i| walk(i, left, with)).collect::<Vec<_>>())
                        }
                        "properties" => inside
                            .as_object()
                            .unwrap()
                            .iter()
                            .map(|(name, inside)| (name.clone(), walk(inside, left, with)))
                            .collect(),
                        _ => inside.clone(),
                    };
                    (name.clone(), inside)
                });
                Value::Object(changed.collect())
            }
            other => other.clone(),
        }
    }
    walk(schema, &mut at.clone(), with)
}

fn wrapped(schema: Value) -> Value {
    if schema.is_object() { schema } else { json!({ "allOf": [schema] }) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_called_compatible_takes_every_document(
        old in schema(), with in leaf(), at in 0..6usize, other in schema(), near in any::<bool>(),
        bodies in prop::collection::vec(value(), 24)
    ) {
        let new = if near { changed(&old, at, &with) } else { other };
        let (old, new) = (document(&wrapped(old)), document(&wrapped(new)));
        for (narrow, wide) in [(&old, &new), (&new, &old)] {
            if beyond(narrow, wide, &mut usize::MAX.clone()).is_empty() {
                for body in &bodies {
                    prop_assert!(!narrow.allows(body) || wide.allows(body), "{body}: {} within {}", narrow.source(), wide.source());
                }
            }
        }
    }

    #[test]
    fn every_schema_is_compatible_with_itself(schema in schema()) {
        let document = document(&wrapped(schema));
        prop_assert_eq!(beyond(&document, &document, &mut usize::MAX.clone()), []);
    }

    #[test]
    fn whatever_is_registered_is_a_document_or_faults(text in "\\PC{0,40}", value in value(), with in leaf()) {
        for schema in [json!({ text.clone(): value }), json!({"properties": {text: with}}), value] {
            if let Err(faults) = Document::read(&schema, "/schema") {
                prop_assert!(!faults.is_empty() && faults.as_slice().iter().all(|f| f.path.starts_with("/schema")));
            }
        }
    }
}

/// A good part of what is compared in the law above is called compatible: the law is not about nothing.
#[test]
fn the_comparison_finds_many_pairs_compatible() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut compatible, mut useful) = (0, 0);
    for _ in 0..200 {
        let (old, with, at, body) = (schema(), leaf(), 0..6usize, value()).new_tree(&mut runner).unwrap().current();
        let (old, new) = (document(&wrapped(old.clone())), document(&wrapped(changed(&old, at, &with))));
        if beyond(&old, &new, &mut usize::MAX.clone()).is_empty() {
            compatible += 1;
            useful += usize::from(old.allows(&body));
        }
    }
    assert!(compatible > 60 && useful > 10, "{compatible} compatible, of which {useful} take the body");
}

fn registration(author: u8, at: u64, version: u32, mode: Compatibility, schema: &Value) -> Registration {
    Registration {
        message: MessageId::new(Stamp::new(1_700_000_000_000 + at, 0), u64::from(author)),
        author: NodeId([author; 32]),
        incarnation: Incarnation(1),
        sequence: at,
        arrived: WallMs(7),
        said: SchemaRegistration {
            subject: "acme.orders".into(),
            version,
            compatibility: mode,
            schema: Json::from(schema),
        },
    }
}

fn standing(subject: &Subject) -> Vec<(u32, MessageId)> {
    (1..).zip(subject.versions().iter().map(|version| version.registration.message)).collect()
}

fn first_paths(subject: &Subject) -> Vec<&str> {
    subject.passed().iter().map(|passed| passed.faults.as_slice()[0].path.as_str()).collect()
}

#[test]
fn the_first_author_owns_a_subject_and_versions_follow_one_another() {
    let (any, narrow) = (json!({"type": "object"}), json!({"type": "object", "required": ["id"]}));
    let said = vec![
        registration(1, 0, 2, Compatibility::None, &any),
        registration(1, 1, 1, Compatibility::Backward, &any),
        registration(2, 2, 2, Compatibility::None, &any),
        registration(1, 3, 2, Compatibility::None, &narrow),
        registration(1, 4, 2, Compatibility::None, &any),
        registration(1, 5, 2, Compatibility::None, &any),
        registration(1, 6, 3, Compatibility::Full, &narrow),
    ];
    let subject = Subject::fold("acme.orders", said.clone());
    assert_eq!(subject.owner(), Some(NodeId([1; 32])));
    assert_eq!(standing(&subject), [(1, said[1].message), (2, said[4].message), (3, said[6].message)]);
    assert_eq!(
        first_paths(&subject),
        ["/payload/version", "/payload/subject", "/payload/schema/required", "/payload/version"]
    );
    assert_eq!(subject.compatibility(), Compatibility::Full);
    let body = |version, body: &str| subject.check(version, "application/json", body.as_bytes());
    assert!(body(1, "{}").is_empty());
    assert_eq!(body(3, "{}").as_slice()[0].path, "/payload/body/id");
    assert_eq!(body(9, "{}").as_slice()[0].path, "/payload/schema_version");
    assert_eq!(body(1, "nothing").as_slice()[0].code, FaultCode::Malformed);
    assert_eq!(subject.check(1, "text/plain", b"{}").as_slice()[0].path, "/payload/content_type");
    assert!(subject.check(1, "application/vnd.acme+json; charset=utf-8", b"{}").is_empty());
}

#[test]
fn a_subject_under_a_nodes_id_is_that_nodes_own() {
    let (own, other) = (NodeId([1; 32]), NodeId([2; 32]));
    let subject = Subject::fold(&format!("{own}.orders"), Vec::new());
    assert!(subject.admit(own, 1, &json!({})).is_ok());
    assert_eq!(subject.admit(other, 1, &json!({})).unwrap_err().as_slice()[0].code, FaultCode::NotAuthorised);
    // Every fault at once: who, which, what.
    let all: Faults = subject.admit(other, 2, &json!({"typ": 1})).unwrap_err();
    assert_eq!(
        all.as_slice().iter().map(|f| f.path.as_str()).collect::<Vec<_>>(),
        ["/payload/subject", "/payload/version", "/payload/schema/typ"]
    );
}

#[test]
fn transitive_modes_look_at_every_version() {
    let low = |n: u32| json!({"type": "integer", "minimum": n});
    let (none, transitive) = (Compatibility::None, Compatibility::BackwardTransitive);
    let subject = Subject::fold(
        "acme.orders",
        vec![registration(1, 0, 1, none, &low(0)), registration(1, 1, 2, transitive, &low(5))],
    );
    let conflicts = |mode, n| subject.conflicts(mode, &document(&low(n))).iter().map(|c| c.version).collect::<Vec<_>>();
    assert_eq!(conflicts(Compatibility::Backward, 4), Vec::<u32>::new());
    assert_eq!(conflicts(transitive, 4), [1]);
    assert_eq!(conflicts(Compatibility::Forward, 4), [2]);
    assert_eq!(conflicts(Compatibility::FullTransitive, 9), [2, 1]);
    assert!(conflicts(none, 9).is_empty());
}

fn kept(order: &[Registration], cut: Option<(NodeId, u64)>) -> (Memory, Rows) {
    let mut store = Memory::default();
    let mut rows = Rows::load(&store);
    for one in order {
        let mut batch = Batch::default();
        rows.keep(one, &mut Txn::new(&store, &mut batch));
        store.commit(batch);
    }
    if let Some((author, from)) = cut {
        let mut batch = Batch::default();
        rows.cut(author, Incarnation(1), from, &mut Txn::new(&store, &mut batch));
        store.commit(batch);
    }
    (store, rows)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nodes_that_have_the_same_messages_have_the_same_registry(
        said in prop::collection::vec((1..4u8, 0..12u64, 1..4u32, 0..7usize, schema()), 1..10),
        seed in any::<u64>()
    ) {
        let said: Vec<Registration> = said
            .into_iter()
            .map(|(author, at, version, mode, schema)| {
                registration(author, at, version, Compatibility::ALL[mode], &wrapped(schema))
            })
            .collect();
        // What one author said at one time it said once.
        let mut once: std::collections::BTreeMap<MessageId, Registration> = Default::default();
        for one in &said {
            once.entry(one.message).or_insert(one.clone());
        }
        let forward: Vec<Registration> = once.into_values().collect();
        let mut mixed = forward.clone();
        let mut state = seed;
        for i in (1..mixed.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            mixed.swap(i, (state >> 33) as usize % (i + 1));
        }
        let of = |order: &[Registration]| {
            let (store, _) = kept(order, None);
            Subject::load("acme.orders", &store)
        };
        let (one, other) = (of(&forward), of(&mixed));
        prop_assert_eq!(standing(&one), standing(&other));
        prop_assert_eq!(first_paths(&one), first_paths(&other));
    }
}

/// The registrations of a subject as rows have them.
fn found(subject: &str, store: &Memory) -> Vec<Registration> {
    let mut all = Vec::new();
    registrations(subject, store, &mut |registration| all.push(registration));
    all
}

#[test]
fn however_many_strangers_speak_before_the_owner_it_keeps_its_subject() {
    let own = registration(9, 1_000_000, 1, Compatibility::None, &json!({"type": "object"}));
    let mine = format!("{}.orders", own.author);
    for subject in ["acme.orders", mine.as_str()] {
        let of = |r: Registration| Registration { said: SchemaRegistration { subject: subject.into(), ..r.said }, ..r };
        // Out of turn, and earlier than anything the owner can say.
        let strangers = (0..20 * AUTHOR_SCHEMAS as u64)
            .map(|at| of(registration(10 + (at % 20) as u8, at, 2, Compatibility::None, &json!({}))));
        let said: Vec<Registration> = strangers.chain([of(own.clone())]).collect();
        let subject = Subject::load(subject, &kept(&said, None).0);
        assert_eq!((subject.latest(), subject.owner()), (1, Some(own.author)));
        assert!(subject.passed().len() < said.len() / 2, "not all of them are remembered");
    }
}

#[test]
fn of_one_author_the_earliest_are_kept_and_what_was_cut_is_gone() {
    let any = json!({});
    let many: Vec<Registration> = (0..AUTHOR_SCHEMAS as u64 + 9)
        .map(|at| Registration {
            said: SchemaRegistration {
                subject: format!("s{}", at % 3),
                ..registration(1, at, 1, Compatibility::None, &any).said
            },
            ..registration(1, at, 1, Compatibility::None, &any)
        })
        .collect();
    let backward: Vec<Registration> = many.iter().rev().cloned().collect();
    let all =
        |store: &Memory| ["s0", "s1", "s2"].map(|s| found(s, store).iter().map(|r| r.message).collect::<Vec<_>>());
    let ((one, rows), (other, _)) = (kept(&many, None), kept(&backward, None));
    assert_eq!(all(&one), all(&other));
    assert_eq!(all(&one).iter().map(Vec::len).sum::<usize>(), AUTHOR_SCHEMAS);
    assert_eq!(format!("{rows:?}"), format!("{:?}", Rows::load(&one)));
    assert_eq!(subjects(None, 9, &one), ["s0", "s1", "s2"]);
    assert_eq!(subjects(Some("s0"), 1, &one), ["s1"]);
    let (cut, rows) = kept(&many[..30], Some((NodeId([1; 32]), 10)));
    assert_eq!(all(&cut).iter().map(Vec::len).sum::<usize>(), 10);
    assert_eq!(format!("{rows:?}"), format!("{:?}", Rows::load(&cut)));
    assert!(revision("s0", &cut) > revision("s0", &kept(&many[..30], None).0));
    assert_eq!(revision("nobody", &cut), None);
}

#[test]
fn a_row_keeps_its_bytes() {
    let one = registration(1, 5, 1, Compatibility::Full, &json!({"type": "object"}));
    let (store, _) = kept(std::slice::from_ref(&one), None);
    assert_eq!(found("acme.orders", &store), [one]);
    let start = crate::types::storage::Key::new(crate::types::storage::Table::Schema, &[]);
    let mut rows = Vec::new();
    crate::types::storage::View::scan(&store, &start, &start.after_prefix(), &mut |key, row| {
        rows.push(format!("{} {}", hex::encode(key), hex::encode(row)));
        std::ops::ControlFlow::Continue(())
    });
    assert_eq!(
        rows,
        [
            "1061636d652e6f726465727300 0000000000000001",
            "1061636d652e6f726465727300018bcfe5680570008000000000000001 01\
             0101010101010101010101010101010101010101010101010101010101010101010507\
             200b61636d652e6f72646572730103117b2274797065223a226f626a656374227d"
        ]
    );
}
