//! Mail settings.

use super::*;

use std::os::unix::fs::PermissionsExt;

use crate::mail::{Settings, Tls};

const SENDER: &str = "me@gmail.com";

fn sending() -> World {
    World::pinging().env("EMAIL_SENDER", SENDER).env("EMAIL_PASSWORD", "hush-hush")
}

fn section(text: &str) -> World {
    let text = format!(
        "[mail]\nfrom = \"f@example.org\"\nto = [\"t@example.org\"]\nserver = \"s.example.org\"\n{text}"
    );
    World::pinging().file("latmon.toml", text)
}

fn mail(world: World) -> Settings {
    world.config().mail.expect("mail")
}

#[test]
fn nobody_is_mailed_where_nobody_says_so() {
    assert!(World::pinging().config().mail.is_none());
}

#[test]
fn receivers_are_the_sender_unless_named() {
    let to = |world: World| mail(world).to.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    assert_eq!(to(sending()), SENDER);
    assert_eq!(
        to(sending().env("EMAIL_RECEIVER", "a@example.org, b@example.org")),
        "a@example.org b@example.org"
    );
}

#[test]
fn the_server_of_gmail_is_known() {
    let host = |world: World| mail(world).server.host;
    assert_eq!(host(sending()), "smtp.gmail.com");
    assert_eq!(host(sending().env("EMAIL_SENDER", "me@GMail.com")), "smtp.gmail.com");
    assert_eq!(host(sending().env("EMAIL_SMTP_SERVER", "mx.example.org")), "mx.example.org");
}

#[test]
fn the_port_tells_how_the_line_is_made_private() {
    let line = |world: World| {
        let server = mail(world).server;
        (server.port, server.tls)
    };
    assert_eq!(line(sending()), (465, Tls::Implicit));
    for (port, tls) in [
        ("465", Tls::Implicit),
        ("587", Tls::StartTls),
        ("25", Tls::StartTls),
        ("2525", Tls::StartTls),
        ("8465", Tls::Implicit),
    ] {
        assert_eq!(line(sending().env("EMAIL_SMTP_PORT", port)), (port.parse().unwrap(), tls));
    }
    assert_eq!(line(section("port = 587")), (587, Tls::StartTls));
    assert_eq!(line(section("tls = \"starttls\"")), (587, Tls::StartTls));
    assert_eq!(line(section("tls = \"none\"")), (25, Tls::None));
    assert_eq!(line(section("tls = \"none\"\nport = 465")), (465, Tls::None), "said outright");
    assert_eq!(line(section("tls = \"starttls\"").env("EMAIL_SMTP_PORT", "10587")), (10587, Tls::StartTls));
}

#[test]
fn a_files_tls_none_bares_nothing_on_the_ports_that_the_environment_promises_to_be_private() {
    let tls = |port| mail(section("tls = \"none\"").env("EMAIL_SMTP_PORT", port)).server.tls;
    assert_eq!((tls("465"), tls("587"), tls("2525")), (Tls::Implicit, Tls::StartTls, Tls::None));
}

#[test]
fn a_password_file_loses_its_last_line_break_and_nothing_else() {
    for (content, expected) in [
        ("hush-hush", "hush-hush"),
        ("hush-hush\n", "hush-hush"),
        ("hush-hush\r\n", "hush-hush"),
        (" hush hush \n\n", " hush hush \n"),
    ] {
        let world =
            World::pinging().file("p", content).env("EMAIL_SENDER", SENDER).env("EMAIL_PASSWORD_FILE", "p");
        assert_eq!(mail(world).server.login.unwrap().password.reveal(), expected);
    }
    let world = section("username = \"u\"\npassword_file = \"p\"").file("p", "hush-hush\n");
    let login = mail(world).server.login.unwrap();
    assert_eq!((login.username.as_str(), login.password.reveal()), ("u", "hush-hush"));
}

#[test]
fn the_password_of_higher_rank_hides_a_file_that_cannot_be_read() {
    let world = section("username = \"u\"\npassword_file = \"/no/such\"").env("EMAIL_PASSWORD", "hush-hush");
    assert_eq!(mail(world).server.login.unwrap().password.reveal(), "hush-hush");
    let world = sending().file(".env", "EMAIL_PASSWORD_FILE=/no/such");
    assert_eq!(mail(world).server.login.unwrap().password.reveal(), "hush-hush");
}

#[test]
fn who_logs_in() {
    let name = |world: World| mail(world).server.login.map(|login| login.username);
    let login = "username = \"u\"\npassword = \"x\"";
    assert_eq!(name(section("")), None, "a server that asks nobody");
    assert_eq!(name(section(login)).as_deref(), Some("u"));
    assert_eq!(name(section(login).env("EMAIL_PASSWORD", "y")).as_deref(), Some("u"));
    assert_eq!(name(section(login).env("EMAIL_SENDER", "e@example.org")).as_deref(), Some("u"));
    let whole = section(login).env("EMAIL_SENDER", "e@example.org").env("EMAIL_PASSWORD", "y");
    assert_eq!(name(whole).as_deref(), Some("e@example.org"));
    assert_eq!(name(section("").env("EMAIL_PASSWORD", "y")).as_deref(), Some("f@example.org"));
    let open = World::pinging().env("EMAIL_SENDER", "e@example.org").env("EMAIL_SMTP_SERVER", "localhost");
    assert_eq!(name(open), None);
}

