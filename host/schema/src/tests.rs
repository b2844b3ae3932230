//! One table for each side: what a schema says of answers, and which schemas are refused.
use super::Schema;
use serde_json::{Value, json};

/// Values that a schema accepts, and values that it refuses.
fn check(schema: &Value, good: &[Value], bad: &[Value]) {
    let judged = Schema::new(schema).unwrap_or_else(|why| panic!("{schema}: {why}"));
    for value in good {
        assert_eq!(judged.mistakes(value, 9), [], "{schema} should accept {value}");
    }
    for value in bad {
        assert_ne!(judged.mistakes(value, 9), [], "{schema} should refuse {value}");
    }
}

#[test]
fn what_each_keyword_asks_for() {
    let all = [json!(null), json!(true), json!(1), json!(1.5), json!("a"), json!([1]), json!({"a": 1})];
    check(&json!(true), &all, &[]);
    check(&json!(false), &[], &all);
    check(&json!({}), &all, &[]);
    check(&json!({"type": "integer"}), &[json!(3), json!(3.0), json!(-1)], &[json!(3.5), json!("3"), json!(true)]);
    check(&json!({"type": ["null", "string"]}), &[json!(null), json!("")], &[json!(0), json!([])]);
    check(
        &json!({"enum": [1, "a", {"b": 2.0}]}),
        &[json!(1.0), json!({"b": 2})],
        &[json!("b"), json!({"b": 2, "c": 1})],
    );
    check(&json!({"const": null}), &[json!(null)], &[json!(false), json!(0)]);
    check(&json!({"minimum": 1, "maximum": 5}), &[json!(1), json!(5.0), json!("x")], &[json!(0.99), json!(5.01)]);
    check(&json!({"exclusiveMinimum": 1, "exclusiveMaximum": 2}), &[json!(1.5)], &[json!(1), json!(2)]);
    check(
        &json!({"maximum": 9_007_199_254_740_992_i64}),
        &[json!(9_007_199_254_740_992_i64)],
        &[json!(9_007_199_254_740_993_i64)],
    );
    check(&json!({"multipleOf": 0.1}), &[json!(0.3), json!(7)], &[json!(0.35)]);
    check(
        &json!({"minLength": 2, "maxLength": 3}),
        &[json!("äö"), json!("abc"), json!(1)],
        &[json!("ä"), json!("abcd")],
    );
    check(&json!({"pattern": "^a\\d+$"}), &[json!("a12"), json!(3)], &[json!("a"), json!("ba1")]);
    check(&json!({"format": "date"}), &[json!("tomorrow")], &[]);
}

#[test]
fn lists_and_objects() {
    check(&json!({"items": {"type": "string"}}), &[json!([]), json!(["a"])], &[json!(["a", 1])]);
    let tuple = json!({"prefixItems": [{"type": "string"}, true], "items": {"type": "number"}});
    check(&tuple, &[json!(["a"]), json!(["a", null, 1])], &[json!([1]), json!(["a", null, "b"])]);
    check(&json!({"minItems": 1, "maxItems": 2}), &[json!([1])], &[json!([]), json!([1, 2, 3])]);
    check(&json!({"uniqueItems": true}), &[json!([1, "1", [1]])], &[json!([1, 1.0]), json!([[1], [1]])]);
    check(&json!({"contains": {"const": 1}}), &[json!([2, 1])], &[json!([]), json!([2])]);
    let some = json!({"contains": {"const": 1}, "minContains": 2, "maxContains": 3});
    check(&some, &[json!([1, 1])], &[json!([1]), json!([1, 1, 1, 1])]);
    let object = json!({
        "properties": {"a": {"type": "number"}}, "patternProperties": {"^x-": {"type": "string"}},
        "additionalProperties": false, "required": ["a"],
    });
    check(
        &object,
        &[json!({"a": 1, "x-b": "c"}), json!([])],
        &[json!({}), json!({"a": 1, "b": 2}), json!({"a": 1, "x-b": 2})],
    );
    check(&json!({"additionalProperties": {"type": "null"}}), &[json!({"a": null})], &[json!({"a": 1})]);
    check(&json!({"minProperties": 1, "maxProperties": 1}), &[json!({"a": 1})], &[json!({}), json!({"a": 1, "b": 1})]);
    check(&json!({"propertyNames": {"maxLength": 1}}), &[json!({"a": 1})], &[json!({"ab": 1})]);
    check(&json!({"dependentRequired": {"a": ["b"]}}), &[json!({"b": 1}), json!({"a": 1, "b": 1})], &[json!({"a": 1})]);
    let dependent = json!({"dependentSchemas": {"a": {"maxProperties": 1}}});
    check(&dependent, &[json!({"a": 1}), json!({"b": 1, "c": 1})], &[json!({"a": 1, "b": 1})]);
}

