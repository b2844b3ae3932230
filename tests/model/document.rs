//! Canonical JSON, and what has no canonical form.
use matterstack::model::document::{Dialect, Place, canonical, check, line_of, read};
use serde_json::{Value, json};

#[test]
fn documents_have_one_form() {
    let same = |text: &str, expected: &str| assert_eq!(canonical(text).unwrap(), expected, "{text}");
    same("{ \"b\" : 1 , \"a\" : [ 1.50 , true , null ] }", "{\"a\":[1.5,true,null],\"b\":1}");
    same("\"\\u00e9\\/\"", "\"é/\"");
    same("1e2", "100");
    same("-0", "0");
    same("9007199254740991", "9007199254740991");
    same("-9007199254740991", "-9007199254740991");
    same("1e300", "1e+300");
    same("{\"9007199254740993\":\"18446744073709551616\"}", "{\"9007199254740993\":\"18446744073709551616\"}");
    same("[\"a\\\\\",12]", "[\"a\\\\\",12]");
}

#[test]
fn a_whole_double_crosses_whatever_writes_it() {
    for (text, canonical_text) in [
        ("150000000000000000", "150000000000000000"),
        ("1.5e17", "150000000000000000"),
        ("150000000000000000.0", "150000000000000000"),
        ("-9007199254740992", "-9007199254740992"),
        ("1764140000000000000", "1764140000000000000"),
        ("9223372036854776000", "9223372036854776000"),
        ("18446744073709552000", "18446744073709552000"),
        ("100000000000000000000", "100000000000000000000"),
        ("1e20", "100000000000000000000"),
        ("1e21", "1e+21"),
        ("0.1", "0.1"),
    ] {
        let once = canonical(text).unwrap();
        assert_eq!(once, canonical_text, "{text}");
        assert_eq!(canonical(&once).unwrap(), once, "what the host writes it takes back");
    }
}

#[test]
fn what_readers_would_change_without_a_word_is_refused() {
    let refused = |text: &str, words: &str| {
        let (one, two) = (canonical(text).unwrap_err().to_string(), check(text).unwrap_err().to_string());
        assert_eq!(one, two);
        assert!(one.contains(words), "{text}: {one}");
    };
    refused("9007199254740993", "the document is 9007199254740993");
    refused("{\"n\":[0,-9007199254740993]}", "`n[1]` is -9007199254740993");
    refused("{\"a\": {\"t_ns\": 1764140000123456789}}", "`a.t_ns` is 1764140000123456789");
    refused("18446744073709551616", "beyond 2^53");
    refused("9223372036854775808", "no double holds");
    refused(&format!("[1{}]", "0".repeat(60)), "`[0]` is 1000");
    refused("1e999", "out of range");
    refused("{\"a\":{\"b\":-1e309}}", "`a.b` is -1e309");
    refused("{\"a\":1,\"b\":2,\"\\u0061\":3}", "`a` stands twice");
    refused("{\"x\":[{\"a\":1},{\"a\":1,\"a\":1}]}", "`x[1].a` stands twice");
    refused("{\n\"a\": 1,\n\"a\": 1}", "`a` stands twice, first in line 2 (line 3, column 1)");
    refused("{\"a\":1,}", "trailing comma");
    refused("[1] 2", "further text");
    refused("", "ends too early");
    refused("{\"t\": NaN}", "`t` is NaN");
    refused("[-Infinity]", "`[0]` is -Infinity");
    refused("{\"a\": yes}", "the bare word yes");
    refused("{\"a\": 01}", "`a` is 01");
    refused("{\"a\": \"\\ud83d\"}", "`a` holds \\ud83d, half of a surrogate pair");
    refused("\"\\udc00\\ud83d\"", "half of a surrogate pair");
    refused("{\"a\": \"x\r\ny\"}", "`a` holds a raw line break");
    refused("{\"a\": \"x\u{1}\"}", "raw control character \\u0001");
    refused("{\"a\" 1}", "not followed by `:`");
    refused("{a: 1}", "wants a key in double quotes");
    refused("{\"a\": [1, 2}", "`a[1]` is not followed by `,` or `]`");
    refused("// note\n1", "wants a value");
    refused(&("[".repeat(200) + &"]".repeat(200)), "deeper than 127 levels");
    assert!(read(b"\xef\xbb\xbf{}", Dialect::Strict).unwrap_err().to_string().contains("byte order mark (UTF-8)"));
    assert!(read(b"\xff\xfe{\0}\0", Dialect::Strict).unwrap_err().to_string().contains("UTF-16"));
    assert!(read(b"{\n\"a\": \"\xff\"}", Dialect::Strict).unwrap_err().to_string().contains("not UTF-8 (line 2"));
}

