//! builtin:compute, the operator that runs commands on a granted compute backend
