//! What authors of plugins have: a look into a file without executing it, and parameters judged by their own schema.
mod checks;
mod exchanges;
mod making;
mod tries;

use crate::support::world::World;
use matterstack::plugin::builtin;
use serde_json::{Value, json};

/// A standard plugin's bytes.
fn standard(name: &str) -> Vec<u8> {
    builtin::builtin(name).expect("a standard plugin").to_vec()
}

/// A component with a further custom section.
fn with_section(component: &[u8], name: &str, content: &[u8]) -> Vec<u8> {
    let leb = |mut number: usize| {
        let mut bytes = Vec::new();
        loop {
            let low = (number & 0x7f) as u8;
            number >>= 7;
            bytes.push(if number > 0 { low | 0x80 } else { low });
            if number == 0 {
                return bytes;
            }
        }
    };
    let body = [&leb(name.len())[..], name.as_bytes(), content].concat();
    [component, &[0], &leb(body.len()), &body].concat()
}

fn with_manifest(name: &str, manifest: &Value) -> Vec<u8> {
    with_section(&standard(name), "matterstack:manifest", manifest.to_string().as_bytes())
}

/// A component in which a word stands for another of the same length.
fn renamed(component: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = component.to_vec();
    for at in 0..bytes.len() - from.len() {
        if bytes[at..].starts_with(from.as_bytes()) {
            bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        }
    }
    bytes
}

/// A workspace whose campaign is the file `p.wasm`, with parameters of `builtin:workflow`.
fn with_campaign(bytes: &[u8], params: &Value) -> World {
    let mut config = crate::support::world::tasks_config(&json!([]));
    config["campaign"] = json!({"plugin": "p.wasm", "params": params});
    let world = World::new(&config);
    std::fs::write(world.workspace().join("p.wasm"), bytes).expect("a file");
    world
}
