//! What a bundle of evidence says that no machine can know: under which licence it may be used, and who its authors
//! are.
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};
use std::fmt;

/// The `evidence` section: what bundles of the run say beside what is recorded of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// Under which licence the bundle may be used: an SPDX identifier such as `CC-BY-4.0`, the address of a licence on
    /// the web, or a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<License>,
    /// Who answers for the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authors: Vec<Author>,
}

impl About {
    /// With what was given on the command line, which counts in place of what is configured.
    #[must_use]
    pub fn with(mut self, license: Option<License>, authors: &[Author]) -> Self {
        self.license = license.or(self.license);
        if !authors.is_empty() {
            self.authors = authors.to_vec();
        }
        self
    }

    /// What those who find the bundle will miss, each as the end of a sentence.
    pub fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        if self.license.is_none() {
            missing.push("a licence".to_owned());
        }
        if self.authors.is_empty() {
            missing.push("an author".to_owned());
        }
        for author in &self.authors {
            let of = |what: &str| format!("{what} of {}", author.name.0);
            missing.extend(author.orcid.is_none().then(|| of("the ORCID")));
            match (&author.affiliation, &author.affiliation_url) {
                (None, _) => missing.push(of("the affiliation")),
                (Some(_), None) => missing.push(of("the address of the affiliation")),
                (Some(_), Some(_)) => {}
            }
        }
        missing
    }
}

/// Somebody who answers for a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Author {
    /// The name.
    pub name: Words,
    /// The ORCID, such as `0000-0002-1825-0097`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orcid: Option<Orcid>,
    /// The name of the institution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affiliation: Option<Words>,
    /// The address of the institution on the web: best its ROR, such as `https://ror.org/03wnrjx87`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affiliation_url: Option<Address>,
    /// The name under which the author works on this machine: what this user did is then said to be the author's doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Words>,
}

impl Author {
    /// Reads what stands behind `--author`: a name, and behind semicolons an ORCID, an affiliation and its address.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.split(';').map(str::trim);
        let name = Words::new(parts.next().unwrap_or_default())?;
        let mut author = Self { name, orcid: None, affiliation: None, affiliation_url: None, user: None };
        for part in parts.filter(|part| !part.is_empty()) {
            let twice = if Orcid::is_meant(part) {
                author.orcid.replace(Orcid::new(part)?).is_some()
            } else if Address::is_meant(part) {
                author.affiliation_url.replace(Address::new(part)?).is_some()
            } else {
                author.affiliation.replace(Words::new(part)?).is_some()
            };
            if twice {
                return Err(format!(
                    "has `{part}` too much: it is a name; an ORCID; an affiliation; its address, and each once"
                ));
            }
        }
        Ok(author)
    }
}

