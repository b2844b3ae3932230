//! Files of a task as they are written. Each key is read as what it should be, so that an error names the one that is
//! not; which of them go together is asked last.
use super::file::{
    ContentSource, DigestSource, FileSource, FromSource, KeptPattern, OtherSource, OutputPattern, PathSource, Stage,
};
use crate::model::id::TaskId;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// Every key that a source may have.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    path: Option<String>,
    content: Option<String>,
    digest: Option<String>,
    parts: Option<Vec<String>>,
    run: Option<String>,
    from: Option<TaskId>,
    output: Option<String>,
    stage: Option<Stage>,
    executable: Option<bool>,
}

const FORMS: &str = "{\"path\": …}, {\"content\": \"…\"}, {\"digest\": …}, that with {\"parts\": […]}, {\"from\": …, \"output\": …}, or that with a \
     {\"run\": …}";

struct AnySource;

impl<'de> Visitor<'de> for AnySource {
    type Value = FileSource;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object: {FORMS}")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FileSource, A::Error> {
        let given = Source::deserialize(MapAccessDeserializer::new(map))?;
        let Source { path, content, digest, parts, run, from, output, stage, executable } = given;
        if let Some(digest) = digest.clone()
            && path.is_none()
            && content.is_none()
            && run.is_none()
            && from.is_none()
            && output.is_none()
        {
            let parts = parts.unwrap_or_default();
            return Ok(FileSource::Digest(DigestSource { digest, parts, stage, executable }));
        }
        match (path, content, run, from, output) {
            _ if digest.is_some() || parts.is_some() => {
                Err(A::Error::custom(format_args!("expected {FORMS}, and one of them alone")))
            }
            (Some(path), None, None, None, None) => Ok(FileSource::Path(PathSource { path, stage, executable })),
            (None, Some(content), None, None, None) if stage.is_none() => {
                Ok(FileSource::Content(ContentSource { content, executable }))
            }
            (None, None, None, Some(from), Some(output)) => {
                Ok(FileSource::From(FromSource { from, output, stage, executable }))
            }
            (None, None, Some(run), Some(from), Some(output)) => {
                Ok(FileSource::Other(OtherSource { run, from, output, stage, executable }))
            }
            _ => Err(A::Error::custom(format_args!(
                "expected {FORMS}, and beside them only `executable`, and `stage` where it is no content"
            ))),
        }
    }
}

impl<'de> Deserialize<'de> for FileSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnySource)
    }
}

struct Output;

impl<'de> Visitor<'de> for Output {
    type Value = OutputPattern;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, or {\"pattern\": …, \"keep\": \"remote\"}")
    }

    fn visit_str<E: Error>(self, pattern: &str) -> Result<OutputPattern, E> {
        Ok(OutputPattern::Fetched(pattern.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OutputPattern, A::Error> {
        KeptPattern::deserialize(MapAccessDeserializer::new(map)).map(OutputPattern::Kept)
    }
}

impl<'de> Deserialize<'de> for OutputPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Output)
    }
}
