//! `.env` and TOML: how they are read.

use super::*;

use proptest::prelude::*;

fn password(dotenv: &[u8]) -> String {
    let world = World::pinging().env("EMAIL_SENDER", "me@gmail.com").file(".env", dotenv);
    world.config().mail.unwrap().server.login.unwrap().password.reveal().to_owned()
}

#[test]
fn dotenv_values_are_taken_as_they_stand() {
    let cases: [(&str, &str); 16] = [
        ("EMAIL_PASSWORD=abcd efgh ijkl mnop", "abcd efgh ijkl mnop"),
        ("EMAIL_PASSWORD=\"abcd efgh\"", "abcd efgh"),
        ("EMAIL_PASSWORD='abcd efgh'", "abcd efgh"),
        ("EMAIL_PASSWORD=\" kept \"", " kept "),
        ("EMAIL_PASSWORD=pa$HOME${X}`x`", "pa$HOME${X}`x`"),
        (r"EMAIL_PASSWORD=a\nb\\c\", r"a\nb\\c\"),
        (r#"EMAIL_PASSWORD="a\"b""#, r#"a\"b"#),
        ("EMAIL_PASSWORD=a=b==", "a=b=="),
        ("EMAIL_PASSWORD=a # b", "a # b"),
        ("EMAIL_PASSWORD=\"a", "\"a"),
        ("EMAIL_PASSWORD=\"a'", "\"a'"),
        ("EMAIL_PASSWORD=\"", "\""),
        ("EMAIL_PASSWORD=it's", "it's"),
        ("  export\tEMAIL_PASSWORD  =  x \r\n", "x"),
        ("\u{feff}EMAIL_PASSWORD=x", "x"),
        ("EMAIL_PASSWORD=first\nEMAIL_PASSWORD=last", "last"),
    ];
    for (text, expected) in cases {
        assert_eq!(password(text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn a_dotenv_is_shared_with_others() {
    let text =
        b"# a comment = none\n\n   # another\nDATABASE_URL=postgres://u:p@h/d?x=y\nOTHER=\xff\xfe\n\xff=x\n\
                 export=1\nexports=2\nEMAIL_PASSWORD=mine";
    assert_eq!(password(text), "mine");
}

#[test]
fn a_folder_called_dotenv_is_no_dotenv() {
    assert_eq!(World::pinging().file(".env/pyvenv.cfg", "home = /usr").config().names(), ["latency"]);
}

#[test]
fn included_files_add_targets_groups_and_alerts_in_the_order_of_their_names() {
    let world = World::toml(
        "include = [\"conf.d/*.toml\", \"one.toml\", \"none/*.toml\", \"conf.d/a*\"]\n[defaults]\nalerts = [\"slow\"]\n\
         [targets]\nmain = \"192.0.2.1\"\n",
    )
    .file("conf.d/b.toml", "[group.g]\nstep = 300\n[group.g.targets]\nb = \"192.0.2.3\"\n")
    .file("conf.d/a.toml", "include = [\"deep/*\"]\n[targets]\na = \"192.0.2.2\"\n[alert.slow]\nwhen = \"median > 1s\"")
    .file("conf.d/deep/c", "[targets]\nc = \"192.0.2.5\"")
    .file("conf.d/.hidden.toml", "no toml")
    .file("conf.d/a.toml.bak", "[targets]\n")
    .file("conf.d/z.txt", "no toml")
    .file("one.toml", "[targets]\none = \"192.0.2.4\"");
    let config = world.config();
    assert_eq!(config.names(), ["main", "a", "c", "g/b", "one"]);
    assert_eq!(config.named("a").origin.to_string(), "conf.d/a.toml:3");
    assert_eq!(config.named("g/b").alert_names(), ["down", "slow"]);
    assert_eq!(config.named("g/b").step.origin.to_string(), "conf.d/b.toml:2");
}

#[test]
fn a_file_is_read_once_however_often_it_is_included() {
    let world = World::toml("include = [\"latmon.toml\", \"a.toml\"]\n[targets]\nx = \"::1\"")
        .file("a.toml", "include = [\"latmon.toml\", \"*.toml\"]\n[targets]\ny = \"::1\"");
    assert_eq!(world.config().names(), ["x", "y"]);
}

#[test]
fn a_folder_with_wildcards_in_its_name_is_itself() {
    let world = World::new()
        .file("[a]*/m.toml", "include = [\"*.inc\"]")
        .file("[a]*/x.inc", "[targets]\nx = \"::1\"");
    let world = world.typed(|typed| typed.config = Some("[a]*/m.toml".into()));
    assert_eq!(world.config().names(), ["x"]);
}

#[test]
fn commands_that_only_look_need_no_password_and_no_target() {
    let world = World::pinging().env("EMAIL_SENDER", "me@gmail.com").env("EMAIL_PASSWORD_FILE", "/no/such");
    assert!(world.load().is_err());
    let config = look(&world.options, &world.surroundings).unwrap();
    assert_eq!((config.names(), config.mail.is_none()), (vec!["latency"], true));
    let nothing = World::new();
    assert!(look(&nothing.options, &nothing.surroundings).unwrap().targets.is_empty());
}

/// Pieces of settings and any text between them: most of it gets past the first check.
fn scraps() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "[targets]\n",
        "[mail]\n",
        "[defaults]\n",
        "[alert.x]\n",
        "[group.g]\n",
        "[group.g.targets]\n",
        "a = ",
        "host = ",
        "step = ",
        "\"",
        "'",
        "\"192.0.2.1\"\n",
        "\"60s\"\n",
        "60\n",
        "[",
        "]",
        "{",
        "}",
        ",",
        "\n",
        "=",
        ".",
        "#",
        "when = \"median > 1s\"\n",
        "alerts = [\"x\"]\n",
        "include = [\"*\"]\n",
        "data_dir = ",
        "PING_HOST=",
        "EMAIL_SENDER=",
        "LATENCY_STEP=",
        "LATENCY_THRESHOLD=",
        "EMAIL_SMTP_PORT=",
        "export ",
        "\r",
        "\u{feff}",
    ]);
    let any = prop_oneof![4 => piece.prop_map(str::to_owned), 1 => any::<String>(), 1 => "[ -~]{0,12}".prop_map(|text| text)];
    prop::collection::vec(any, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// Whatever the files hold: no panic, and an error is one line without the password.
    #[test]
    fn any_text_is_settings_or_an_error_of_one_line(toml in scraps(), dotenv in scraps()) {
        let world = World::toml(&toml).file(".env", format!("{dotenv}\nEMAIL_PASSWORD=hush-hush\n"));
        match world.load() {
            Ok(config) => {
                prop_assert!(!config.targets.is_empty());
                let shown = format!("{config:?}");
                prop_assert!(!shown.contains("hush-hush"), "{}", shown);
            }
            Err(error) => {
                let text = error.to_string();
                prop_assert!(!text.chars().any(char::is_control), "{:?}", text);
                let inside = format!("{error:?}");
                prop_assert!(!text.contains("hush-hush") && !inside.contains("hush-hush"), "{}", inside);
            }
        }
    }

    /// A value behind `=` comes back as it was, whatever it is made of, if quotes are put around it.
    #[test]
    fn any_quoted_password_comes_back(text in "[^\\n\u{0}]{0,30}[^\\s\u{0}]") {
        prop_assert_eq!(password(format!("EMAIL_PASSWORD=\"{text}\"").as_bytes()), text);
    }
}