/// Reads the texts of a type through its `new`, so that what is wrong is told where it stands.
macro_rules! checked {
    ($name:ident, $new:path, $doc:literal) => {
        #[doc = $doc]
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(String);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $new(&String::deserialize(deserializer)?).map_err(de::Error::custom)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

checked!(Words, Words::new, "One line of text that is not empty.");
checked!(Orcid, Orcid::new, "The sixteen digits of an ORCID, in four groups.");
checked!(Address, Address::new, "An address on the web.");
checked!(License, License::new, "A licence: an SPDX identifier, an address on the web, or a sentence.");

impl Words {
    fn new(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("expected a text, and it is empty".to_owned());
        }
        if text.chars().any(char::is_control) {
            return Err(format!("expected one line of text, not `{}`", text.escape_debug()));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Orcid {
    /// How addresses of ORCIDs begin.
    const BEFORE: &str = "https://orcid.org/";

    fn digits(text: &str) -> &str {
        let text = text.trim();
        let text = ["https://", "http://"].iter().find_map(|before| text.strip_prefix(before)).unwrap_or(text);
        text.strip_prefix("orcid.org/").unwrap_or(text)
    }

    /// Whether a text can only be meant as an ORCID.
    fn is_meant(text: &str) -> bool {
        text.contains("orcid.org/")
            || text.len() == 19 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'X' | b'x'))
    }

    fn new(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected an ORCID such as `0000-0002-1825-0097`, not `{}`", text.escape_debug());
        let digits = Self::digits(text).to_ascii_uppercase();
        let groups: Vec<&str> = digits.split('-').collect();
        if groups.len() != 4 || groups.iter().any(|group| group.len() != 4) {
            return Err(wrong());
        }
        let (numbers, check) = digits.split_at(18);
        let mut sum = 0;
        for digit in numbers.chars().filter(|c| *c != '-') {
            sum = (sum + digit.to_digit(10).ok_or_else(wrong)?) * 2;
        }
        // ISO 7064, MOD 11-2: a slip of the pen would name somebody else
        let due = (12 - sum % 11) % 11;
        let has = if check == "X" { Some(10) } else { check.parse().ok() };
        if has != Some(due) {
            return Err(format!("is `{digits}`, which is no ORCID: its last digit does not fit the others"));
        }
        Ok(Self(digits))
    }

    /// Its address on the web.
    pub fn address(&self) -> String {
        format!("{}{}", Self::BEFORE, self.0)
    }
}

impl Address {
    fn is_meant(text: &str) -> bool {
        text.contains("://")
    }

    fn new(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let rest = ["https://", "http://"].iter().find_map(|before| text.strip_prefix(before)).unwrap_or_default();
        let unfit = |c: char| !c.is_ascii_graphic() || "<>\"{}|\\^`".contains(c);
        if rest.is_empty() || rest.starts_with('/') || rest.contains(unfit) {
            let shown = text.escape_debug();
            return Err(format!("expected an address such as `https://example.org`, not `{shown}`"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Licences by their SPDX identifiers, and what they are called.
const NAMED: &[(&str, &str)] = &[
    ("Apache-2.0", "Apache License 2.0"),
    ("BSD-3-Clause", "BSD 3-Clause \"New\" or \"Revised\" License"),
    ("CC-BY-4.0", "Creative Commons Attribution 4.0 International"),
    ("CC-BY-NC-4.0", "Creative Commons Attribution Non Commercial 4.0 International"),
    ("CC-BY-SA-4.0", "Creative Commons Attribution Share Alike 4.0 International"),
    ("CC0-1.0", "Creative Commons Zero v1.0 Universal"),
    ("GPL-3.0-or-later", "GNU General Public License v3.0 or later"),
    ("MIT", "MIT License"),
    ("ODbL-1.0", "Open Data Commons Open Database License v1.0"),
    ("PDDL-1.0", "Open Data Commons Public Domain Dedication & License 1.0"),
];

impl License {
    /// Reads a licence.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub fn new(text: &str) -> Result<Self, String> {
        let Words(text) = Words::new(text)?;
        if Address::is_meant(&text) && !text.contains(' ') {
            return Address::new(&text).map(|address| Self(address.0));
        }
        let named = NAMED.iter().find(|(id, _)| id.eq_ignore_ascii_case(&text));
        Ok(Self(named.map_or(text, |(id, _)| (*id).to_owned())))
    }

    /// Its address on the web, if it has one.
    pub fn address(&self) -> Option<String> {
        let of_id = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+');
        if Address::new(&self.0).is_ok() {
            return Some(self.0.clone());
        }
        let id = self.0.chars().all(of_id) && self.0.contains(|c: char| c.is_ascii_alphanumeric());
        id.then(|| format!("https://spdx.org/licenses/{}", self.0))
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        NAMED.iter().find(|(id, _)| *id == self.0).map_or(&self.0, |(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::{About, Address, Author, License, Orcid};

    #[test]
    fn an_orcid_is_one_in_every_spelling_and_no_slip_of_the_pen() {
        for text in ["0000-0002-1825-0097", "https://orcid.org/0000-0002-1825-0097", "orcid.org/0000-0002-1825-0097"] {
            assert_eq!(Orcid::new(text).expect(text).address(), "https://orcid.org/0000-0002-1825-0097");
        }
        assert_eq!(Orcid::new("0000-0002-1694-233x").expect("with an X").to_string(), "0000-0002-1694-233X");
        for text in [
            "",
            "0000-0002-1825-0098",
            "0000-0002-1825-009",
            "0000000218250097",
            "0000-0002-18é5-007",
            "X000-0002-1825-0097",
        ] {
            assert!(Orcid::new(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_licence_has_an_address_where_it_can_have_one() {
        for (text, address, name) in [
            (
                "cc-by-4.0",
                Some("https://spdx.org/licenses/CC-BY-4.0"),
                "Creative Commons Attribution 4.0 International",
            ),
            ("EUPL-1.2", Some("https://spdx.org/licenses/EUPL-1.2"), "EUPL-1.2"),
            ("https://example.org/terms", Some("https://example.org/terms"), "https://example.org/terms"),
            ("All rights reserved", None, "All rights reserved"),
            ("see https://example.org for terms", None, "see https://example.org for terms"),
        ] {
            let license = License::new(text).expect(text);
            assert_eq!((license.address().as_deref(), license.name()), (address, name));
        }
        for text in ["", " ", "a\nb", "ftp://example.org", "https://", "https://a\"b"] {
            assert!(License::new(text).is_err(), "{text:?}");
        }
        assert!(Address::new("https://ror.org/03wnrjx87").is_ok() && Address::new("ror.org").is_err());
    }

    #[test]
    fn an_author_is_read_from_one_line_and_what_is_missing_is_told() {
        let line = "Ada Lovelace; 0000-0002-1825-0097; Royal Society; https://ror.org/03wnrjx87";
        let author = Author::parse(line).expect("an author");
        assert_eq!(author.orcid.as_ref().map(Orcid::address).as_deref(), Some("https://orcid.org/0000-0002-1825-0097"));
        assert_eq!(author.affiliation.as_ref().map(|name| name.as_str()), Some("Royal Society"));
        assert_eq!(author.affiliation_url.as_ref().map(Address::as_str), Some("https://ror.org/03wnrjx87"));
        let about = About::default().with(License::new("MIT").ok(), &[author]);
        assert_eq!(about.missing(), Vec::<String>::new());
        let about = about.with(None, &[Author::parse("Bo;;Lab").expect("an author")]);
        assert_eq!(about.missing(), ["the ORCID of Bo", "the address of the affiliation of Bo"]);
        assert_eq!(About::default().missing(), ["a licence", "an author"]);
        for line in ["", ";", "Ada; 0000-0002-1825-0098", "Ada; Lab; Other lab", "Ada; http://"] {
            assert!(Author::parse(line).is_err(), "{line}");
        }
    }
}
