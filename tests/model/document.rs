//! Canonical JSON, and what has no canonical form.
use matterstack::model::document::{canonical, check};

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
fn what_readers_would_change_without_a_word_is_refused() {
    let refused = |text: &str, words: &str| {
        let (one, two) = (canonical(text).unwrap_err().to_string(), check(text).unwrap_err().to_string());
        assert_eq!(one, two);
        assert!(one.contains(words), "{text}: {one}");
    };
    refused("9007199254740992", "beyond 9007199254740991");
    refused("{\"n\":[-9007199254740993]}", "beyond");
    refused("18446744073709551616", "beyond");
    refused(&format!("[1{}]", "0".repeat(60)), "beyond");
    refused("1e999", "out of range");
    refused("{\"a\":1,}", "trailing comma");
    refused("[1] 2", "trailing characters");
    refused("", "EOF");
    refused("NaN", "expected");
    refused(&("[".repeat(200) + &"]".repeat(200)), "recursion limit");
}
