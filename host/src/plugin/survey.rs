//! Looks at a component before anything is compiled: how much it becomes once every instance it names is made.
//!
//! A component that instantiates another ten times, which instantiates another ten times, is a few hundred bytes long
//! and becomes millions of instances, because a compiler unfolds them all. Only counting comes cheap, so it comes
//! first.
use super::state::INSTANCES_MAX;
use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind, ComponentTypeRef, Encoding,
    Instance, Parser, Payload,
};

/// Component instances that one plugin may become; those that toolchains make have fewer than fifty.
const COMPONENTS_MAX: u64 = 1000;
/// Aliases, functions lifted and lowered, and exports that one plugin may become.
const ITEMS_MAX: u64 = 1_000_000;
/// Components within each other.
const DEPTH_MAX: usize = 100;

/// What one component becomes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Size {
    components: u64,
    modules: u64,
    items: u64,
}

impl Size {
    fn add(&mut self, other: Self) {
        self.components = self.components.saturating_add(other.components);
        self.modules = self.modules.saturating_add(other.modules);
        self.items = self.items.saturating_add(other.items);
    }
}

/// A component of the index space of another.
#[derive(Debug, Clone, Copy)]
enum Known {
    /// Defined here or outside of here.
    Sized(Size),
    /// Imported, or taken out of an instance: it could be any.
    Foreign,
}

/// A module or component that is being read.
#[derive(Default)]
struct Level {
    is_component: bool,
    own: Size,
    components: Vec<Known>,
}

/// Refuses a component that becomes more than a plugin may be. Whether it is sound is the compiler's to say.
///
/// # Errors
/// In words that follow the plugin's name.
pub(super) fn survey(bytes: &[u8]) -> Result<(), String> {
    let mut levels: Vec<Level> = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        // What cannot be read is refused by the compiler, in its own words.
        let Ok(payload) = payload else { return Ok(()) };
        match payload {
            Payload::Version { encoding, .. } => {
                if levels.len() == DEPTH_MAX {
                    return Err(format!("has components more than {DEPTH_MAX} deep"));
                }
                levels.push(Level { is_component: encoding == Encoding::Component, ..Level::default() });
            }
            Payload::End(_) => {
                let Some(ended) = levels.pop() else { return Ok(()) };
                let Some(outer) = levels.last_mut() else { return bounded(ended.own) };
                if ended.is_component {
                    outer.components.push(Known::Sized(ended.own));
                }
            }
            payload => read(&payload, &mut levels)?,
        }
    }
    Ok(())
}

fn bounded(size: Size) -> Result<(), String> {
    let of = [
        (size.components, COMPONENTS_MAX, "component instances"),
        (size.modules, INSTANCES_MAX as u64, "module instances"),
        (size.items, ITEMS_MAX, "functions, aliases and exports"),
    ];
    match of.into_iter().find(|(is, most, _)| is > most) {
        Some((is, most, what)) => Err(format!("would become {is} {what}; a plugin may have {most}")),
        None => Ok(()),
    }
}

/// Counts what one section of the innermost component adds. Entries that cannot be read are left to the compiler.
fn read(payload: &Payload<'_>, levels: &mut [Level]) -> Result<(), String> {
    let Some((level, outer)) = levels.split_last_mut() else { return Ok(()) };
    match payload {
        Payload::InstanceSection(section) => {
            section.clone().into_iter().flatten().for_each(|instance| level.module_instance(&instance));
        }
        Payload::ComponentInstanceSection(section) => {
            section.clone().into_iter().flatten().try_for_each(|instance| level.component_instance(&instance))?;
        }
        Payload::ComponentAliasSection(section) => {
            level.items(section.count());
            section.clone().into_iter().flatten().for_each(|alias| level.alias(&alias, outer));
        }
        Payload::ComponentImportSection(section) => {
            level.items(section.count());
            let imports = section.clone().into_iter().flatten();
            let components = imports.filter(|import| matches!(import.ty, ComponentTypeRef::Component(_)));
            level.components.extend(components.map(|_| Known::Foreign));
        }
        Payload::ComponentExportSection(section) => {
            level.items(section.count());
            let exports = section.clone().into_iter().flatten();
            for export in exports.filter(|export| export.kind == ComponentExternalKind::Component) {
                // what is exported has a further index
                level.components.push(level.known(export.index));
            }
        }
        Payload::ComponentCanonicalSection(section) => level.items(section.count()),
        _ => {}
    }
    Ok(())
}

impl Level {
    fn items(&mut self, count: u32) {
        self.own.add(Size { items: count.into(), ..Size::default() });
    }

    fn known(&self, index: u32) -> Known {
        self.components.get(index as usize).copied().unwrap_or(Known::Foreign)
    }

