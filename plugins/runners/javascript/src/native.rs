//! The functions that the glue calls.
use crate::document;
use crate::host::Host;
use crate::outside;
use matterstack_sdk::{Error, Value, json};
use rquickjs::{Ctx, Function, IntoJs, Object, TypedArray, Value as Js};
use std::rc::Rc;

/// What a call gave, or an object that says why it failed.
fn given<'js>(ctx: &Ctx<'js>, value: Result<impl IntoJs<'js>, Error>) -> rquickjs::Result<Js<'js>> {
    match value {
        Ok(value) => value.into_js(ctx),
        Err(error) => answered(ctx, Err(error)),
    }
}

fn refusal(error: &Error) -> Value {
    let (kind, after) = match error {
        Error::Invalid(_) => ("invalid", None),
        Error::Rejected(_) => ("rejected", None),
        Error::Transient(_, after) => ("transient", *after),
        Error::Denied(_) => ("denied", None),
        Error::Ambiguous(_) => ("ambiguous", None),
        Error::Other(_) => ("other", None),
    };
    let detail = error.detail();
    let said = json!({"kind": kind, "code": detail.code, "message": detail.message, "data": detail.data,
        "retry_after_ms": after});
    json!({"refusal": said})
}

/// An object with all of them.
pub(crate) fn functions<'js>(ctx: &Ctx<'js>, host: &Rc<dyn Host>) -> rquickjs::Result<Object<'js>> {
    let functions = Object::new(ctx.clone())?;
    files(&functions, host)?;
    run(&functions, host)?;
    texts(&functions)?;
    backends(&functions, host)?;
    Ok(functions)
}

fn files<'js>(functions: &Object<'js>, host: &Rc<dyn Host>) -> rquickjs::Result<()> {
    let ctx = functions.ctx().clone();
    let of = host.clone();
    functions.set(
        "read",
        Function::new(ctx.clone(), move |ctx: Ctx<'js>, digest: String, size: f64| {
            let bytes = crate::host::read_all(&*of, &digest, size as u64);
            given(&ctx, bytes.map(|bytes| TypedArray::<u8>::new(ctx.clone(), bytes)))
        })?,
    )?;
    let of = host.clone();
    functions.set(
        "write",
        Function::new(ctx.clone(), move |ctx: Ctx<'js>, bytes: TypedArray<'js, u8>| {
            given(&ctx, of.write(&copied(&bytes)))
        })?,
    )?;
    let of = host.clone();
    functions.set(
        "log",
        Function::new(ctx, move |level: String, message: rquickjs::String<'js>| {
            of.log(&level, &document::words(message.as_value()).unwrap_or_default());
        })?,
    )
}

fn run<'js>(functions: &Object<'js>, host: &Rc<dyn Host>) -> rquickjs::Result<()> {
    let ctx = functions.ctx().clone();
    let of = host.clone();
    functions.set("run_id", Function::new(ctx.clone(), move || of.run_id())?)?;
    let of = host.clone();
    functions.set("params", Function::new(ctx.clone(), move |ctx: Ctx<'js>| ctx.json_parse(of.params()))?)?;
    let of = host.clone();
    functions.set("inputs", Function::new(ctx.clone(), move |ctx: Ctx<'js>| ctx.json_parse(of.inputs()))?)?;
    let of = host.clone();
    functions.set(
        "supplied",
        Function::new(ctx.clone(), move |ctx: Ctx<'js>| match of.supplied() {
            Some(text) => ctx.json_parse(text),
            None => Ok(Js::new_null(ctx)),
        })?,
    )?;
    let of = host.clone();
    functions.set(
        "open_tasks",
        Function::new(ctx, move |after: Option<String>, max: u32| of.open_tasks(after.as_deref(), max))?,
    )
}

/// The compute systems that the host owns, and the call's own life.
fn backends<'js>(functions: &Object<'js>, host: &Rc<dyn Host>) -> rquickjs::Result<()> {
    let ctx = functions.ctx().clone();
    let of = host.clone();
    functions.set("time_left_ms", Function::new(ctx.clone(), move || of.time_left_ms() as f64)?)?;
    let of = host.clone();
    functions.set("cancelled", Function::new(ctx.clone(), move || of.cancelled())?)?;
    let of = host.clone();
    functions.set("backends", Function::new(ctx.clone(), move || of.backends())?)?;
    let of = host.clone();
    let submit = move |backend: &str, job: &str| Ok(outside::of_submitted(&of.submit(backend, job)?));
    functions.set("submit", with_document(&ctx, "job", submit)?)?;
    let of = host.clone();
    let status = move |backend: &str, handle: &str| Ok(outside::of_report(&of.status(backend, handle)?));
    functions.set("status", with_document(&ctx, "handle", status)?)?;
    let of = host.clone();
    let collect = move |backend: &str, handle: &str| Ok(serde_json::from_str(&of.collect(backend, handle)?)?);
    functions.set("collect", with_document(&ctx, "handle", collect)?)?;
    let of = host.clone();
    let cancel = move |backend: &str, handle: &str| of.cancel(backend, handle).map(|()| Value::Null);
    functions.set("cancel", with_document(&ctx, "handle", cancel)?)?;
    let of = host.clone();
    let find =
        move |ctx: Ctx<'js>, backend: String| answered(&ctx, of.find(&backend).map(|found| outside::of_found(&found)));
    functions.set("find", Function::new(ctx.clone(), find)?)
}

/// A function of a backend's name and a document, which is called `name` in sentences.
fn with_document<'js>(
    ctx: &Ctx<'js>,
    name: &'static str,
    call: impl Fn(&str, &str) -> Result<Value, Error> + 'js,
) -> rquickjs::Result<Function<'js>> {
    Function::new(ctx.clone(), move |ctx: Ctx<'js>, backend: String, given: Js<'js>| {
        let document = match document::of(name, given) {
            Ok(document) => document.unwrap_or_default(),
            Err(document::Unfit::At(why) | document::Unfit::Engine(why)) => {
                return Err(rquickjs::Exception::throw_type(&ctx, &why));
            }
            Err(document::Unfit::Thrown) => return Err(rquickjs::Error::Exception),
        };
        answered(&ctx, call(&backend, &document.to_string()))
    })
}

/// A document that a call gave, or an object that says why it failed.
fn answered<'js>(ctx: &Ctx<'js>, value: Result<Value, Error>) -> rquickjs::Result<Js<'js>> {
    ctx.json_parse(value.unwrap_or_else(|error| refusal(&error)).to_string())
}

/// What text is in bytes, and bytes are as text.
fn texts<'js>(functions: &Object<'js>) -> rquickjs::Result<()> {
    let ctx = functions.ctx().clone();
    functions.set(
        "encode",
        Function::new(ctx.clone(), |ctx: Ctx<'js>, text: String| TypedArray::<u8>::new(ctx, text.into_bytes()))?,
    )?;
    functions.set("decode", Function::new(ctx, |bytes: TypedArray<'js, u8>| String::from_utf8(copied(&bytes)).ok())?)
}

/// The bytes of an array.
#[allow(unsafe_code, reason = "nothing of the script runs, and could change or free them, while they are copied")]
fn copied(bytes: &TypedArray<'_, u8>) -> Vec<u8> {
    unsafe { bytes.as_bytes() }.map(<[u8]>::to_vec).unwrap_or_default()
}
