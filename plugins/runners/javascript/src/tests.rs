//! Scripts are asked natively, with a run that a test makes up.
use crate::host::Host;
use matterstack_sdk::{Error, Found, StatusReport, Submitted, Value, json};
use std::cell::RefCell;
use std::rc::Rc;

mod answers;
mod errors;
mod operators;
mod scripts;

/// A run that owns the script, its modules and what is written.
#[derive(Default)]
struct Run {
    files: RefCell<Vec<Vec<u8>>>,
    log: RefCell<Vec<String>>,
    asked: RefCell<Vec<String>>,
}

impl Host for Run {
    /// The digest of the file that was kept first is `0`.
    fn read(&self, digest: &str, offset: u64, max: u32) -> Result<Vec<u8>, Error> {
        let place = digest.trim_start_matches('0');
        let place = if place.is_empty() { 0 } else { place.parse().unwrap_or(usize::MAX) };
        let files = self.files.borrow();
        let file = files.get(place).ok_or_else(|| denied("unknown-digest", "not a file of the run"))?;
        Ok(file.iter().skip(offset as usize).take((max as usize).min(7)).copied().collect())
    }

    fn write(&self, bytes: &[u8]) -> Result<String, Error> {
        self.files.borrow_mut().push(bytes.to_vec());
        Ok(format!("{:064}", self.files.borrow().len() - 1))
    }

    fn log(&self, level: &str, message: &str) {
        self.log.borrow_mut().push(format!("{level}: {message}"));
    }

    fn run_id(&self) -> String {
        self.asked.borrow_mut().push("run_id".to_owned());
        "r".to_owned()
    }

    fn params(&self) -> String {
        self.asked.borrow_mut().push("params".to_owned());
        r#"{"n":3,"big":150000000000000000}"#.to_owned()
    }

    fn inputs(&self) -> String {
        json!({"table": {"sha256": format!("{:064}", 0), "size": 4}}).to_string()
    }

    fn supplied(&self) -> Option<String> {
        Some(r#"{"way":"left"}"#.to_owned())
    }

    fn open_tasks(&self, after: Option<&str>, max: u32) -> Vec<String> {
        vec![format!("{after:?} {max}")]
    }

    fn time_left_ms(&self) -> u64 {
        5000
    }

    fn cancelled(&self) -> bool {
        true
    }

    fn backends(&self) -> Vec<String> {
        vec!["local".to_owned()]
    }

    fn submit(&self, backend: &str, job: &str) -> Result<Submitted, Error> {
        self.asked.borrow_mut().push(format!("submit {backend} {job}"));
        Ok(Submitted::new(r#"{"pid":7}"#).known_as("7"))
    }

    fn find(&self, _: &str) -> Result<Found, Error> {
        Err(Error::Transient(matterstack_sdk::Detail::new("busy", "too many asked"), Some(250)))
    }

    fn status(&self, _: &str, handle: &str) -> Result<StatusReport, Error> {
        self.asked.borrow_mut().push(format!("status {handle}"));
        Ok(matterstack_sdk::Status::Running(Some(r#"{"step":2}"#.to_owned())).into())
    }

    fn collect(&self, _: &str, _: &str) -> Result<String, Error> {
        Ok(r#"{"exit_code":0}"#.to_owned())
    }

    fn cancel(&self, backend: &str, _: &str) -> Result<(), Error> {
        Err(denied("compute", &format!("no `{backend}`")))
    }
}

fn denied(code: &str, message: &str) -> Error {
    Error::Denied(matterstack_sdk::Detail::new(code, message))
}

/// A run with files, and what `more` names of it: the first file is the script.
fn with(files: &[(&str, &str)]) -> (Rc<Run>, String) {
    let run = Rc::new(Run::default());
    // what the input `table` holds
    run.files.borrow_mut().push(b"x,y\n".to_vec());
    let named = files.iter().enumerate().map(|(place, (path, text))| {
        run.files.borrow_mut().push(text.as_bytes().to_vec());
        json!({"path": path, "sha256": format!("{:064}", place + 1), "size": text.len()})
    });
    let named: Vec<Value> = named.collect();
    let more = json!({"script": named[0], "modules": named[1..]});
    (run, more.to_string())
}