#[test]
fn what_is_half_there_names_what_is_missing() {
    let error = |world: World| world.error();
    let sender = || World::pinging().env("EMAIL_SENDER", "e@example.org").env("EMAIL_PASSWORD", "hush-hush");
    let file = |text: &str| World::pinging().file("latmon.toml", text);
    let cases = [
        (
            World::pinging().env("EMAIL_PASSWORD", "hush-hush"),
            "EMAIL_PASSWORD is set, but EMAIL_SENDER is missing",
        ),
        (
            World::pinging().file(".env", "\nEMAIL_RECEIVER=a@example.org"),
            ".env:2: EMAIL_RECEIVER is set, but EMAIL_SENDER is missing",
        ),
        (
            World::pinging().env("EMAIL_SMTP_PORT", "25"),
            "EMAIL_SMTP_PORT is set, but EMAIL_SENDER is missing",
        ),
        (sender(), "EMAIL_SENDER is set, but EMAIL_SMTP_SERVER is missing"),
        (
            World::pinging().env("EMAIL_SENDER", SENDER),
            "EMAIL_SENDER is set, but EMAIL_PASSWORD or EMAIL_PASSWORD_FILE is missing",
        ),
        (file("\n[mail]"), "latmon.toml:2: [mail] is set, but 'from' is missing"),
        (file("[mail]\nfrom = \"f@example.org\""), "latmon.toml:2: 'from' is set, but 'to' is missing"),
        (
            file("[mail]\nfrom = \"f@example.org\"\nto = [\"t@example.org\"]"),
            "latmon.toml:2: 'from' is set, but 'server' is missing",
        ),
        (
            section("username = \"u\""),
            "latmon.toml:5: 'username' is set, but 'password_file' or 'password' is missing",
        ),
        (section("password = \"hush-hush\""), "latmon.toml:5: 'password' is set, but 'username' is missing"),
        (
            section("password_file = \"p\""),
            "latmon.toml:5: 'password_file' is set, but 'username' is missing",
        ),
    ];
    for (world, expected) in cases {
        assert_eq!(error(world), expected);
    }
}

#[test]
fn passwords_have_one_source_and_are_not_empty() {
    let file = || World::pinging().env("EMAIL_SENDER", SENDER).env("EMAIL_PASSWORD_FILE", "p");
    let both = "username = \"u\"\npassword = \"hush-hush\"\npassword_file = \"p\"";
    let dotenv = "EMAIL_PASSWORD=hush-hush\nEMAIL_PASSWORD_FILE=p";
    let cases = [
        (
            sending().env("EMAIL_PASSWORD_FILE", "p"),
            "EMAIL_PASSWORD_FILE is set, and so is EMAIL_PASSWORD: keep one of them",
        ),
        (
            World::pinging().env("EMAIL_SENDER", SENDER).file(".env", dotenv),
            ".env:2: EMAIL_PASSWORD_FILE is set, and so is EMAIL_PASSWORD: keep one of them",
        ),
        (section(both), "latmon.toml:7: 'password_file' is set, and so is 'password': keep one of them"),
        (file(), "EMAIL_PASSWORD_FILE: cannot read WORK/p: no such file"),
        (file().file("p/x", ""), "EMAIL_PASSWORD_FILE: cannot read WORK/p: is a directory"),
        (file().file("p", "\n"), "EMAIL_PASSWORD_FILE: the password is empty"),
        (file().file("p", b"\xffhush-hush"), "EMAIL_PASSWORD_FILE: not UTF-8"),
        (file().file("p", vec![b'x'; 65_537]), "WORK/p: longer than 65536 bytes"),
        (section("username = \"u\"\npassword = \" \""), "latmon.toml:6: password: the password is empty"),
    ];
    for (world, expected) in cases {
        assert_eq!(world.error(), expected);
    }
}

