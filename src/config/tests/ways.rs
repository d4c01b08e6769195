//! `[webhook.NAME]` and `[command.NAME]`.

use super::*;

fn world(ways: &str) -> World {
    World::toml(&format!("{ways}\n[targets]\na = \"192.0.2.1\"\n"))
}

#[track_caller]
fn said(config: &Config, way: &str) -> Vec<String> {
    let found = config.ways.iter().find(|found| found.way.name == way).expect(way);
    found.said.iter().map(|(key, said)| format!("{key}: {} ({})", said.value, said.origin)).collect()
}

#[test]
fn a_webhook_and_a_command_are_read() {
    let config = world(
        "[webhook.slack]\nurl_file = \"slack-url\"\ntemplate = \"slack\"\n\
         [webhook.own]\nurl = \"https://h.example/x/hush\"\nbody = '''{\"t\": {{token}},\n\"s\": \"{{subject}}\"}'''\n\
         token_file = \"token\"\nheaders = { \"X-Y\" = \"z\" }\n\
         [command.pager]\nrun = [\"/usr/bin/pager\", \"--\", \"{{target}}\"]\ntimeout = \"5s\"",
    )
    .file("slack-url", "https://hooks.slack.com/services/hush\n")
    .file("token", "hush\r\n")
    .config();
    assert_eq!(
        said(&config, "webhook:slack"),
        ["url_file: https://hooks.slack.com/*** (latmon.toml:2)", "template: slack (latmon.toml:3)"]
    );
    assert_eq!(
        said(&config, "webhook:own"),
        [
            "url: https://h.example/*** (latmon.toml:5)",
            "body: of its own (latmon.toml:6)",
            "headers: X-Y: *** (latmon.toml:9)",
            "token_file: *** (latmon.toml:8)"
        ]
    );
    assert_eq!(
        said(&config, "command:pager"),
        ["run: /usr/bin/pager -- {{target}} (latmon.toml:11)", "timeout: 5s (latmon.toml:12)"]
    );
    assert_eq!(config.warnings, [""; 0]);
    assert!(!format!("{config:?}").contains("hush"));
}

#[test]
fn what_will_not_do_is_told_with_its_place_and_without_any_secret() {
    let hook = |more: &str| world(&format!("[webhook.a]\n{more}")).error();
    let url = "url = \"https://h/hush\"\n";
    for (error, expected) in [
        (hook("template = \"slack\""), "latmon.toml:1: [webhook.a] has neither 'url' nor 'url_file'"),
        (hook(url), "latmon.toml:1: [webhook.a] has neither 'template' nor 'body'"),
        (
            hook(&format!("{url}url_file = \"b\"\ntemplate = \"slack\"")),
            "latmon.toml:1: [webhook.a] has 'url' and also 'url_file': keep one of them",
        ),
        (
            hook(&format!("{url}template = \"slak\"")),
            "latmon.toml:3: template: 'slak' will not do: write slack, ntfy, teams, alertmanager or plain, or a 'body' of \
             your own",
        ),
        (
            hook(&format!("{url}body = '''\n{{\"a\": \"{{{{sujet}}}}\"}}'''")),
            "latmon.toml:3: [webhook.a] body: unknown placeholder '{{sujet}}' in line 1 of it: did you mean '{{subject}}'?",
        ),
        (
            hook(&format!("{url}body = '{{'")),
            "latmon.toml:3: [webhook.a] body: is no JSON once it is filled in: EOF while parsing an object at line 1 \
             column 1",
        ),
        (
            hook("url = \"http://h/hush\"\ntemplate = \"plain\""),
            "latmon.toml:2: [webhook.a] url: http:// lets everybody on the way read it: write https://, or tls = \"none\" \
             where you mean it",
        ),
        (
            hook("url = \"hush\"\ntemplate = \"plain\""),
            "latmon.toml:2: [webhook.a] url: write a URL, as https://hooks.example.org/services/SECRET",
        ),
        (
            hook(&format!("{url}template = \"plain\"\nheaders = {{ X = \"hush\\n\" }}")),
            "latmon.toml:4: [webhook.a] headers: the header 'X' has a value that no header may have",
        ),
        (
            hook(&format!("{url}template = \"plain\"\ntoken_file = \"missing\"")),
            "latmon.toml:4: cannot read WORK/missing: no such file",
        ),
        (
            hook(&format!("{url}tempate = \"plain\"")),
            "latmon.toml:3: unknown key 'tempate' in [webhook.a]: did you mean 'template'?",
        ),
        (
            world("[webhook.\"a b\"]").error(),
            "latmon.toml:1: [webhook.a b] needs a name of 1 to 40 letters, digits, - and _",
        ),
        (
            world("[command.a]").error(),
            "latmon.toml:1: [command.a] has no 'run', as [\"/usr/local/bin/pager\", \"{{target}}\"]",
        ),
        (
            world("[command.a]\nrun = [\"pager\"]").error(),
            "latmon.toml:2: [command.a] run: begin with the whole path of the program, as \"/usr/local/bin/pager\"",
        ),
        (
            world("[command.a]\nrun = [\"/x\"]\ntimeout = \"1h\"").error(),
            "latmon.toml:3: timeout: '1h' will not do: write a duration from 1s to 10m, as 30s",
        ),
    ] {
        assert_eq!(error, expected);
    }
}

/// A target called `-rf` must not become an option of somebody's program.
#[test]
fn a_name_that_looks_like_an_option_is_noticed() {
    let world = |words: &str| {
        World::toml(&format!("[command.a]\nrun = [\"/x\", {words}]\n[targets]\n\"-rf\" = \"192.0.2.1\"\n"))
    };
    assert_eq!(
        world("\"{{target}}\"").error(),
        "latmon.toml:1: [command.a] run: '{{target}}' would be an option where '-rf' is told: write \"--\" before it, or \
         \"--name={{target}}\""
    );
    world("\"--\", \"{{target}}\"").config();
    world("\"--target={{target}}\"").config();
}

#[test]
fn what_everybody_may_read_is_said() {
    use std::os::unix::fs::PermissionsExt;
    let world =
        world("[webhook.a]\nurl_file = \"u\"\ntemplate = \"plain\"\ntls = \"none\"").file("u", "http://h/x");
    let file = world.surroundings.working_dir.join("u");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let file = file.display();
    assert_eq!(
        world.config().warnings,
        [
            format!("everybody may read the URL of [webhook.a] in {file}: type 'chmod 600 {file}'"),
            "latmon.toml:1: [webhook.a] goes over http://: everybody on the way can read it".to_owned(),
        ]
    );
}
