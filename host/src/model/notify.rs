//! To whom news goes, and what an address means: rules over texts alone.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A day, in seconds.
const DAY_S: u64 = 86_400;
/// The longest address of mail, in bytes.
const ADDRESS_MAX: usize = 254;
/// The longest line of a message, in bytes, without its end; mail allows 998.
const LINE_MAX: usize = 900;

fn a_day() -> u64 {
    DAY_S
}

/// The `notify` section. Several kinds may stand together; nobody waits for any of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NotifyConfig {
    /// A program and its arguments, started on this machine once for each tick that has news, with the news as a JSON
    /// document on its standard input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// An address (`https://…`, `http://…`) to which the document is sent by POST. Its origin has to be granted in your
    /// own settings: `notify.origins`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
    /// An address of mail, to which the news is written by `sendmail`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mail: Option<String>,
    /// How long something is waited for before a person is told that it lasts, in seconds.
    #[serde(default = "a_day")]
    pub after_s: u64,
    /// Origins, such as `https://hooks.example.org`, to which runs may send news. It stands only in your own settings,
    /// since a workspace may be somebody else's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
}

/// The origin of an address: scheme, host and port. Nothing for what is no plain address of the web.
pub fn origin_of(address: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_graphic() && !"\"\\<>^`{|}".contains(c);
    if address.len() > 2_000 || !address.chars().all(plain) {
        return None;
    }
    let (scheme, rest) = address.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let usual = match scheme.as_str() {
        "http" => ":80",
        "https" => ":443",
        _ => return None,
    };
    let host = rest.split(['/', '?', '#']).next()?.to_ascii_lowercase();
    let host = host.strip_suffix(usual).unwrap_or(&host);
    let name = host.rsplit_once(':').map_or(host, |(name, port)| if is_port(port) { name } else { host });
    // who says more than a host, such as a name and a password, may mean another one than it seems
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':');
    (!name.is_empty() && name.chars().all(named)).then(|| format!("{scheme}://{host}"))
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

/// Whether a text is one address of mail, with nothing by which a header could be added or another receiver named.
pub fn is_mail_address(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+/=?^_{|}~.-".contains(c);
    let Some((name, host)) = text.rsplit_once('@') else { return false };
    let part = |part: &str| !part.is_empty() && part.chars().all(plain);
    // what begins with a dash is an option to programs of mail
    text.len() <= ADDRESS_MAX && part(name) && part(host) && !text.starts_with('-') && !host.starts_with('-')
}

/// The message that tells of news: headers that hold nothing but an address and names of ours, and a body in which
/// everything stands that others have written.
pub fn message(to: &str, document: &Value) -> String {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let subject = format!(
        "MatterStack: run {} of {} is {}",
        text(document, "run_id"),
        text(document, "workspace"),
        text(document, "state")
    );
    let plain: String =
        subject.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).take(200).collect();
    let mut body = format!("{subject}\n{} on {}\n", text(document, "directory"), text(document, "machine"));
    for news in document["news"].as_array().into_iter().flatten() {
        let of = news["task"].as_str().map_or_else(|| "the run".to_owned(), |task| format!("task `{task}`"));
        body += &format!("\n{of}: {}\n", text(news, "state"));
        for key in ["reason", "instructions", "command"] {
            let said = text(news, key);
            if !said.is_empty() {
                body += &format!("{key}: {said}\n");
            }
        }
    }
    let headers = format!(
        "To: {to}\nSubject: {plain}\nAuto-Submitted: auto-generated\nMIME-Version: 1.0\n\
         Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"
    );
    headers + &body.split('\n').map(folded).collect::<Vec<_>>().join("\n")
}

/// A line of a body in pieces that mail carries, without characters that steer a terminal.
fn folded(line: &str) -> String {
    let mut folded = String::with_capacity(line.len());
    let mut length = 0;
    for c in line.chars().filter(|c| !c.is_control() || *c == '\t') {
        if length + c.len_utf8() > LINE_MAX {
            folded.push('\n');
            length = 0;
        }
        folded.push(c);
        length += c.len_utf8();
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::{is_mail_address, message, origin_of};
    use serde_json::json;

    #[test]
    fn an_address_has_one_origin_or_is_none() {
        let cases = [
            ("https://Hooks.Example.org/T0/B1?x=1", Some("https://hooks.example.org")),
            ("https://hooks.example.org:443", Some("https://hooks.example.org")),
            ("HTTP://127.0.0.1:8080/x", Some("http://127.0.0.1:8080")),
            ("http://[::1]:9/x", Some("http://[::1]:9")),
            ("https://user:secret@example.org/", None),
            ("https://good.org@evil.org/", None),
            ("https://good.org\\@evil.org/", None),
            ("https://a.org/\r\nHost: b", None),
            ("https://a.org/ b", None),
            ("file:///etc/passwd", None),
            ("gopher://a.org", None),
            ("https://", None),
            ("https://{a,b}.org", None),
            ("hooks.example.org", None),
        ];
        for (address, origin) in cases {
            assert_eq!(origin_of(address).as_deref(), origin, "{address}");
        }
    }

    #[test]
    fn nothing_can_be_put_into_the_headers_of_a_message() {
        for (address, is) in [
            ("me@example.org", true),
            ("me+runs@host", true),
            ("me@example.org\nBcc: you@example.org", false),
            ("me@example.org, you@example.org", false),
            ("-t@example.org", false),
            ("me@-x", false),
            ("me", false),
            ("@x", false),
            ("me <me@example.org>", false),
            ("", false),
        ] {
            assert_eq!(is_mail_address(address), is, "{address}");
        }
        let said = "x\r\nBcc: you@example.org\r\n\r\n.\r\n".to_owned() + &"y".repeat(3_000);
        let document = json!({
            "run_id": "r\nBcc: a@b", "workspace": "w\r\nX: y", "state": "active", "directory": "/d", "machine": "m",
            "news": [{"task": "t\nBcc: a@b", "state": "person", "reason": said, "instructions": "look", "command": "c"}],
        });
        let message = message("me@example.org", &document);
        let (headers, body) = message.split_once("\n\n").expect("headers and a body");
        let names: Vec<&str> = headers.lines().filter_map(|line| line.split(':').next()).collect();
        let ours = ["To", "Subject", "Auto-Submitted", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"];
        assert_eq!(names, ours);
        assert!(body.contains("instructions: look") && !message.contains('\r'), "{message}");
        assert!(body.lines().all(|line| line.len() <= 900), "{body}");
    }
}
