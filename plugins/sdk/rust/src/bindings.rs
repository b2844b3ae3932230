//! The bindings generated from `wit/`, and nothing else.
#![allow(missing_docs, unsafe_code, unreachable_pub, clippy::all, reason = "generated code")]

pub mod campaign {
    wit_bindgen::generate!({
        path: "../../../wit",
        world: "campaign",
        pub_export_macro: true,
        export_macro_name: "__export_campaign_world",
        default_bindings_module: "matterstack_sdk::bindings::campaign",
        generate_all,
    });
}

pub mod operator {
    wit_bindgen::generate!({
        path: "../../../wit",
        world: "compute-operator",
        pub_export_macro: true,
        export_macro_name: "__export_operator_world",
        default_bindings_module: "matterstack_sdk::bindings::operator",
        with: {
            "matterstack:plugin/types@0.2.0-dev.2": crate::bindings::campaign::matterstack::plugin::types,
            "matterstack:plugin/log@0.2.0-dev.2": crate::bindings::campaign::matterstack::plugin::log,
        },
        generate_all,
    });
}