#[test]
fn wrong_values_are_told_and_those_of_the_environment_not_shown() {
    let cases = [
        (
            sending().env("EMAIL_SENDER", "hush-hush"),
            "EMAIL_SENDER: write a mail address, as name@example.org",
        ),
        (
            sending().env("EMAIL_RECEIVER", "a@example.org,hush-hush"),
            "EMAIL_RECEIVER: write mail addresses with commas between them, as a@example.org,b@example.org",
        ),
        (
            sending().env("EMAIL_SMTP_PORT", "smtps"),
            "EMAIL_SMTP_PORT: write a number from 1 to 65535, as 465",
        ),
        (
            sending().file(".env", "EMAIL_SMTP_SERVER=hush hush"),
            ".env:1: EMAIL_SMTP_SERVER: write the server's name or address alone; its port is a setting of its own",
        ),
        (
            World::toml("[mail]\nserver = \"mx.example.org:25\""),
            "latmon.toml:2: server: 'mx.example.org:25' will not do: write the server's name or address alone; its port \
             is a setting of its own",
        ),
        (section("port = 0"), "latmon.toml:5: port: '0' will not do: write a number from 1 to 65535, as 465"),
        (section("port = true"), "latmon.toml:5: port: expected a whole number, found true or false"),
        (section("tls = \"ssl\""), "latmon.toml:5: tls: 'ssl' will not do: write implicit, starttls or none"),
        (section("password = 5"), "latmon.toml:5: password: expected a text in quotes, found a whole number"),
        (
            section("pasword = \"hush-hush\""),
            "latmon.toml:5: unknown key 'pasword' in [mail]: did you mean 'password'?",
        ),
        (
            World::toml("[mail]\nto = [\n\"t@example.org\",\n\"nobody\",\n]"),
            "latmon.toml:4: to: 'nobody' will not do: write a mail address, as name@example.org",
        ),
        (
            World::toml("[mail]\nto = []"),
            "latmon.toml:2: to: '[]' will not do: write a list of mail addresses, as [\"noc@example.org\"]",
        ),
        (
            World::toml("[mail]\nto = \"t@example.org\""),
            "latmon.toml:2: to: expected a list of texts, found a text",
        ),
    ];
    for (world, expected) in cases {
        assert_eq!(world.error(), expected);
    }
}

/// TOML that the reader refuses: its own error text would quote the whole line.
#[test]
fn no_broken_line_brings_a_password_to_light() {
    for line in [
        "password = hush-hush",
        "password = \"hush-hush",
        "password = 'hush-hush\" x",
        "password = \"hush-hush\" \"x\"",
        "password = \"\\hush-hush\"",
        "password \"hush-hush\"",
        "password = \"\"\"hush-hush",
        "password: hush-hush",
        "password = \"x\"\npassword = \"hush-hush\"",
        "password = \"hush-hush\"\npassword.x = 1",
        "password = [\"hush-hush\"]",
        "to = { a = \"hush-hush\" }",
    ] {
        let error = section(line).load().expect_err(line);
        assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
        assert!(error.to_string().starts_with("latmon.toml:"), "{error}");
    }
}

#[test]
fn no_debug_output_has_a_password() {
    let world = sending();
    let config = format!("{:?}", world.config());
    assert!(config.contains(SENDER) && !config.contains("hush"), "{config}");
}

#[test]
fn a_password_that_everybody_may_read_is_warned_of() {
    let open = |world: &World, path: &str| {
        let path = world.surroundings.working_dir.join(path);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
    };
    let warnings = |world: World| {
        let work = world.surroundings.working_dir.to_str().unwrap().to_owned();
        world.config().warnings.join("\n").replace(&work, "WORK")
    };
    let file = || {
        World::pinging().file("p", "hush-hush").env("EMAIL_SENDER", SENDER).env("EMAIL_PASSWORD_FILE", "p")
    };
    assert_eq!(warnings(file()), "");
    let world = file();
    open(&world, "p");
    assert_eq!(warnings(world), "everybody may read the mail password in WORK/p: type 'chmod 600 WORK/p'");
    let world = World::dotenv("PING_HOST=::1\nEMAIL_SENDER=me@gmail.com\nEMAIL_PASSWORD=hush-hush");
    open(&world, ".env");
    assert_eq!(warnings(world), "everybody may read the mail password in .env: type 'chmod 600 .env'");
    let world = section("username = \"u\"\npassword = \"hush-hush\"");
    open(&world, "latmon.toml");
    assert_eq!(
        warnings(world),
        "everybody may read the mail password in latmon.toml: type 'chmod 600 latmon.toml'"
    );
}

#[test]
fn a_fallback_is_a_server_of_its_own() {
    let fallback =
        |text: &str| mail(section(&format!("port = 587\n[mail.fallback]\n{text}"))).fallback.unwrap();
    let server = fallback("server = \"s2.example.org\"");
    assert_eq!((server.host.as_str(), server.port, server.tls), ("s2.example.org", 465, Tls::Implicit));
    assert!(server.login.is_none());
    let server = fallback("server = 'x'\ntls = 'starttls'\nusername = 'u'\npassword = 'hush-hush'");
    assert_eq!((server.port, server.tls, server.login.unwrap().username.as_str()), (587, Tls::StartTls, "u"));
    for (text, expected) in [
        ("port = 25", "[mail.fallback]"),
        ("server = 'x'\nusername = 'u'", "'password_file' or 'password'"),
        ("server = 'x'\npassword = 'p'", "'username'"),
        ("server = 'x'\nfrom = 'a@b.org'", "from"),
    ] {
        let error = section(&format!("[mail.fallback]\n{text}")).load().expect_err(text).to_string();
        assert!(error.contains(expected) && error.starts_with("latmon.toml:"), "{error}");
    }
}
