//! What a handle tells of the job it names; operators pass the handles of compute backends through.
use serde_json::Value;

/// What is known of a job by its handle.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// What the outside calls it: its id there, or `HOST:PID` of a process, once there is one.
    pub external_id: Option<String>,
    /// The machine it was handed to.
    pub host: Option<String>,
}

/// Reads the handle of a compute backend's job, as its operator passes it through; any other tells nothing.
pub fn told(handle: &str) -> Told {
    let Ok(value) = serde_json::from_str::<Value>(handle) else { return Told::default() };
    let inner = ["handle", "job"].iter().find_map(|key| value.get(key)).unwrap_or(&value);
    let host = inner.get("host").and_then(Value::as_str).map(str::to_owned);
    if let Some(id) = inner.get("external_id").and_then(Value::as_str) {
        return Told { external_id: Some(id.to_owned()), host };
    }
    match (host, inner.pointer("/process/pid")) {
        (Some(host), Some(pid)) => Told { external_id: Some(format!("{host}:{pid}")), host: Some(host) },
        (host, _) => Told { external_id: None, host },
    }
}

#[cfg(test)]
mod tests {
    use super::told;

    #[test]
    fn a_handle_tells_of_its_job() {
        let cases = [
            (r#"{"external_id":"12_3"}"#, Some("12_3"), None),
            (r#"{"handle":{"external_id":"12","host":"h"}}"#, Some("12"), Some("h")),
            (r#"{"job":{"host":"h","process":{"pid":7}}}"#, Some("h:7"), Some("h")),
            (r#"{"host":"h"}"#, None, Some("h")),
            ("{}", None, None),
            (r#"{"reused":{"run":"r","attempt":"a"}}"#, None, None),
            ("odd", None, None),
        ];
        for (handle, id, host) in cases {
            let found = told(handle);
            assert_eq!((found.external_id.as_deref(), found.host.as_deref()), (id, host), "{handle}");
        }
    }
}