    fn module_instance(&mut self, instance: &Instance<'_>) {
        match instance {
            Instance::Instantiate { args, .. } => {
                self.own.add(Size { modules: 1, items: args.len() as u64, ..Size::default() });
            }
            Instance::FromExports(exports) => self.items(exports.len() as u32),
        }
    }

    fn component_instance(&mut self, instance: &ComponentInstance<'_>) -> Result<(), String> {
        match instance {
            ComponentInstance::Instantiate { component_index, args } => {
                let Known::Sized(size) = self.known(*component_index) else {
                    return Err("makes an instance of a component that it does not hold itself".to_owned());
                };
                self.own.add(Size { components: 1, items: args.len() as u64, ..Size::default() });
                self.own.add(size);
            }
            ComponentInstance::FromExports(exports) => self.items(exports.len() as u32),
        }
        Ok(())
    }

    fn alias(&mut self, alias: &ComponentAlias<'_>, outer: &[Self]) {
        match alias {
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count, index } => {
                let place = match (*count as usize).checked_sub(1) {
                    None => Some(&*self),
                    Some(further) => outer.len().checked_sub(further + 1).and_then(|at| outer.get(at)),
                };
                let known = place.map_or(Known::Foreign, |place| place.known(*index));
                self.components.push(known);
            }
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => {
                self.components.push(Known::Foreign);
            }
            ComponentAlias::Outer { .. }
            | ComponentAlias::InstanceExport { .. }
            | ComponentAlias::CoreInstanceExport { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DEPTH_MAX, survey};

    fn section(id: u8, content: &[u8]) -> Vec<u8> {
        let mut section = vec![id];
        let mut length = content.len();
        loop {
            let byte = (length & 0x7f) as u8;
            length >>= 7;
            section.push(if length == 0 { byte } else { byte | 0x80 });
            if length == 0 {
                break;
            }
        }
        section.extend_from_slice(content);
        section
    }

    const MODULE: &[u8] = b"\0asm\x01\0\0\0";
    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    /// A component with these sections.
    fn component(sections: &[Vec<u8>]) -> Vec<u8> {
        [COMPONENT.to_vec(), sections.concat()].concat()
    }

    /// A section that instantiates the component with an index so many times.
    fn instantiate(index: u8, times: u8) -> Vec<u8> {
        section(5, &[&[times][..], &[0, index, 0].repeat(times.into())].concat())
    }

    fn nested(levels: u8, times: u8) -> Vec<u8> {
        let innermost =
            component(&[section(1, MODULE), section(2, &[&[times][..], &[0, 0, 0].repeat(times.into())].concat())]);
        (1..levels).fold(innermost, |inner, _| component(&[section(4, &inner), instantiate(0, times)]))
    }

    #[track_caller]
    fn refused(bytes: &[u8], words: &str) {
        let text = survey(bytes).expect_err(words);
        assert!(text.contains(words), "{text}");
    }

    #[test]
    fn instances_within_instances_are_multiplied() {
        assert_eq!(survey(&nested(3, 4)), Ok(()));
        refused(&nested(3, 5), "would become 125 module instances; a plugin may have 100");
        refused(&nested(11, 10), "component instances");
        refused(&nested(60, 100), &u64::MAX.to_string());
    }

    #[test]
    fn a_component_by_another_name_counts_as_much() {
        let inner = nested(2, 9);
        // an alias to what lies outside, and an export, which is a further index
        let alias = section(6, &[1, 4, 2, 1, 0]);
        let user = component(&[alias, instantiate(0, 2)]);
        refused(&component(&[section(4, &inner), section(4, &user), instantiate(1, 1)]), "162 module instances");
        let export = section(11, &[&[1, 0, 1][..], b"x", &[4, 0, 0]].concat());
        refused(&component(&[section(4, &inner), export, instantiate(1, 2)]), "162 module instances");
    }

    #[test]
    fn a_component_from_elsewhere_makes_no_instances() {
        let any = section(7, &[1, 0x41, 0]);
        let import = section(10, &[&[1, 0, 1][..], b"x", &[4, 0]].concat());
        refused(&component(&[any, import, instantiate(0, 1)]), "does not hold itself");
    }

    #[test]
    fn depth_is_bounded_and_damage_is_left_to_the_compiler() {
        let deep = (0..DEPTH_MAX).fold(component(&[]), |inner, _| component(&[section(4, &inner)]));
        refused(&deep, "100 deep");
        for end in 0..deep.len() {
            let _ = survey(&deep[..end]);
        }
        for bytes in [&b""[..], b"text", MODULE, b"\0asm\x0d\0\x01\0\x05\xff\xff\xff\xff\x0f"] {
            assert_eq!(survey(bytes), Ok(()));
        }
    }
}
