//! MatterStack advances scientific campaigns in short ticks, from one directory and one SQLite file per run.
//!
//! Code map: [`model`] holds plain values and rules; [`store`] is the only place that knows SQL; [`plugin`] the only
//! place that knows wasmtime; [`backend`] the only place that starts programs; [`tick`] joins them into one step of a
//! run; [`evidence`] writes what a run leaves for others; [`cli`] is the only place that prints. [`workspace`] finds and
//! reads what a person wrote, [`run_dir`] knows every path inside a run, [`machine`] is what differs between operating
//! systems. [`answer`] and [`kit`] bring in what people answer and what comes back from clusters that cannot be reached, as
//! files and without the lease.
pub mod answer;
pub mod backend;
pub mod cli;
pub mod drive;
pub mod evidence;
pub mod explain;
pub mod failpoint;
pub mod failure;
pub mod ground;
pub mod kit;
pub mod machine;
pub mod model;
pub mod plugin;
pub mod run_dir;
pub mod store;
pub mod tick;
pub mod workspace;
