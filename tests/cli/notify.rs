//! A person is told once of what only a person can move, of what failed for good and of what lasts, by each of the
//! kinds that the configuration names.
use crate::support::until;
use crate::support::world::{World, tasks_config};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::{Receiver, channel};

/// What a program of the workspace does that keeps what it is told.
const KEEP: [&str; 3] = ["sh", "-c", "cat >> ../../news.jsonl; echo >> ../../news.jsonl"];

fn world(notify: &Value) -> World {
    let mut config = tasks_config(&json!([{"id": "a", "operator": "local", "command": "exit 3"}]));
    config["notify"] = notify.clone();
    World::new(&config)
}

/// The documents that were kept, once there are so many.
fn kept(world: &World, many: usize) -> Vec<Value> {
    let text = || std::fs::read_to_string(world.workspace().join("news.jsonl")).unwrap_or_default();
    until("the news", || text().ends_with('\n') && text().lines().count() >= many);
    text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn topics(document: &Value) -> Vec<String> {
    let word = |news: &Value| {
        format!(
            "{} {}={}",
            news["topic"].as_str().unwrap_or("?"),
            news["task"].as_str().unwrap_or("-"),
            news["state"].as_str().unwrap_or("?")
        )
    };
    document["news"].as_array().expect("news").iter().map(word).collect()
}

#[test]
fn the_end_of_a_run_and_a_failure_for_good_are_told_once() {
    let world = world(&json!({"command": KEEP}));
    world.init();
    assert_eq!(world.step_to_end()["state"], "failed");
    kept(&world, 1);
    for _ in 0..3 {
        world.run(&["step", "r"]).code(1);
    }
    let lines = kept(&world, 1);
    let all: Vec<String> = lines.iter().flat_map(topics).collect();
    let mut sorted = all.clone();
    sorted.sort();
    assert_eq!(sorted, ["failed a=exit-code", "run -=failed"], "{lines:?}");
    let last = lines.last().expect("news");
    assert_eq!((last["run_id"].as_str(), last["state"].as_str()), (Some("r"), Some("failed")));
    let directory = world.run_dir("r").canonicalize().expect("a directory");
    assert_eq!(last["directory"], directory.display().to_string());
    assert_eq!(last["machine"], rustix::system::uname().nodename().to_string_lossy().into_owned());
    // the command works as it stands, from anywhere
    let failed = lines.iter().flat_map(|line| line["news"].as_array().expect("news")).find(|news| news["task"] == "a");
    let command = failed.expect("the failure")["command"].as_str().expect("a command").to_owned();
    let told = world.run(&command.split(' ').skip(1).collect::<Vec<_>>()).code(0);
    assert!(told.stdout.contains("exit-code"), "{told:?}");
}

#[test]
fn a_failure_that_the_campaign_expects_or_that_is_tried_again_is_no_news() {
    let mut config = tasks_config(&json!([
        {"id": "may", "operator": "local", "command": "exit 3", "allow_failure": true},
        {"id": "again", "operator": "local", "command": "test -e ../../../ok || { touch ../../../ok; exit 1; }",
         "retry": {"max_attempts": 2, "backoff_s": 0}},
    ]));
    config["notify"] = json!({"command": KEEP});
    let world = World::new(&config);
    world.init();
    world.run(&["loop", "r"]).code(0);
    let lines = kept(&world, 1);
    assert_eq!(lines.iter().flat_map(topics).collect::<Vec<_>>(), ["run -=completed"], "{lines:?}");
}

#[test]
fn a_question_is_told_with_its_instructions_and_the_command_and_again_once_when_it_lasts() {
    let question = |after_s: u64| {
        let input = json!({"instructions": "# Look\n\nIs it red?"});
        let mut config = tasks_config(&json!([{"id": "look at it", "operator": "human", "input": input},
            {"id": "big", "operator": "guarded", "command": "true"}]));
        config["operators"]["human"] = json!({"plugin": "builtin:human"});
        config["operators"]["guarded"] =
            json!({"plugin": "builtin:compute", "grants": {"compute": ["local"]}, "approve": {"by": ["root"]}});
        config["notify"] = json!({"command": KEEP, "after_s": after_s});
        let world = World::new(&config);
        world.init();
        world.run(&["step", "r"]).code(0);
        world
    };
    let world = question(86_400);
    let told = kept(&world, 1);
    assert_eq!(topics(&told[0]), ["waits look at it=person", "waits big=approval"]);
    let news = &told[0]["news"][0];
    assert_eq!(news["instructions"], "# Look\n\nIs it red?");
    let directory = world.run_dir("r").canonicalize().expect("a directory").display().to_string();
    assert_eq!(news["command"], format!("matterstack respond {directory} 'look at it'"));
    assert_eq!(told[0]["news"][1]["command"], format!("matterstack respond {directory} big --approve"));
    assert!(news["since"].is_string(), "{news}");
    world.run(&["amend", "r", "config", "notify.after_s=0"]).code(0);
    for _ in 0..3 {
        world.run(&["step", "r"]).code(0);
    }
    let told = kept(&world, 2);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(topics(&told[1]), ["lasts look at it=person", "lasts big=approval"]);
    world.run(&["doctor", "r"]).code(0);
}

#[test]
fn a_program_that_cannot_be_started_is_said_and_costs_nothing() {
    let missing = world(&json!({"command": ["no-such-program"]}));
    missing.init();
    let done = missing.run(&["loop", "r"]).code(1);
    assert!(done.stderr.contains("notification program `no-such-program` not found"), "{done:?}");
    assert_eq!(missing.status()["state"], "failed");
    let failing = world(&json!({"command": ["sh", "-c", "echo no such list >&2; exit 7"]}));
    failing.init();
    failing.run(&["loop", "r"]).code(1);
    logged(&failing, &["`sh` ended with exit status: 7: no such list"]);
}

/// Waits until the run's log says all this.
fn logged(world: &World, words: &[&str]) {
    let log = || world.run(&["logs", "r"]).code(0).stdout;
    until("the log", || {
        let log = log();
        words.iter().all(|word| log.contains(word))
    });
    assert!(log().contains("error notify: "), "{}", log());
}

/// Answers one request after another with a status; hands over the head and the body of each.
fn server(status: &'static str) -> (String, Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.expect("a connection"));
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).expect("a line");
                if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = text.trim().parse().expect("a length");
                }
                if line.trim().is_empty() {
                    break;
                }
                head += &line;
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).expect("a body");
            write!(stream.get_mut(), "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .expect("an answer");
            if sender.send((head, String::from_utf8(body).expect("UTF-8"))).is_err() {
                return;
            }
        }
    });
    (origin, receiver)
}