#[test]
fn many_keys_are_compared_in_a_moment() {
    let keys: Vec<String> = (0..200_000).map(|n| format!("\"k{n}\":0")).collect();
    assert!(check(&format!("{{{}}}", keys.join(","))).is_ok());
    let twice = check(&format!("{{{},\"k77\":1}}", keys.join(","))).unwrap_err().to_string();
    assert!(twice.contains("`k77` stands twice"), "{twice}");
}

#[test]
fn people_may_comment() {
    let text = "// a run\r\n{ /* of\nmany */ \"a\": [1, 2,], // \"b\": 3\n  \"u\": \"http://x /* y */\",\n}";
    assert_eq!(read(text.as_bytes(), Dialect::Commented).unwrap(), json!({"a": [1, 2], "u": "http://x /* y */"}));
    for (text, words) in [
        ("{\n// c\n\"a\": 1,\n\"a\": 2,\n}", "first in line 3 (line 4, column 1)"),
        ("{ /* ", "a comment that does not end"),
        ("[,]", "wants a value"),
        ("[1,,]", "wants a value"),
        ("{,}", "wants a key"),
        ("{\"a\": 1 / 2}", "begins no comment"),
    ] {
        let told = read(text.as_bytes(), Dialect::Commented).unwrap_err().to_string();
        assert!(told.contains(words), "{text}: {told}");
    }
}

#[test]
fn a_place_is_found_by_its_way() {
    let text = "{ // x\n \"a\": [0,\n {\"b\": {\"c\":\n 1}}],\n \"\\u0064\": 2}";
    let key = |key: &str| Place::Key(key.to_owned());
    let line = |place: &[Place]| line_of(text, Dialect::Commented, place);
    assert_eq!(line(&[key("a")]), Some(2));
    assert_eq!(line(&[key("a"), Place::Index(1)]), Some(3));
    assert_eq!(line(&[key("a"), Place::Index(1), key("b"), key("c")]), Some(3));
    assert_eq!(line(&[key("d")]), Some(5));
    assert_eq!(line(&[key("a"), key("b")]), None);
}

/// What the scan takes, serde takes, and with the same reading; what serde takes and the scan does not is refused for a
/// reason that serde has no eye for. Texts are documents in which bytes were exchanged, from a seed.
#[test]
fn the_scan_agrees_with_the_reader_on_damaged_texts() {
    let models = [
        r#"{"a":[1,-2.5e3,true,null,"x\u0041\ud83d\ude00\n"],"b":{"c":{},"d":[[]]},"e":0.1}"#,
        r#"[{"id":"a","n":9007199254740993,"n":1e40},[],"\ud800\udc00",-0,12345678901234567890]"#,
        "\t{\r\n \"k\" : [ ] , \"k2\":\"//\" }",
    ];
    let alphabet = b"{}[],:\"\\/0189.eE+-utfn \n\x01a\xc3\xa9";
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..200_000 {
        let mut bytes = models[random(models.len())].as_bytes().to_vec();
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            match random(3) {
                0 => bytes[at] = alphabet[random(alphabet.len())],
                1 => bytes.insert(at, alphabet[random(alphabet.len())]),
                _ => drop(bytes.drain(at..(at + 1 + random(4)).min(bytes.len()))),
            }
        }
        let ours = read(&bytes, Dialect::Strict);
        let theirs = serde_json::from_slice::<Value>(&bytes);
        match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs),
            (Ok(_), Err(error)) => panic!("taken, and serde says {error}: {}", String::from_utf8_lossy(&bytes)),
            (Err(fault), Ok(_)) => {
                let known = ["stands twice", "no double holds"].iter().any(|word| fault.to_string().contains(word));
                assert!(known, "{fault}: {}", String::from_utf8_lossy(&bytes));
            }
            (Err(_), Err(_)) => {}
        }
        taken += u32::from(ours.is_ok());
        refused += u32::from(ours.is_err());
    }
    assert!(taken > 10_000 && refused > 10_000, "{taken} taken, {refused} refused");
}
