//! QuickJS with a script in it.
use crate::document;
use crate::fault::Thrown;
use crate::host::Host;
use crate::native;
use crate::script::Script;
use matterstack_sdk::Error;
use rquickjs::context::EvalOptions;
use rquickjs::function::{Args, MutFn};
use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::Declared;
use rquickjs::{Context, Ctx, Function, Module, Object, Runtime, Value as Js};
use serde_json::Value;
use std::collections::BTreeMap;
use std::rc::Rc;

/// The module that scripts import.
const MATTERSTACK: &str = "matterstack";
/// The module between the script and the contract.
const GLUE: &str = "matterstack:runner";
/// What stands before a text that is no module.
pub(crate) const COMMON: &str = "(function (exports, require, module) {";
/// Bytes of WebAssembly's own stack, which has a mebibyte, that a script may use. The machine's, which nobody in here
/// can look at, is forty times that in the host: whatever calls itself meets this limit first, and it is the same
/// everywhere.
const STACK_BYTES: usize = 700_000;

/// Calls a function of the glue with the script in its first argument; returns the document that it answers, which is
/// called `answer` in sentences.
pub(crate) fn call(
    script: &Script,
    host: &Rc<dyn Host>,
    function: &str,
    documents: &[Option<&str>],
) -> Result<Option<Value>, Error> {
    let runtime = Runtime::new().map_err(broken)?;
    runtime.set_max_stack_size(STACK_BYTES);
    runtime.set_loader(Modules::of(script), Modules::of(script));
    let context = Context::full(&runtime).map_err(broken)?;
    context.with(|ctx| {
        let answered = answer(&ctx, script, host, function, documents);
        answered.map_err(|unfit| match unfit {
            document::Unfit::At(message) => bad_answer(script, function, &message),
            document::Unfit::Engine(why) => Error::other("engine", format!("QuickJS refuses `{}`: {why}", script.path)),
            document::Unfit::Thrown => {
                let (error, trace) = Thrown::catch(&ctx).error(&script.texts);
                host.log("error", &trace);
                error
            }
        })
    })
}

/// An error that says what is wrong with the answer of a function.
pub(crate) fn bad_answer(script: &Script, function: &str, why: &str) -> Error {
    Error::other("bad-answer", format!("`{function}` of `{}` answers what cannot be meant so: {why}", script.path))
}

fn broken(error: rquickjs::Error) -> Error {
    Error::other("engine", format!("QuickJS does not start: {error}"))
}

fn answer(
    ctx: &Ctx<'_>,
    script: &Script,
    host: &Rc<dyn Host>,
    function: &str,
    documents: &[Option<&str>],
) -> Result<Option<Value>, document::Unfit> {
    let (glue, loaded) = Module::declare(ctx.clone(), GLUE, include_str!("glue.js"))?.eval()?;
    loaded.finish::<()>()?;
    let glue = glue.namespace()?;
    let functions = native::functions(ctx, host)?;
    functions.set("load", required(ctx, Modules::of(script))?)?;
    glue.get::<_, Function<'_>>("begin")?.call::<_, ()>((functions,))?;
    let found = load(ctx, script, &glue)?;
    let mut arguments = Args::new(ctx.clone(), documents.len() + 1);
    arguments.push_arg(found)?;
    for document in documents {
        arguments.push_arg(match document {
            Some(text) => ctx.json_parse(*text)?,
            None => Js::new_null(ctx.clone()),
        })?;
    }
    let answer: Js<'_> = glue.get::<_, Function<'_>>(function)?.call_arg(arguments)?;
    document::of("answer", settled(ctx, answer)?)
}

/// What a promise comes to once all that it waits for has run.
fn settled<'js>(ctx: &Ctx<'js>, value: Js<'js>) -> rquickjs::Result<Js<'js>> {
    match value.as_promise() {
        Some(promise) => match promise.finish() {
            Err(rquickjs::Error::WouldBlock) => Err(rquickjs::Exception::throw_message(
                ctx,
                "the script waits for a promise that nothing will ever settle: there are no timers and no network here",
            )),
            settled => settled,
        },
        None => Ok(value),
    }
}