/// Puts settings of the user's own in place.
fn own(world: &World, settings: &Value) {
    let place = world.root().join("../.config/matterstack");
    std::fs::create_dir_all(&place).expect("a directory");
    std::fs::write(place.join("config.json"), settings.to_string()).expect("settings");
}

#[test]
fn a_webhook_is_sent_where_the_users_own_settings_grant_its_origin_and_nowhere_else() {
    let (origin, posts) = server("200 OK");
    let address = format!("{origin}/hook?x=%22\u{24}{{1}}").replace(['{', '}'], "");
    let world = world(&json!({"webhook": address}));
    let refused = world.run(&["init", "demo", "--run-id", "r"]).code(2);
    assert!(refused.stderr.contains(&origin) && refused.stderr.contains("notify.webhook"), "{refused:?}");
    assert!(refused.stderr.contains("\"origins\""), "{refused:?}");
    // a workspace cannot grant it to itself
    let set = format!("notify.origins=[\"{origin}\"]");
    let refused = world.run(&["init", "demo", "--run-id", "r", "--set", &set]).code(2);
    assert!(refused.stderr.contains("only your own settings grant origins"), "{refused:?}");
    own(&world, &json!({"notify": {"origins": [origin]}}));
    world.init();
    world.run(&["loop", "r"]).code(1);
    let mut all = Vec::new();
    while !all.iter().any(|one: &Value| one["state"] == "failed") {
        let (head, body) = posts.recv_timeout(std::time::Duration::from_secs(60)).expect("a request");
        assert!(head.starts_with("POST /hook?x=%22$1 HTTP/1.1"), "{head}");
        assert!(head.to_ascii_lowercase().contains("content-type: application/json"), "{head}");
        all.push(serde_json::from_str::<Value>(&body).expect("JSON"));
    }
    assert!(all.iter().flat_map(topics).any(|news| news == "run -=failed"), "{all:?}");
    let kept = std::fs::read_to_string(world.run_dir("r").join("config.json")).expect("a configuration");
    assert!(!kept.contains("origins"), "a run carries no grants: {kept}");
    // the grant is looked at when it is sent, too
    own(&world, &json!({}));
    world.run(&["resume", "r"]).code(0);
    world.run(&["loop", "r"]).code(1);
    logged(&world, &["is not among the `notify.origins` of your own settings"]);
    let refused = world.run(&["amend", "r", "config", "notify.webhook=https://evil.example.org/"]).code(2);
    assert!(refused.stderr.contains("https://evil.example.org"), "{refused:?}");
}

