//! HTML in which text from outside stays text: what is not written in this program passes through an escape.
//!
//! There is no template engine, because figures are drawn by code anyway, rows go to the file as they come, and that
//! nothing is written without an escape is told by types here rather than by the ending of a file's name.
use crate::ground::words;
use std::fmt::Display;
use std::io::{self, Write};

/// Rows of a table that stands there without being asked for.
pub(super) const OPEN: usize = 10;
/// Rows of a folded table that is open on paper.
const ON_PAPER: usize = 60;

/// An attribute of an element.
pub(super) type Attribute<'a> = (&'static str, &'a dyn Display);

/// A page that is being written. Names of elements and attributes, and markup, are this program's own, which their
/// lifetime says; everything else is escaped.
pub(super) struct Page<'a> {
    out: &'a mut dyn Write,
    figures: usize,
}

impl<'a> Page<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self { out, figures: 0 }
    }

    /// Counts a figure, by whose number its title is found.
    pub(super) fn next_figure(&mut self) -> usize {
        self.figures += 1;
        self.figures
    }

    /// How many figures there are so far.
    pub(super) fn figures(&self) -> usize {
        self.figures
    }

    /// Writes markup as it is.
    pub(super) fn markup(&mut self, text: &'static str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())
    }

    /// Writes text on one line; characters that do not show are written as their numbers.
    pub(super) fn text(&mut self, text: impl Display) -> io::Result<()> {
        self.escaped(&words::one_line(&text.to_string()))
    }

    /// Writes text with its lines.
    pub(super) fn lines(&mut self, text: &str) -> io::Result<()> {
        self.escaped(&words::lines(text))
    }

    fn escaped(&mut self, text: &str) -> io::Result<()> {
        let mut rest = text;
        while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
            self.out.write_all(&rest.as_bytes()[..at])?;
            self.out.write_all(match rest.as_bytes()[at] {
                b'&' => b"&amp;",
                b'<' => b"&lt;",
                b'>' => b"&gt;",
                b'"' => b"&quot;",
                _ => b"&#39;",
            })?;
            rest = &rest[at + 1..];
        }
        self.out.write_all(rest.as_bytes())
    }

    /// Begins an element.
    pub(super) fn open(&mut self, tag: &'static str, attributes: &[Attribute<'_>]) -> io::Result<()> {
        write!(self.out, "<{tag}")?;
        for (name, value) in attributes {
            write!(self.out, " {name}=\"")?;
            self.text(value)?;
            self.out.write_all(b"\"")?;
        }
        self.out.write_all(b">")
    }

    /// Ends an element.
    pub(super) fn close(&mut self, tag: &'static str) -> io::Result<()> {
        writeln!(self.out, "</{tag}>")
    }

    /// Writes an element that holds text on one line.
    pub(super) fn element(
        &mut self,
        tag: &'static str,
        attributes: &[Attribute<'_>],
        text: impl Display,
    ) -> io::Result<()> {
        self.open(tag, attributes)?;
        self.text(text)?;
        self.close(tag)
    }

    /// Writes a paragraph.
    pub(super) fn paragraph(&mut self, text: impl Display) -> io::Result<()> {
        self.element("p", &[], text)
    }

    /// Begins a table with these columns; those that hold numbers are marked.
    pub(super) fn begin_table(&mut self, caption: &str, columns: &[Column]) -> io::Result<()> {
        // a table wider than the window is moved within by keys as well
        self.open("div", &[("class", &"wide"), ("role", &"group"), ("tabindex", &0), ("aria-label", &caption)])?;
        self.markup("<table>")?;
        self.element("caption", &[], caption)?;
        self.markup("<thead><tr>")?;
        for Column { name, numeric } in columns {
            match numeric {
                true => self.element("th", &[("scope", &"col"), ("class", &"n")], name)?,
                false => self.element("th", &[("scope", &"col")], name)?,
            }
        }
        self.markup("</tr></thead><tbody>\n")
    }

    /// Writes a row, headed by its first cell.
    pub(super) fn row<T: Display>(&mut self, columns: &[Column], cells: &[T]) -> io::Result<()> {
        self.markup("<tr>")?;
        for (place, (Column { numeric, .. }, cell)) in columns.iter().zip(cells).enumerate() {
            match (place, numeric) {
                (0, true) => self.element("th", &[("scope", &"row"), ("class", &"n")], cell)?,
                (0, false) => self.element("th", &[("scope", &"row")], cell)?,
                (_, true) => self.element("td", &[("class", &"n")], cell)?,
                (_, false) => self.element("td", &[], cell)?,
            }
        }
        self.markup("</tr>\n")
    }

    /// Ends a table.
    pub(super) fn end_table(&mut self) -> io::Result<()> {
        self.markup("</tbody></table></div>\n")
    }

    /// Writes a whole table, and says how many rows more there are.
    pub(super) fn table(
        &mut self,
        caption: &str,
        columns: &[Column],
        rows: &[Vec<String>],
        more: usize,
    ) -> io::Result<()> {
        self.begin_table(caption, columns)?;
        rows.iter().try_for_each(|row| self.row(columns, row))?;
        self.end_table()?;
        if more > 0 { self.paragraph(format!("and {more} more")) } else { Ok(()) }
    }

    /// Writes a table that is opened when it is asked for; on paper a short one is open.
    pub(super) fn folded_table(
        &mut self,
        (summary, caption): (&str, &str),
        columns: &[Column],
        rows: &[Vec<String>],
        more: usize,
    ) -> io::Result<()> {
        let class = if rows.len() <= ON_PAPER { "short" } else { "long" };
        let noun = if rows.len() == 1 { "row" } else { "rows" };
        self.open("details", &[("class", &class)])?;
        self.element("summary", &[], format!("{summary} ({} {noun})", rows.len()))?;
        self.table(caption, columns, rows, more)?;
        self.close("details")
    }

    /// Writes a table, which is folded where it has many rows.
    pub(super) fn listed(
        &mut self,
        caption: &str,
        columns: &[Column],
        rows: &[Vec<String>],
        more: usize,
    ) -> io::Result<()> {
        match rows.len() > OPEN {
            true => self.folded_table((caption, caption), columns, rows, more),
            false => self.table(caption, columns, rows, more),
        }
    }
}

