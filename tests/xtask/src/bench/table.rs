//! What is printed: one line for each thing that was measured, as soon as it is.
#![expect(clippy::print_stdout, reason = "the table is what a benchmark is for")]
use super::ground::{Given, Place};
use super::measure::Cost;

/// A line of text between the rows.
pub(super) fn say(text: &str) {
    println!("{text}");
}

/// The heads of the columns.
pub(super) fn head() {
    println!("{:<34} {:<6} {:<6} {:>9} {:>9} {:>8}  beside it", "what", "tasks", "on", "CPU s", "wall s", "MiB");
}

/// A line of the table. `more` says what it is beside: the bar, or another program's figure.
pub(super) fn show(what: &str, given: Option<Given>, place: Place, cost: Cost, more: &str) {
    let Cost { cpu_s, wall_s, peak_mb } = cost;
    let given = given.map_or("", Given::name);
    println!("{what:<34} {given:<6} {:<6} {cpu_s:>9.4} {wall_s:>9.4} {peak_mb:>8.1}  {more}", place.name());
}

/// A row that there is no number for.
pub(super) fn not_measured(what: &str, given: Option<Given>, place: Place, error: &anyhow::Error) {
    println!("{what:<34} {:<6} {:<6} not measured: {error:#}", given.map_or("", Given::name), place.name());
}
