//! MatterStack advances scientific campaigns in short ticks, from one directory and one SQLite file per run.
//!
//! Code map, from the ground up; a room reaches only those before it, and a test reads the source to keep that true.
//! [`model`] holds plain values and rules, [`ground`] words, files, the machine and randomness. [`store`] is the only
//! place that knows SQL, [`backend`] starts programs, [`plugin`] is the only place that knows wasmtime. [`run`] is a
//! run directory, its lease and what an opened run holds. [`tick`] joins them into one step. [`failure`] and
//! [`explain`] say what went wrong and why nothing moves, [`people`] brings in answers and kits. [`workspace`] finds,
//! makes and opens runs, [`results`] makes tables of them, [`replay`] makes their decisions again, [`evidence`] writes
//! what a run leaves for others, [`backtest`] lets other campaigns decide, [`author`] is for who writes plugins,
//! [`drive`] is the loop, and [`cli`] is the only place that prints.
//!
//! What holds always, beside the order of the rooms:
//!
//! - What may reach outside is committed as intent before, and its answer after. A first start and recovery are one
//!   path.
//! - No transaction is open while a plugin or an outside program runs: what writes gets a [`store::Writer`] and no run.
//! - Every change of a state goes through the one function of its state machine, carries its precondition, and adds a
//!   row to the history in the same transaction.
//! - Nothing in [`tick`] or [`model`] reads the clock, the environment or randomness: they are arguments.
//! - A plugin cannot fail a tick. It can fail its own attempt, or hold its own run with a recorded reason.
//! - A tick reads what is due, changed or ready through indexes. Only one that holds a run, to say what did not move,
//!   looks at more.
pub mod author;
pub mod backend;
pub mod backtest;
pub mod cli;
pub mod drive;
pub mod evidence;
pub mod explain;
pub mod failure;
pub mod ground;
pub mod model;
pub mod people;
pub mod plugin;
pub mod replay;
pub mod results;
pub mod run;
pub mod store;
pub mod tick;
pub mod workspace;
