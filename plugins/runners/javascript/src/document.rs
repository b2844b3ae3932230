//! Values of the script as JSON documents, which hold less than JavaScript does.
use rquickjs::{Array, Function, Object, Type, Value as Js, function::This};
use serde_json::{Map, Number, Value};

/// How deep values may be nested; the host takes no more.
const DEPTH_MAX: usize = 127;

/// Why a value is no document.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// What is wrong, and where.
    At(String),
    /// The script itself threw.
    Thrown,
    /// The interpreter refused without throwing.
    Engine(String),
}

impl From<rquickjs::Error> for Unfit {
    fn from(error: rquickjs::Error) -> Self {
        if error.is_exception() { Self::Thrown } else { Self::Engine(error.to_string()) }
    }
}

/// The document that a value is; `name` is how the value is called in sentences. Nothing if it is `undefined`.
pub(crate) fn of(name: &str, value: Js<'_>) -> Result<Option<Value>, Unfit> {
    let mut path = vec![name.to_owned()];
    convert(value, &mut path)
}

/// The words of a text, as a person reads them: half a character in it is written as JavaScript writes it.
pub(crate) fn words(value: &Js<'_>) -> Option<String> {
    value.as_string()?.to_string().ok().or_else(|| {
        let quoted = value.ctx().json_stringify(value.clone()).ok()??.to_string().ok()?;
        quoted.get(1..quoted.len() - 1).map(str::to_owned)
    })
}

fn convert(value: Js<'_>, path: &mut Vec<String>) -> Result<Option<Value>, Unfit> {
    let is = |what: &str| Err(Unfit::At(format!("`{}` is {what}", path.concat())));
    match value.type_of() {
        Type::Undefined | Type::Uninitialized => Ok(None),
        Type::Null => Ok(Some(Value::Null)),
        Type::Bool => Ok(value.as_bool().map(Value::Bool)),
        Type::Int => Ok(value.as_int().map(Value::from)),
        Type::Float => match number(value.as_float().unwrap_or(f64::NAN)) {
            Some(number) => Ok(Some(Value::Number(number))),
            None => is(&format!("{}, which no document can hold", value.as_float().map_or("NaN".to_owned(), shown))),
        },
        Type::String => match value.as_string().map(|text| text.to_string()) {
            Some(Ok(text)) => Ok(Some(Value::String(text))),
            _ => is("a text with half a character (a lone surrogate)"),
        },
        Type::BigInt => is("a BigInt, which no document can hold; `Number(…)` makes a number of it"),
        Type::Symbol => is("a symbol, which no document can hold"),
        Type::Function | Type::Constructor => is("a function, which no document can hold; is it to be called?"),
        Type::Promise => is("a promise, which no document can hold; put `await` before it"),
        _ if path.len() > DEPTH_MAX => {
            let start: String = path.concat().chars().take(60).collect();
            Err(Unfit::At(format!(
                "`{start}`… is nested deeper than {DEPTH_MAX}, or within itself; no document is that deep"
            )))
        }
        Type::Array => list(value.into_array().ok_or(Unfit::Thrown)?, path),
        _ => object(value, path),
    }
}

/// What JavaScript calls a number that JSON has no words for.
fn shown(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number > 0.0 {
        "Infinity".to_owned()
    } else {
        "-Infinity".to_owned()
    }
}

/// A number as a document holds it: whole where it is whole.
fn number(value: f64) -> Option<Number> {
    const EXACT: f64 = 9_007_199_254_740_991.0;
    match value.fract() == 0.0 && value.abs() <= EXACT {
        true => Some(Number::from(value as i64)),
        false => Number::from_f64(value),
    }
}

fn list(list: Array<'_>, path: &mut Vec<String>) -> Result<Option<Value>, Unfit> {
    let mut values = Vec::with_capacity(list.len());
    for place in 0..list.len() {
        path.push(format!("[{place}]"));
        let value = convert(list.get(place)?, path)?;
        values.push(value.ok_or_else(|| Unfit::At(format!("`{}` is undefined; write `null`", path.concat())))?);
        path.pop();
    }
    Ok(Some(Value::Array(values)))
}

fn object(value: Js<'_>, path: &mut Vec<String>) -> Result<Option<Value>, Unfit> {
    let Some(object) = value.as_object() else {
        return Err(Unfit::At(format!("`{}` is a {}, which no document can hold", path.concat(), value.type_name())));
    };
    let plain: Js<'_> = object.get("toJSON")?;
    if let Some(function) = plain.as_function() {
        let function: &Function<'_> = function;
        path.push(String::new());
        let made = convert(function.call((This(object.clone()),))?, path);
        path.pop();
        return made;
    }
    let mut map = Map::new();
    for pair in object.props::<rquickjs::String<'_>, Js<'_>>() {
        let (key, value) = pair?;
        let half = |_| Unfit::At(format!("`{}` has a key with half a character (a lone surrogate)", path.concat()));
        let key = key.to_string().map_err(half)?;
        path.push(step(&key));
        if let Some(value) = convert(value, path)? {
            map.insert(key, value);
        }
        path.pop();
    }
    if map.is_empty() {
        refuse_collection(object, path)?;
    }
    let numbers = map.contains_key("0") && !object.get::<_, Js<'_>>("BYTES_PER_ELEMENT")?.is_undefined();
    match numbers {
        true => {
            let values = (0..map.len()).filter_map(|place| map.remove(&place.to_string()));
            Ok(Some(Value::Array(values.collect())))
        }
        false => Ok(Some(Value::Object(map))),
    }
}

/// A `Map` or a `Set` has no properties: it would go without a word.
fn refuse_collection(object: &Object<'_>, path: &[String]) -> Result<(), Unfit> {
    let constructor: Js<'_> = object.get("constructor")?;
    let Some(constructor) = constructor.as_object() else { return Ok(()) };
    let name: Option<String> = constructor.get("name").unwrap_or_default();
    let hint = match name.as_deref() {
        Some("Map") => "`Object.fromEntries(map)` makes an object of it",
        Some("Set") => "`[...set]` makes a list of it",
        _ => return Ok(()),
    };
    Err(Unfit::At(format!("`{}` is a {}, which no document can hold; {hint}", path.concat(), name.unwrap_or_default())))
}

fn step(key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    if plain { format!(".{key}") } else { format!("[{key:?}]") }
}
