//! `schedule`: what lets cron or systemd advance runs, as text to take over.
use super::Session;
use super::output::{print, print_json};
use crate::failure::Failure;
use crate::ground::words::quoted;
use serde_json::json;

pub(super) fn schedule(session: &Session, run: Option<&str>) -> Result<u8, Failure> {
    let program = std::env::current_exe().map_err(|error| Failure::machine("the place of this program", error))?;
    let root = session.workspaces()?.root().display().to_string();
    let which = match run {
        Some(name) => quoted(session.run(name)?.address()),
        None => "--all".to_owned(),
    };
    let command = format!("{} --workspaces {}", quoted(&program.display().to_string()), quoted(&root));
    // one that finds another at work leaves the run alone
    let driven = format!("{command} loop {which} --timeout 4m");
    let cron = format!("*/5 * * * * {}\n", driven.replace('%', "\\%"));
    let service = format!(
        "[Unit]\nDescription=Advances runs of matterstack\n\n[Service]\nType=oneshot\nExecStart={}\n\
         # jobs outlive the tick that starts them\nKillMode=process\n# waiting, busy and a run that failed are no trouble\nSuccessExitStatus=1 3 5 6\n",
        driven.replace('%', "%%")
    );
    let timer = "[Unit]\nDescription=Advances runs of matterstack\n\n[Timer]\nOnBootSec=1min\nOnUnitInactiveSec=1min\n\n\
                 [Install]\nWantedBy=timers.target\n";
    if session.json {
        return print_json(&json!({"cron": cron, "service": service, "timer": timer})).map(|()| 0);
    }
    print(&format!(
        "# With cron: a line of `crontab -e`, for four of every five minutes\n{cron}\n\
         # With systemd: ~/.config/systemd/user/matterstack.service\n{service}\n\
         # ~/.config/systemd/user/matterstack.timer\n{timer}\n\
         # then: systemctl --user enable --now matterstack.timer; loginctl enable-linger keeps it going when you log out\n"
    ))
    .map(|()| 0)
}