#[test]
fn a_server_that_refuses_and_one_that_is_not_there_are_logged_and_cost_nothing() {
    let (refusing, posts) = server("500 No");
    let gone = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let gone = format!("http://{gone}");
    for (origin, word) in [(&refusing, "500"), (&gone, "curl")] {
        let world = world(&json!({"webhook": format!("{origin}/secret-path")}));
        own(&world, &json!({"notify": {"origins": [origin]}}));
        world.init();
        world.run(&["loop", "r"]).code(1);
        logged(&world, &[&format!("the news was not sent to `{origin}`"), word]);
        let log = world.run(&["logs", "r"]).code(0).stdout;
        assert!(!log.contains("secret-path"), "an address may be a secret: {log}");
    }
    assert!(posts.try_recv().is_ok());
}

#[test]
fn mail_goes_through_sendmail_and_beside_it_the_other_kinds() {
    let world = world(&json!({"mail": "me@example.org", "command": KEEP}));
    let bin = world.root().join("../bin");
    std::fs::create_dir_all(&bin).expect("a directory");
    let place = bin.join("sendmail");
    let script = "#!/bin/sh\necho \"$@\" > ../../arguments\ncat > ../../.mail && mv ../../.mail ../../mail-$$\n";
    std::fs::write(&place, script).expect("a program");
    std::fs::set_permissions(&place, PermissionsExt::from_mode(0o755)).expect("ours");
    let path = format!("{}:{}", bin.display(), crate::support::path());
    world.init();
    world.run_with(&["loop", "r"], &[("PATH", &path)]).code(1);
    let mails = || {
        let all = std::fs::read_dir(world.workspace()).expect("files").flatten();
        let mails = all.filter(|entry| entry.file_name().to_string_lossy().starts_with("mail-"));
        mails.map(|entry| std::fs::read_to_string(entry.path()).expect("a mail")).collect::<Vec<_>>()
    };
    until("the mail", || mails().iter().any(|mail| mail.contains("the run: failed")));
    let mail = mails().into_iter().find(|mail| mail.contains("the run: failed")).expect("a mail");
    assert!(mail.starts_with("To: me@example.org\nSubject: MatterStack: run r of demo is failed\n"), "{mail}");
    assert!(mail.contains("command: matterstack explain "), "{mail}");
    assert_eq!(std::fs::read_to_string(world.workspace().join("arguments")).expect("arguments"), "-t -i\n");
    kept(&world, 1);
}

#[test]
fn a_section_that_tells_nobody_or_somebody_else_is_refused() {
    for (notify, word) in [
        (json!({}), "notify says nobody to tell"),
        (json!({"command": []}), "notify.command names no program"),
        (json!({"webhok": "https://a.org"}), "webhook"),
        (json!({"webhook": "ftp://a.org/x"}), "no plain address of the web"),
        (json!({"webhook": "https://a.org\r\nX: y"}), "no plain address of the web"),
        (json!({"webhook": "https://user@a.org/"}), "no plain address of the web"),
        (json!({"mail": "me@example.org\nBcc: you@example.org"}), "not one address of mail"),
        (json!({"mail": "a@b, c@d"}), "not one address of mail"),
        (json!({"mail": "me@example.org", "after_s": -1}), "a number of seconds"),
    ] {
        let refused = world(&notify).run(&["init", "demo", "--run-id", "r"]).code(2);
        assert!(refused.stderr.contains(word), "{notify}: {refused:?}");
    }
}