/// A column of a table.
#[derive(Debug, Clone)]
pub(super) struct Column {
    /// Its heading.
    name: String,
    /// Whether it holds numbers.
    numeric: bool,
}

impl Column {
    /// Its heading.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// A column of text.
pub(super) fn words_of(name: impl Display) -> Column {
    Column { name: name.to_string(), numeric: false }
}

/// A column of numbers.
pub(super) fn numbers_of(name: impl Display) -> Column {
    Column { name: name.to_string(), numeric: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_our_own_is_escaped_wherever_it_stands() {
        let hostile = "<script>\"'&\n\u{202e}x</script>";
        let mut out = Vec::new();
        let mut page = Page::new(&mut out);
        page.element("p", &[("title", &hostile)], hostile).expect("memory");
        page.table(hostile, &[words_of(hostile)], &[vec![hostile.to_owned()]], 0).expect("memory");
        page.lines("a\n<b>").expect("memory");
        let text = String::from_utf8(out).expect("UTF-8");
        assert!(!text.contains("<script") && !text.contains("<b>") && !text.contains('\u{202e}'), "{text}");
        let shown = "&lt;script&gt;&quot;&#39;&amp; \\u{202e}x&lt;/script&gt;";
        assert!(text.starts_with(&format!("<p title=\"{shown}\">{shown}</p>\n")), "{text}");
        assert!(text.ends_with("a\n&lt;b&gt;"), "{text}");
    }
}
