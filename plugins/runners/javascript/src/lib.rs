//! `builtin:javascript`: QuickJS, which answers for a script in JavaScript as a campaign and as an operator.
//!
//! The script's path and digest, and those of its modules, stand in `context.more` and `attempt.more`. Each call starts
//! an interpreter, reads the script and asks one function of it; nothing is remembered between two calls.
//! `matterstack.js` is what scripts import, `glue.js` what stands between them and the contract.
#![cfg_attr(not(target_family = "wasm"), allow(dead_code, reason = "natively only tests ask scripts"))]
mod campaign;
mod document;
mod engine;
mod fault;
mod host;
mod native;
mod operator;
mod outside;
mod script;
#[cfg(test)]
mod tests;

#[cfg(target_family = "wasm")]
#[allow(unsafe_code, reason = "exports of a component")]
mod exports {
    use crate::campaign::Campaign;
    use crate::operator::Operator;
    use matterstack_sdk::bindings::{campaign, operator};
    campaign::__export_campaign_world!(Campaign with_types_in campaign);
    operator::__export_operator_world!(Operator with_types_in operator);
}
