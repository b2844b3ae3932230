//! `config schema`: the published schemas, by their names.
use crate::model::schema;
use clap::ValueEnum;
use schemars::Schema;

/// The published schemas.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum SchemaName {
    /// config.json
    Config,
    /// What a plan's workflow is
    Tasks,
    /// What analyze receives
    Results,
    /// What plan decides, as a script writes it
    Decision,
    /// What a script's plan and analyze are handed
    Context,
    /// What the calls of an operator answer, as a script writes it
    Operator,
    /// evidence.json
    Evidence,
    /// What an operator hands to a compute backend
    Job,
    /// The exit record a compute backend returns
    Exit,
    /// How far a campaign has come
    Summary,
    /// What a plugin says of itself
    Manifest,
    /// What a decision may say beside
    DecisionMore,
    /// What a detail may say beside
    Data,
    /// What an attempt used
    Usage,
}

impl SchemaName {
    /// The schema itself.
    pub(super) fn schema(self) -> Schema {
        match self {
            Self::Config => schema::config(),
            Self::Tasks => schema::tasks(),
            Self::Results => schema::results(),
            Self::Decision => schema::decision(),
            Self::Context => schema::context(),
            Self::Operator => schema::operator(),
            Self::Evidence => schema::evidence(),
            Self::Job => schema::job(),
            Self::Exit => schema::exit(),
            Self::Summary => schema::summary(),
            Self::Manifest => schema::manifest(),
            Self::DecisionMore => schema::decision_more(),
            Self::Data => schema::data(),
            Self::Usage => schema::usage(),
        }
    }
}
