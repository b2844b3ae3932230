//! To whom news may go. A workspace may be somebody else's text, so an address on the web counts only where its origin
//! stands in the user's own settings.
use super::layers::Wrong;
use super::{read_document, read_file};
use crate::failure::Failure;
use crate::model::config::RunConfig;
use crate::model::notify::{is_mail_address, origin_of};
use serde_json::Value;
use std::path::Path;

/// Refuses addresses that are none, and a section that tells nobody.
pub(super) fn check(config: &RunConfig) -> Result<(), Wrong> {
    let Some(notify) = &config.notify else { return Ok(()) };
    let wrong = |key: &str, why: &str| Wrong::new(&format!("notify.{key}"), format!("notify.{key} {why}"));
    if notify.command.as_ref().is_some_and(|command| command.first().is_none_or(String::is_empty)) {
        return Err(
            wrong("command", "names no program").hint("write a program and its arguments, such as [\"./tell.sh\"]")
        );
    }
    if notify.command.iter().flatten().any(|word| word.contains('\0')) {
        return Err(wrong("command", "holds a NUL character, which no command can"));
    }
    if let Some(address) = notify.webhook.as_ref().filter(|address| origin_of(address).is_none()) {
        let why = format!("is `{}`, which is no plain address of the web", address.escape_debug());
        return Err(
            wrong("webhook", &why).hint("write `https://HOST/PATH` or `http://HOST/PATH`, without a user's name in it")
        );
    }
    if let Some(address) = notify.mail.as_ref().filter(|address| !is_mail_address(address)) {
        let why = format!("is `{}`, which is not one address of mail", address.escape_debug());
        return Err(wrong("mail", &why).hint("write it as `me@example.org`"));
    }
    if notify.command.is_none() && notify.webhook.is_none() && notify.mail.is_none() {
        return Err(Wrong::new("notify", "notify says nobody to tell").hint("give `command`, `webhook` or `mail`"));
    }
    Ok(())
}

/// The origins to which a person's own settings let runs send news: those that are listed, and that of a webhook which
/// stands there itself.
///
/// # Errors
/// If the settings cannot be read, or list what is no origin.
pub fn granted_origins(user: Option<&Path>) -> Result<Vec<String>, Failure> {
    let Some(path) = user.filter(|path| path.exists()) else { return Ok(Vec::new()) };
    let value = read_document(&read_file(path)?, &path.display().to_string())?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let listed = value.pointer("/notify/origins").and_then(Value::as_array).into_iter().flatten().filter_map(text);
    let own = value.pointer("/notify/webhook").and_then(text);
    let origin = |address: String| {
        origin_of(&address).ok_or_else(|| {
            Failure::input(format!("`{}` in `notify` of `{}` is no origin", address.escape_debug(), path.display()))
                .hint("write it as `https://hooks.example.org`")
        })
    };
    listed.chain(own).map(origin).collect()
}

/// Refuses an address on the web that nobody granted, and takes the grants out, which no run keeps.
pub(super) fn grant(config: &mut RunConfig, user: Option<&Path>) -> Result<Result<(), Wrong>, Failure> {
    let Some(notify) = &mut config.notify else { return Ok(Ok(())) };
    let granted = granted_origins(user)?;
    let given = std::mem::take(&mut notify.origins);
    let foreign = |address: &&String| origin_of(address).is_none_or(|origin| !granted.contains(&origin));
    if let Some(origin) = given.iter().find(foreign) {
        let what = format!("notify.origins has `{}`, and only your own settings grant origins", origin.escape_debug());
        return Ok(Err(Wrong::new("notify.origins", what).hint(place_of_grants(user, origin))));
    }
    // one that is no address is refused for that
    if let Some(origin) = notify.webhook.as_deref().and_then(origin_of).filter(|origin| !granted.contains(origin)) {
        let what = format!("notify.webhook sends to `{}`, which your own settings do not grant", origin.escape_debug());
        return Ok(Err(Wrong::new("notify.webhook", what).hint(place_of_grants(user, &origin))));
    }
    if notify.command.is_none() && notify.webhook.is_none() && notify.mail.is_none() && !given.is_empty() {
        config.notify = None;
    }
    Ok(Ok(()))
}

fn place_of_grants(user: Option<&Path>, origin: &str) -> String {
    let place = user.map_or_else(|| "~/.config/matterstack/config.json".to_owned(), |path| path.display().to_string());
    format!("write {{\"notify\": {{\"origins\": [\"{}\"]}}}} into `{place}`", origin.escape_debug())
}
