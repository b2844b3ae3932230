//! builtin:workflow, the campaign that runs a plain DAG of tasks
