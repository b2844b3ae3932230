//! The templates of pages. Each part and each figure of a page is one, which can be rendered by itself.
//!
//! Text from outside stays text: whatever a template prints is escaped, on one line and with characters that do not
//! show as their numbers, and no filter is there that would mark it as markup.
use super::scale::tenth;
use crate::ground::words;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, Error, Output, State, UndefinedBehavior, Value, filters};
use std::error::Error as _;
use std::fmt;
use std::io::{self, Write};

macro_rules! templates {
    ($($name:literal)*) => { [$(($name, include_str!(concat!("templates/", $name)))),*] };
}

/// Every template by its name.
const TEMPLATES: [(&str, &str); 20] = templates!(
    "page.html" "style.css" "result.html" "findings.html" "asked.html" "states.html" "figures.html" "timeline.html"
    "failures.html" "decisions.html" "commands.html" "resources.html" "environment.html" "tasks.html"
    "tables.html" "drawing.svg" "states.svg" "values.svg" "attempts.svg" "counts.svg"
);

/// Renders a template as it goes, without holding what it makes in memory.
pub(super) fn render(name: &str, view: Value, out: &mut dyn Write) -> io::Result<()> {
    let wrong = |error: Error| match error.source().and_then(|cause| cause.downcast_ref::<io::Error>()) {
        Some(cause) => io::Error::new(cause.kind(), cause.to_string()),
        None => io::Error::other(error),
    };
    let environment = environment().map_err(wrong)?;
    environment.get_template(name).and_then(|template| template.render_captured_to(view, out)).map(drop).map_err(wrong)
}

/// An empty environment has neither filters nor tests: what templates use is added by name.
fn environment() -> Result<Environment<'static>, Error> {
    let mut environment = Environment::empty();
    environment
        .set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build()?);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_formatter(print);
    environment.add_filter("length", filters::length);
    environment.add_filter("lines", |text: &str| {
        let mut shown = String::with_capacity(text.len());
        escape(&mut shown, &words::lines(text)).map(|()| Value::from_safe_string(shown)).map_err(Error::from)
    });
    for (name, source) in TEMPLATES {
        environment.add_template(name, source)?;
    }
    Ok(environment)
}

/// Prints a value: nothing as nothing, places in drawings as exact as they are seen, text on one line.
fn print(out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let done = match value.as_str() {
        Some(markup) if value.is_safe() => out.write_str(markup),
        Some(text) => escape(out, &words::one_line(text)),
        None if value.is_none() => Ok(()),
        None if value.kind() == ValueKind::Number => match f64::try_from(value.clone()) {
            Ok(place) if !value.is_integer() => write!(out, "{}", tenth(place)),
            Ok(_) | Err(_) => write!(out, "{value}"),
        },
        None => escape(out, &words::one_line(&value.to_string())),
    };
    done.map_err(Error::from)
}

fn escape(out: &mut impl fmt::Write, text: &str) -> fmt::Result {
    let mut rest = text;
    while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
        out.write_str(&rest[..at])?;
        out.write_str(match rest.as_bytes()[at] {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'"' => "&quot;",
            _ => "&#39;",
        })?;
        rest = &rest[at + 1..];
    }
    out.write_str(rest)
}

#[cfg(test)]
mod tests {
    use super::super::table::{table, words_of};
    use super::*;
    use minijinja::context;

    const HOSTILE: &str = "<script>\"'&\n\u{202e}x</script>";
    const SHOWN: &str = "&lt;script&gt;&quot;&#39;&amp; \\u{202e}x&lt;/script&gt;";

    fn rendered(name: &str, view: Value) -> String {
        let mut out = Vec::new();
        render(name, view, &mut out).expect("a page");
        String::from_utf8(out).expect("UTF-8")
    }

    fn commands(rows: Vec<Vec<String>>) -> Value {
        let acts = table(HOSTILE, &[words_of(HOSTILE)], rows, 0);
        context! { commands => context! { acts, approvals => table("", &[], Vec::new(), 0) } }
    }

    #[test]
    fn what_is_not_our_own_is_escaped_wherever_it_stands() {
        for rows in [1, 20] {
            let text = rendered("commands.html", commands(vec![vec![HOSTILE.to_owned()]; rows]));
            assert!(text.contains(&format!("aria-label=\"{SHOWN}\"><table><caption>{SHOWN}</caption>")), "{text}");
            assert!(text.contains(&format!("<th scope=\"row\">{SHOWN}</th>")), "{text}");
            assert_eq!(text.contains(&format!("<summary>{SHOWN} (20 rows)</summary>")), rows == 20, "{text}");
            assert!(!text.contains("<script") && !text.contains('\u{202e}'), "{text}");
        }
        let environment = environment().expect("templates");
        let shown = |template: &str| environment.render_str(template, context! { x => HOSTILE });
        assert_eq!(shown("{{ x }}").expect("text"), SHOWN);
        assert_eq!(shown("{{ x | lines }}").expect("text"), SHOWN.replace("amp; ", "amp;\n"));
        // what is told twice is escaped twice, so that nothing a template says lets markup through
        let twice = shown("{% macro m(x) %}{{ x }}{% endmacro %}{% autoescape false %}{{ m(x) }}{% endautoescape %}");
        assert!(!twice.expect("text").contains('<'));
        for wrong in ["{{ x | safe }}", "{{ x | escape }}", "{{ y }}", "{% if y %}{% endif %}"] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_part_is_made_from_what_has_its_name() {
        let environment = environment().expect("templates");
        let parts = TEMPLATES.iter().filter_map(|(name, _)| Some((name, name.strip_suffix(".html")?)));
        for (name, part) in parts.filter(|(_, part)| !["page", "tables"].contains(part)) {
            let needed = environment.get_template(name).expect("it").undeclared_variables(false);
            assert_eq!(needed.into_iter().collect::<Vec<_>>(), [part], "{name}");
        }
    }

    #[test]
    fn a_disk_that_is_full_is_told_as_such() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let error = render("commands.html", commands(Vec::new()), &mut Full).expect_err("no room");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
