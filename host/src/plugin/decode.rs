//! Reads what a component imports and exports, from its sections alone: nothing of it is compiled or executed, and the
//! bodies of its functions, which are nearly all of its bytes, are passed over.
use super::survey::survey;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use wasmparser::component_types::{
    ComponentDefinedType, ComponentEntityType, ComponentFuncTypeId, ComponentItem, ComponentValType,
};
use wasmparser::types::TypesRef;
use wasmparser::{ComponentExternName, Parser, Payload, ValidPayload, Validator};

/// Bytes of the text of one function's type: those of the contract have less than a tenth of it.
const TYPE_MAX: usize = 16 * 1024;

/// The functions of an interface with their types, as a text that is the same where the types are.
pub(super) type Functions = BTreeMap<String, String>;

/// What a component imports and exports, by name, in its own order.
#[derive(Debug, Default)]
pub(super) struct Shape {
    pub(super) imports: Vec<(String, Functions)>,
    pub(super) exports: Vec<(String, Functions)>,
}

impl Shape {
    /// The functions of an interface that it exports.
    pub(super) fn exported(&self, interface: &str) -> Option<&Functions> {
        self.exports.iter().find(|(name, _)| name == interface).map(|(_, functions)| functions)
    }
}

/// Reads a component.
///
/// # Errors
/// In words that follow the plugin's name: it is cut off or damaged, or becomes more than a plugin may be.
pub(super) fn decode(bytes: &[u8]) -> Result<Shape, String> {
    let damaged = |error: wasmparser::BinaryReaderError| format!("is cut off or damaged ({error})");
    survey(bytes)?;
    let (mut validator, mut depth) = (Validator::new(), 0_usize);
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(damaged)?;
        match &payload {
            Payload::Version { .. } => depth += 1,
            Payload::ComponentImportSection(section) if depth == 1 => {
                let found = section.clone().into_iter().map(|import| Ok(name_of(&import?.name)));
                imports.extend(found.collect::<Result<Vec<_>, _>>().map_err(damaged)?);
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                let found = section.clone().into_iter().map(|export| Ok(name_of(&export?.name)));
                exports.extend(found.collect::<Result<Vec<_>, _>>().map_err(damaged)?);
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
        let ValidPayload::End(types) = validator.payload(&payload).map_err(damaged)? else { continue };
        if depth == 0 {
            let types = types.as_ref();
            let of = |item: Option<&ComponentItem>| item.map(|item| functions(types, item)).unwrap_or_default();
            let imported = |name: String| (name.clone(), of(types.component_item_for_import(&name)));
            let exported = |name: String| (name.clone(), of(types.component_item_for_export(&name)));
            let imports = imports.into_iter().map(imported).collect();
            return Ok(Shape { imports, exports: exports.into_iter().map(exported).collect() });
        }
    }
    Err("is cut off".to_owned())
}

fn name_of(name: &ComponentExternName<'_>) -> String {
    name.name.to_owned()
}

/// The functions of an instance; a function by itself is one without a name.
fn functions(types: TypesRef<'_>, item: &ComponentItem) -> Functions {
    match &item.ty {
        ComponentEntityType::Instance(id) => {
            let of = |(name, item): (&String, &ComponentItem)| match &item.ty {
                ComponentEntityType::Func(id) => Some((name.clone(), function(types, *id))),
                _ => None,
            };
            types[*id].exports.iter().filter_map(of).collect()
        }
        ComponentEntityType::Func(id) => [(String::new(), function(types, *id))].into(),
        _ => Functions::new(),
    }
}

/// The type of a function as a text.
fn function(types: TypesRef<'_>, id: ComponentFuncTypeId) -> String {
    let (found, mut text) = (&types[id], String::new());
    for (name, ty) in &found.params {
        let _ = write!(text, "{name}: ");
        value(types, ty, &mut text);
        text.push_str(", ");
    }
    if let Some(ty) = &found.result {
        text.push_str("-> ");
        value(types, ty, &mut text);
    }
    text
}

/// Adds the type of a value to a text. How deep types are nested is bounded by what has validated them.
fn value(types: TypesRef<'_>, ty: &ComponentValType, text: &mut String) {
    let id = match ty {
        ComponentValType::Primitive(primitive) => {
            let _ = write!(text, "{primitive}");
            return;
        }
        // the same part may stand in a type a thousand times
        ComponentValType::Type(_) if text.len() > TYPE_MAX => return text.push('…'),
        ComponentValType::Type(id) => *id,
    };
    let mut optional = |word: &str, ty: Option<&ComponentValType>| {
        text.push_str(word);
        text.push('<');
        if let Some(ty) = ty {
            value(types, ty, text);
        }
        text.push('>');
    };
    match &types[id] {
        ComponentDefinedType::Primitive(primitive) => {
            let _ = write!(text, "{primitive}");
        }
        ComponentDefinedType::Record(record) => {
            text.push_str("record{");
            for (name, ty) in &record.fields {
                let _ = write!(text, "{name}: ");
                value(types, ty, text);
                text.push_str(", ");
            }
            text.push('}');
        }
        ComponentDefinedType::Variant(variant) => {
            text.push_str("variant{");
            for (name, case) in &variant.cases {
                let _ = write!(text, "{name}: ");
                case.ty.iter().for_each(|ty| value(types, ty, text));
                text.push_str(", ");
            }
            text.push('}');
        }
        ComponentDefinedType::List { element, .. } => optional("list", Some(element)),
        ComponentDefinedType::Option { ty, .. } => optional("option", Some(ty)),
        ComponentDefinedType::Result { ok, err, .. } => {
            optional("result", ok.as_ref());
            optional("or", err.as_ref());
        }
        ComponentDefinedType::Tuple(tuple) => tuple.types.iter().for_each(|ty| optional("tuple", Some(ty))),
        ComponentDefinedType::Enum(names) => {
            let _ = write!(text, "enum{{{names:?}}}");
        }
        ComponentDefinedType::Flags(names) => {
            let _ = write!(text, "flags{{{names:?}}}");
        }
        ComponentDefinedType::Map { .. }
        | ComponentDefinedType::FixedLengthList { .. }
        | ComponentDefinedType::Own(_)
        | ComponentDefinedType::Borrow(_)
        | ComponentDefinedType::Future { .. }
        | ComponentDefinedType::Stream { .. } => text.push_str("what no plugin has"),
    }
}

#[cfg(test)]
mod tests {
    use super::decode;
    use crate::plugin::builtin;

    #[test]
    fn what_standard_plugins_have_is_read_from_their_sections() {
        let shape = decode(builtin::builtin("workflow").unwrap_or_default()).expect("a component");
        let (_, calls) = shape.exports.iter().find(|(name, _)| name.contains("campaign-calls")).expect("its calls");
        assert_eq!(calls.keys().collect::<Vec<_>>(), ["analyze", "plan"]);
        assert!(calls["plan"].contains("now-ms: u64") && calls["plan"].contains("-> result<record{state"), "{calls:?}");
        assert!(shape.imports.iter().any(|(name, of)| name.contains("/run@") && of.contains_key("params")));
    }

    #[test]
    fn what_is_cut_off_anywhere_is_refused() {
        let whole = builtin::builtin("compute").unwrap_or_default();
        for parts in 1..40 {
            let cut = &whole[..whole.len() * parts / 40];
            assert!(decode(cut).is_err(), "{} of {} bytes", cut.len(), whole.len());
        }
        assert!(decode(whole).is_ok());
    }
}
