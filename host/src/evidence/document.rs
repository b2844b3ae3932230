//! evidence.json, written key by key and row by row, one row a line.
use crate::ground::words;
use serde::Serialize;
use std::io::{self, Write};

/// A JSON object that is being written; rows of its lists go to disk as they come.
#[derive(Debug)]
pub(super) struct DocumentWriter<W> {
    out: W,
    keys: u32,
    rows: u32,
}

impl<W: Write> DocumentWriter<W> {
    /// Begins the object.
    pub(super) fn begin(mut out: W) -> io::Result<Self> {
        out.write_all(b"{")?;
        Ok(Self { out, keys: 0, rows: 0 })
    }

    fn key(&mut self, name: &str) -> io::Result<()> {
        self.out.write_all(if self.keys == 0 { b"\n" } else { b",\n" })?;
        self.keys += 1;
        self.json(name)?;
        self.out.write_all(b": ")
    }

    /// Writes a key with its value.
    pub(super) fn value(&mut self, name: &str, value: &impl Serialize) -> io::Result<()> {
        self.key(name)?;
        self.json(value)
    }

    /// Writes a value, with escapes for what could command a terminal.
    fn json(&mut self, value: &(impl Serialize + ?Sized)) -> io::Result<()> {
        self.out.write_all(words::json(&serde_json::to_string(value)?).as_bytes())
    }

    /// Begins a list.
    pub(super) fn begin_list(&mut self, name: &str) -> io::Result<()> {
        self.key(name)?;
        self.rows = 0;
        self.out.write_all(b"[")
    }

    /// Adds a row to the list.
    pub(super) fn row(&mut self, row: &impl Serialize) -> io::Result<()> {
        self.out.write_all(if self.rows == 0 { b"\n" } else { b",\n" })?;
        self.rows += 1;
        self.json(row)
    }

    /// Ends the list.
    pub(super) fn end_list(&mut self) -> io::Result<()> {
        self.out.write_all(if self.rows == 0 { b"]" } else { b"\n]" })
    }

    /// Ends the object.
    pub(super) fn end(mut self) -> io::Result<()> {
        self.out.write_all(b"\n}\n")?;
        self.out.flush()
    }
}
