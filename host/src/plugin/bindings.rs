//! What wasmtime generates from `wit/`. Nothing outside this module's parent sees these types.
#![allow(missing_docs, reason = "the documentation is in wit/, from which all of this is generated")]
#![allow(unreachable_pub, reason = "generated")]

pub(super) mod campaign {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "campaign",
        imports: { default: trappable },
        exports: { default: async },
    });
}

pub(super) mod operator {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "compute-operator",
        imports: { default: trappable },
        exports: { default: async },
        with: {
            "matterstack:plugin/types": super::campaign::matterstack::plugin::types,
            "matterstack:plugin/log": super::campaign::matterstack::plugin::log,
        },
    });
}