/// Loads the script; returns its functions.
fn load<'js>(ctx: &Ctx<'js>, script: &Script, glue: &Object<'js>) -> rquickjs::Result<Js<'js>> {
    let text = &script.texts[&script.path];
    let names: String = glue.get("names")?;
    let names = names.split(' ').map(|name| format!("{name}: typeof {name} === 'function' ? {name} : undefined"));
    let last = format!("\n;globalThis[Symbol.for('{GLUE}')]({{ {} }});", names.collect::<Vec<_>>().join(", "));
    if is_module(text) {
        let (module, loaded) = Module::declare(ctx.clone(), script.path.as_str(), format!("{text}{last}"))?.eval()?;
        settled(ctx, loaded.into_value())?;
        return glue.get::<_, Function<'js>>("found")?.call((module.namespace()?,));
    }
    let body = common(ctx, &script.path, &format!("{text}{last}"))?;
    glue.get::<_, Function<'js>>("common")?.call((script.path.as_str(), body))
}

/// The function that a text is which is no module.
fn common<'js>(ctx: &Ctx<'js>, path: &str, text: &str) -> rquickjs::Result<Function<'js>> {
    let mut options = EvalOptions::default();
    (options.filename, options.strict) = (Some(path.to_owned()), false);
    ctx.eval_with_options(format!("{COMMON}{text}\n}})"), options)
}

/// What `require` is given: the path of a file beside another, with its function or document.
fn required<'js>(ctx: &Ctx<'js>, modules: Modules) -> rquickjs::Result<Function<'js>> {
    let mut modules = modules;
    Function::new(
        ctx.clone(),
        MutFn::new(move |ctx: Ctx<'js>, base: String, name: String| {
            let path = modules.resolve(&ctx, &base, &name, None)?;
            let text = &modules.0[&path];
            let file = Object::new(ctx.clone())?;
            match path.ends_with(".json") {
                true => file.set("json", ctx.json_parse(text.as_str())?)?,
                false => file.set("body", common(&ctx, &path, text)?)?,
            }
            file.set("path", path)?;
            Ok::<_, rquickjs::Error>(file)
        }),
    )
}

/// Whether a text is a module by its own words: it imports or exports.
pub(crate) fn is_module(text: &str) -> bool {
    text.split(['\n', ';', '}']).any(|statement| {
        ["import", "export"].iter().any(|word| {
            let rest = statement.trim_start().strip_prefix(word);
            rest.is_some_and(|rest| rest.starts_with([' ', '\t', '{', '*', '"', '\'']))
        })
    })
}

/// The modules that a script can import.
#[derive(Clone)]
struct Modules(Rc<BTreeMap<String, String>>);

impl Modules {
    fn of(script: &Script) -> Self {
        Self(Rc::new(script.texts.clone()))
    }

    fn absent(&self, base: &str, name: &str) -> String {
        let there: Vec<String> =
            self.0.keys().filter(|path| path.as_str() != base).map(|path| format!("`{path}`")).collect();
        let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
        format!(
            "`{base}` imports `{name}`, which is no module of it; `modules` in the configuration (`campaign.modules`, \
             `operators.KEY.modules`) names {there}. A package of npm is bundled into the script, by \
             `esbuild --bundle`; there are no files, network or programs to import"
        )
    }
}

impl Resolver for Modules {
    fn resolve<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        base: &str,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<String> {
        if name == MATTERSTACK {
            return Ok(name.to_owned());
        }
        let path = beside(base, name).filter(|path| self.0.contains_key(path));
        path.ok_or_else(|| rquickjs::Exception::throw_message(ctx, &self.absent(base, name)))
    }
}

/// The path of what a file imports.
fn beside(base: &str, name: &str) -> Option<String> {
    if !name.starts_with("./") && !name.starts_with("../") {
        return None;
    }
    let mut parts: Vec<&str> = base.split('/').collect();
    parts.pop();
    for part in name.split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

impl Loader for Modules {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<Module<'js, Declared>> {
        if name == MATTERSTACK {
            return Module::declare(ctx.clone(), name, include_str!("../../../sdk/javascript/matterstack.js"));
        }
        let text = self.0.get(name).ok_or_else(|| rquickjs::Error::new_loading(name))?;
        match name.ends_with(".json") {
            true => Module::declare(ctx.clone(), name, format!("export default {text}")),
            false => Module::declare(ctx.clone(), name, text.as_str()),
        }
    }
}