#[test]
fn schemas_of_schemas() {
    check(&json!({"allOf": [{"minimum": 1}, {"maximum": 2}]}), &[json!(1)], &[json!(0), json!(3)]);
    check(&json!({"anyOf": [{"const": 1}, {"minimum": 5}]}), &[json!(1), json!(6)], &[json!(2)]);
    check(&json!({"oneOf": [{"minimum": 1}, {"maximum": 3}]}), &[json!(0), json!(4)], &[json!(2)]);
    check(&json!({"not": {"type": "string"}}), &[json!(1)], &[json!("a")]);
    let either = json!({"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": {"required": ["c"]}});
    check(&either, &[json!({"a": 1, "b": 1}), json!({"c": 1})], &[json!({"a": 1}), json!({"b": 1})]);
    let tree = json!({
        "$defs": {"a node": {"properties": {"left": {"$ref": "#/$defs/a%20node"}, "n": {"type": "number"}}}},
        "$ref": "#/$defs/a%20node",
    });
    check(&tree, &[json!({"left": {"left": {"n": 1}}})], &[json!({"left": {"left": {"n": "1"}}})]);
    // what no keyword names is a schema where a reference says so
    let shared = json!({"$ref": "#/shared/name", "shared": {"name": {"pattern": "^a+$"}}});
    check(&shared, &[json!("aa")], &[json!("b")]);
    check(&json!({"$ref": "#"}), &[], &[json!(1)]);
    check(&json!({"anyOf": [{"$ref": "#"}]}), &[], &[json!(1)]);
}

#[test]
fn mistakes_say_where_and_are_bounded() {
    let schema = json!({"type": "object", "properties": {"a/b": {"items": {"maximum": 5}}}, "required": ["c"]});
    let judged = Schema::new(&schema).expect("a schema");
    let mistakes = judged.mistakes(&json!({"a/b": [1, 9]}), 9);
    let shown: Vec<String> = mistakes.iter().map(|mistake| format!("{}: {}", mistake.place, mistake.text)).collect();
    assert_eq!(shown, [": `c` is missing", "/a~1b/1: 9 is more than 5"]);
    let many = json!({"a/b": (6..1_000).collect::<Vec<_>>()});
    assert_eq!(judged.mistakes(&many, 5).len(), 5);
    let long = Schema::new(&json!(false)).map(|schema| schema.mistakes(&json!("x".repeat(10_000)), 1));
    assert!(long.expect("a schema")[0].text.len() < 1_000);
    let typed = json!({"type": "number"});
    let typed = Schema::new(&typed).expect("a schema").mistakes(&json!("x".repeat(10_000)), 1);
    assert!(typed[0].text.len() < 1_000, "{}", typed[0].text);
}

#[test]
fn a_schema_that_no_answer_could_be_judged_by_is_refused_with_its_place() {
    for (schema, word) in [
        (json!("string"), "a schema is an object"),
        (json!({"type": "nothing"}), "at `/type`"),
        (json!({"properties": {"a": {"type": []}}}), "at `/properties/a/type`"),
        (json!({"properties": {"a": 3}}), "at `/properties/a`"),
        (json!({"minimum": "1"}), "a number"),
        (json!({"multipleOf": 0}), "positive"),
        (json!({"minLength": -1}), "not negative"),
        (json!({"maxItems": 1.5}), "whole number"),
        (json!({"required": "a"}), "list of names"),
        (json!({"anyOf": []}), "a list of schemas"),
        (json!({"exclusiveMinimum": true}), "a number"),
        (json!({"uniqueItems": 1}), "true or false"),
        (json!({"pattern": "("}), "at `/pattern`"),
        (json!({"patternProperties": {"(": true}}), "patternProperties"),
        (json!({"$ref": "http://127.0.0.1:1/x.json"}), "nothing is fetched"),
        (json!({"$ref": "#/$defs/none"}), "there is nothing at"),
        (json!({"$ref": "#anchor"}), "leads out"),
        (json!({"unevaluatedProperties": false}), "not supported"),
        (json!({"dependencies": {}}), "not supported"),
        (json!({"$ref": "#/shared/x", "shared": {"x": {"unevaluatedItems": false}}}), "not supported"),
    ] {
        let why = Schema::new(&schema).expect_err(&schema.to_string());
        assert!(why.contains(word), "{schema}: {why}");
    }
    let mut deep = json!(true);
    for _ in 0..200 {
        deep = json!({"not": deep});
    }
    assert!(Schema::new(&deep).expect_err("too deep").contains("in one another"));
}

#[test]
fn no_schema_takes_more_work_than_is_allowed() {
    let doubling = json!({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]});
    let unique = json!({"uniqueItems": true});
    let many = json!((0..100_000).collect::<Vec<_>>());
    for (schema, answer) in [(&doubling, &json!(1)), (&unique, &many)] {
        let mistakes = Schema::new(schema).expect("a schema").mistakes(answer, 5);
        assert!(mistakes.len() == 1 && mistakes[0].text.contains("more work"), "{schema}: {mistakes:?}");
    }
}

#[test]
fn the_keywords_can_be_searched() {
    assert!(super::KEYWORDS.is_sorted_by_key(|(name, _)| *name));
}
