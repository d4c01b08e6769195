//! What each mistake is answered with, word by word.

use super::*;

#[track_caller]
fn refused(cases: &[(&str, &str)], world: fn(&str) -> World) {
    for (text, expected) in cases {
        assert_eq!(world(text).error(), *expected, "{text}");
    }
}

#[test]
fn no_target_at_all() {
    let text = "no target: type 'latmon run 192.0.2.1', set PING_HOST, or list targets in latmon.toml";
    assert_eq!(World::new().error(), text);
    assert_eq!(World::toml("[targets]\n").error(), text);
}

#[test]
fn options() {
    type Change = fn(&mut Options);
    let cases: [(Change, &str); 5] = [
        (
            |typed| typed.step = Some("0.5".into()),
            "--step: '0.5' will not do: write whole seconds from 1s to 1d, as 60s or 5m",
        ),
        (
            |typed| typed.pings = Some("x\ny".into()),
            "--pings: 'x\\ny' will not do: write a whole number from 1 to 1000",
        ),
        (
            |typed| typed.threshold = Some("0".into()),
            "--threshold: '0' will not do: write a duration over 0, as 100ms",
        ),
        (
            |typed| typed.config = Some("nowhere.toml".into()),
            "--config: cannot read nowhere.toml: no such file",
        ),
        (
            |typed| typed.targets = vec!["a".into(), "foo:80".into()],
            "TARGET: 'foo:80' will not do: write a host name or an address, as 192.0.2.1",
        ),
    ];
    for (change, expected) in cases {
        assert_eq!(World::pinging().typed(change).error(), expected);
    }
    assert_eq!(
        World::new().words(&["a", "b", "a"]).error(),
        "TARGET: target 'a' is named twice, first in TARGET"
    );
    assert_eq!(
        World::new().words(&["outbox"]).error(),
        "TARGET: target name 'outbox': latmon's own files have this name"
    );
}

#[test]
fn environment() {
    let cases = [
        (
            "LATENCY_STEP",
            "soon",
            "LATENCY_STEP: 'soon' will not do: write whole seconds from 1s to 1d, as 60s or 5m",
        ),
        (
            "LATENCY_THRESHOLD",
            "100 km",
            "LATENCY_THRESHOLD: '100 km' will not do: write a duration over 0, as 100ms",
        ),
        (
            "PING_HOST",
            "a,b c",
            "PING_HOST: 'a,b c' will not do: write host names or addresses with commas between them, as \
             192.0.2.1,2001:db8::1",
        ),
        ("PING_HOST", "a,a", "PING_HOST: target 'a' is named twice, first in PING_HOST"),
        ("LATMON_CONFIG", "x.toml", "LATMON_CONFIG: cannot read x.toml: no such file"),
        ("LATMON_CONFIG", "/", "LATMON_CONFIG: cannot read /: is a directory"),
    ];
    for (key, value, expected) in cases {
        assert_eq!(World::pinging().env(key, value).error(), expected);
    }
    use std::os::unix::ffi::OsStringExt;
    let mut world = World::pinging();
    world.surroundings.variables.insert("LATENCY_STEP".into(), OsString::from_vec(vec![0xff]));
    assert_eq!(world.error(), "LATENCY_STEP: not UTF-8");
}

#[test]
fn dotenv() {
    refused(
        &[
            ("\nPING_HOST 192.0.2.1", ".env:2: no '=' in this line: write KEY=value"),
            ("LATENCY_STEP=hush", ".env:1: LATENCY_STEP: write whole seconds from 1s to 1d, as 60s or 5m"),
            ("#\n\nLATENCY_THRESHOLD=hush", ".env:3: LATENCY_THRESHOLD: write a duration over 0, as 100ms"),
            ("LATMON_CONFIG=x.toml", ".env:1: cannot read x.toml: no such file"),
            (
                "PING_HOST=192.0.2.1 # home",
                ".env:1: PING_HOST: write host names or addresses with commas between them, as 192.0.2.1,2001:db8::1",
            ),
        ],
        World::dotenv,
    );
    assert_eq!(
        World::new().file(".env", vec![b'#'; (1 << 20) + 1]).error(),
        ".env: longer than 1048576 bytes"
    );
    assert_eq!(World::new().file(".env", b"LATENCY_STEP=\xff").error(), ".env:1: LATENCY_STEP: not UTF-8");
}

#[test]
fn toml_itself() {
    refused(
        &[
            ("a b", "latmon.toml:1: key with no value, expected `=`"),
            (
                "[defaults]\nstep = 60s\n",
                "latmon.toml:2: string values must be quoted, expected literal string",
            ),
            (
                "[targets]\ngoogle = \"8.8.8.8\"\nx = \"::1\"\n\ngoogle = \"8.8.4.4\"\n",
                "latmon.toml:5: 'google' is there twice, first in latmon.toml:2",
            ),
            ("[defaults]\n[targets]\n[defaults]\n", "latmon.toml:3: 'defaults' is there twice"),
        ],
        World::toml,
    );
    assert_eq!(World::new().file("latmon.toml", b"\n\n# \xff").error(), "latmon.toml:3: not UTF-8");
    let long = World::new().file("latmon.toml", vec![b'#'; (32 << 20) + 1]);
    assert_eq!(long.error(), "latmon.toml: longer than 33554432 bytes");
}

#[test]
fn unknown_keys() {
    refused(
        &[
            ("\ntarget = 1", "latmon.toml:2: unknown key 'target' at the top: did you mean 'targets'?"),
            ("[default]", "latmon.toml:1: unknown key 'default' at the top: did you mean 'defaults'?"),
            (
                "[defaults]\npigns = 20",
                "latmon.toml:2: unknown key 'pigns' in [defaults]: did you mean 'pings'?",
            ),
            (
                "[defaults]\ncolour = 20",
                "latmon.toml:2: unknown key 'colour' in [defaults]: there are step, pings, timeout, alerts, payload, \
                 ttl, dscp, dont_fragment, source, interface, family, any_source",
            ),
            ("[alert.x]\nwen = \"\"", "latmon.toml:2: unknown key 'wen' in [alert.x]: did you mean 'when'?"),
            ("[group.g]\nstpe = 1", "latmon.toml:2: unknown key 'stpe' in [group.g]: did you mean 'step'?"),
            (
                "[targets]\na = { hots = \"::1\" }",
                "latmon.toml:2: unknown key 'hots' in target 'a': did you mean 'host'?",
            ),
            (
                "[targets]\nfra.core1 = \"::1\"",
                "latmon.toml:2: unknown key 'core1' in target 'fra': there are host, cidr, parent, step, pings, timeout, alerts, \
                 payload, ttl, dscp, dont_fragment, source, interface, family, any_source",
            ),
            (
                "\"a\\nb\\u001b\" = 1",
                "latmon.toml:1: unknown key 'a\\nb\\u{1b}' at the top: there are data_dir, user, include, defaults, probe, \
                 uplink, mail, webhook, command, alerts, alert, maintenance, targets, targets_file, group",
            ),
        ],
        World::toml,
    );
}

#[test]
fn types_and_values() {
    refused(
        &[
            ("targets = 5", "latmon.toml:1: targets: expected a table, found a whole number"),
            ("[[targets]]", "latmon.toml:1: targets: expected a table, found a list of something else"),
            ("[defaults]\nstep = true", "latmon.toml:2: step: expected a duration, found true or false"),
            (
                "[defaults]\nstep = 1979-05-27",
                "latmon.toml:2: step: expected a duration, found a date or time",
            ),
            (
                "[defaults]\nstep = \"1.5s\"",
                "latmon.toml:2: step: '1.5s' will not do: write whole seconds from 1s to 1d, as 60s or 5m",
            ),
            (
                "[defaults]\npings = 0",
                "latmon.toml:2: pings: '0' will not do: write a whole number from 1 to 1000",
            ),
            (
                "[defaults]\npings = [1]",
                "latmon.toml:2: pings: expected a whole number, found a list of something else",
            ),
            (
                "[defaults]\ntimeout = \"2m\"",
                "latmon.toml:2: timeout: '2m' will not do: write a duration from 10ms to 60s, as 1.5s",
            ),
            (
                "[defaults]\nalerts = \"slow\"",
                "latmon.toml:2: alerts: expected a list of texts, found a text",
            ),
            ("user = \"\"", "latmon.toml:1: user: '' will not do: write a text that is not empty"),
            ("data_dir = \"\"", "latmon.toml:1: data_dir: '' will not do: write a text that is not empty"),
        ],
        World::toml,
    );
}

#[test]
fn targets() {
    refused(
        &[
            (
                "[targets]\na = 5",
                "latmon.toml:2: a: expected a host in quotes, or a table with 'host' or 'cidr', found a whole number",
            ),
            (
                "[targets]\na = \"http://x\"",
                "latmon.toml:2: a: 'http://x' will not do: write a host name or an address, as 192.0.2.1",
            ),
            ("[targets.a]\nstep = 5", "latmon.toml:1: target 'a' has neither 'host' nor 'cidr'"),
            (
                "[targets]\n\"../a\" = \"::1\"",
                "latmon.toml:2: target name '../a': no part of it may be '.' or '..'",
            ),
            (
                "[group.outbox.targets]\na = \"::1\"",
                "latmon.toml:2: target name 'outbox/a': latmon's own files have this name",
            ),
            (
                "[targets]\n\"fra/core1\" = \"::1\"\n[group.fra.targets]\ncore1 = \"::1\"",
                "latmon.toml:4: target 'fra/core1' is named twice, first in latmon.toml:2",
            ),
            (
                "[targets]\n\"a:b\" = \"::1\"\na_b = \"::1\"",
                "latmon.toml:3: target 'a_b' has the same archive as 'a:b' in latmon.toml:2: rename one",
            ),
        ],
        World::toml,
    );
}

#[test]
fn a_slip_in_a_condition_is_told_with_what_was_meant() {
    let cases = [
        ("medain > 100ms", Some("median")),
        ("Median > 100ms", Some("median")),
        ("los >= 20%", Some("loss")),
        ("jiter > 3ms", Some("jitter")),
        ("unknwon >= 50%", Some("unknown")),
        ("avarage > 100ms", Some("average")),
        ("p9 > 100ms", Some("p95")),
        ("abberant", Some("aberrant")),
        ("aberant", Some("aberrant")),
        ("mean > 100ms", Some("average")),
        ("avg > 100ms", Some("average")),
        ("p50 > 100ms", Some("median")),
        ("latency > 100ms", None),
        ("100ms", None),
    ];
    for (when, meant) in cases {
        let hint = meant.map(|meant| format!(": did you mean '{meant}'?")).unwrap_or_default();
        let text = format!("[alert.x]\nwhen = \"{when}\"");
        let told = format!(
            "latmon.toml:2: when: '{when}' is no condition: it begins with none of median, average, p95, max, jitter, loss, unknown, \
             aberrant{hint}"
        );
        refused(&[(&text, &told)], World::toml);
    }
}

#[test]
fn alerts() {
    refused(
        &[
            (
                "[defaults]\nalerts = [\n\"down\",\n\"slwo\"]\n[alert.slow]\nwhen = \"median > 1s\"",
                "latmon.toml:4: unknown alert 'slwo': did you mean 'slow'?",
            ),
            (
                "[targets]\na = { host = \"::1\", alerts = [\"slow\"] }",
                "latmon.toml:2: unknown alert 'slow': no [alert] of this name is there",
            ),
            (
                "[alert.down]\nwhen = \"loss > 1%\"",
                "latmon.toml:1: [alert.down] is built in: choose another name",
            ),
            (
                "[alert.threshold]",
                "latmon.toml:1: [alert.threshold] is what LATENCY_THRESHOLD makes: choose another name",
            ),
            (
                "[alert.\"a\\nb\"]",
                "latmon.toml:1: [alert.a\\nb] needs a name of 1 to 60 bytes without control characters",
            ),
            ("alert.x = 5", "latmon.toml:1: x: expected a table, found a whole number"),
            (
                "[alert.x]\nwhen = \"median > 3 x usal\"",
                "latmon.toml:2: when: 'median > 3 x usal' compares with 'usal': write a time, as 100ms, or how many times \
             the usual, as 3 x usual: did you mean 'usual'?",
            ),
            (
                "[alert.x]\nwhen = \"median > 3 usal\"",
                "latmon.toml:2: when: 'median > 3 usal' compares a time with something else: '3 usal' is no duration: \
             'usal' is none of ms, s, m, h, d, w, y: did you mean 'usual'?",
            ),
            (
                "[alert.x]\nwhen = \"median > yesterday\"",
                "latmon.toml:2: when: 'median > yesterday' compares with 'yesterday': write a time, as 100ms, or how many \
             times the usual, as 3 x usual",
            ),
            ("[alert.x]", "latmon.toml:1: [alert.x] has neither 'when' nor 'type' and 'pattern'"),
            (
                "[alert.x]\nwhen = \"loss > 1%\"\ntype = \"loss\"",
                "latmon.toml:1: [alert.x] has 'when' and also 'type' or 'pattern': keep one kind",
            ),
            ("[alert.x]\ntype = \"loss\"", "latmon.toml:1: [alert.x] has a 'type' but no 'pattern'"),
            (
                "[alert.x]\npattern = \">1%\"",
                "latmon.toml:1: [alert.x] has a 'pattern' but no 'type': write loss or rtt",
            ),
            (
                "[alert.x]\ntype = \"loss\"\npattern = \">1%\"\nfor = \"2 of 3\"",
                "latmon.toml:1: [alert.x] has a 'pattern', which tells its own length: take 'for' and 'clear' out",
            ),
            (
                "[alert.x]\ntype = \"lost\"\npattern = \">1%\"",
                "latmon.toml:2: type: 'lost' will not do: write loss or rtt",
            ),
            (
                "[alert.x]\ntype = \"loss\"\npattern = \">1%\"\nsemantics = \"exact\"",
                "latmon.toml:4: semantics: 'exact' will not do: write manual or smokeping-exact",
            ),
            (
                "[alert.x]\ntype = \"loss\"\npattern = \">1%\"\nedgetrigger = \"yes\"",
                "latmon.toml:4: edgetrigger: expected true or false, found a text",
            ),
            (
                "[alert.x]\ntype = \"loss\"\npattern = \">1%\"\nedgetrigger = false\nrepeat = \"1h\"",
                "latmon.toml:1: [alert.x] is told with each round by edgetrigger = false: take 'repeat' out",
            ),
            (
                "[alert.x]\nwhen = \"loss > 1%\"\nsemantics = \"manual\"",
                "latmon.toml:1: [alert.x] has 'edgetrigger' or 'semantics', which belong to a 'pattern': take them out",
            ),
            (
                "[alert.x]\nwhen = \"loss > 1%\"\nseverity = \"high\"",
                "latmon.toml:3: severity: 'high' will not do: write info, warning or critical",
            ),
            (
                "[alert.x]\nwhen = \"loss > 1%\"\nhours = \"mon-fri\"",
                "latmon.toml:3: hours: no time follows 'mon-fri': write the hours behind the days, as mon-fri 08:00-18:00",
            ),
            (
                "[alert.x]\nwhen = \"loss > 1%\"\nto = \"noc\"",
                "latmon.toml:3: to: expected a list of texts, found a text",
            ),
            (
                "[alert.x]\nwhen = \"loss > 1%\"\nto = []",
                "latmon.toml:1: [alert.x] has an empty 'to', by which nobody is told: take it out for everybody",
            ),
            (
                "[alert.x]\nwhen = \"loss > 1%\"\nto = [\n\"a@example.org\",\n\"noc\"]",
                "latmon.toml:5: to: 'noc' will not do: write a mail address, webhook:NAME or command:NAME",
            ),
            (
                "[alert.x]\nwhen = \"loss > 1%\"\nto = [\"webhook: \"]",
                "latmon.toml:3: to: 'webhook: ' will not do: write a mail address, webhook:NAME or command:NAME",
            ),
            (
                "[alert.x]\nwhen = \"loss > 1%\"\nto = [\"webhook:slack\"]",
                "latmon.toml:3: unknown recipient 'webhook:slack': no [webhook] of this name is there",
            ),
            (
                "[alert.x]\nwhen = \"loss > 1%\"\nrepeat = \"0s\"",
                "latmon.toml:3: repeat: '0s' will not do: write a duration from 1m on, as 24h, or never",
            ),
        ],
        World::toml,
    );
}

/// What is wrong with a rule is the alert room's to say; the place is ours.
#[test]
fn rules_have_their_place() {
    for (text, start) in [
        ("[alert.x]\nwhen = \"median > 100\"", "latmon.toml:2: when: "),
        ("[alert.x]\nwhen = \"loss > 2 x usual\"", "latmon.toml:2: when: "),
        ("[alert.x]\nwhen = \"loss > 1%\"\nfor = \"0 of 3\"", "latmon.toml:3: for: "),
        ("[alert.x]\nwhen = \"loss > 1%\"\nclear = \"soon\\n\"", "latmon.toml:3: clear: "),
        ("[alert.x]\ntype = \"loss\"\npattern = \">10\"", "latmon.toml:3: pattern: "),
    ] {
        let error = World::toml(text).error();
        assert!(
            error.starts_with(start) && error.len() > start.len() + 10 && !error.contains('\n'),
            "{error}"
        );
    }
}

#[test]
fn includes() {
    let included = |text: &str| World::toml("include = [\"*.inc\"]").file("a.inc", text);
    for (world, expected) in [
        (
            included("[targets]\na = 5"),
            "a.inc:2: a: expected a host in quotes, or a table with 'host' or 'cidr', found a whole number",
        ),
        (included("\n[mail]"), "a.inc:2: 'mail' belongs in the main file, not in one that it includes"),
        (included("user = \"x\""), "a.inc:1: 'user' belongs in the main file, not in one that it includes"),
        (
            included("data_dir = \"x\""),
            "a.inc:1: 'data_dir' belongs in the main file, not in one that it includes",
        ),
        (World::toml("\ninclude = [\"a.inc\"]"), "latmon.toml:2: cannot read a.inc: no such file"),
        (
            World::toml("include = \"a.inc\""),
            "latmon.toml:1: include: expected a list of texts, found a text",
        ),
        (
            World::toml("include = [\"**/*.toml\"]"),
            "latmon.toml:1: include: '**/*.toml' is no pattern: write each folder, ** is not understood",
        ),
        (
            included("[targets]\na = \"::1\"").file("b.inc", "[targets]\na = \"::1\""),
            "b.inc:2: target 'a' is named twice, first in a.inc:2",
        ),
        (
            included("[group.g]").file("b.inc", "\n[group.g]"),
            "b.inc:2: group 'g' is named twice, first in a.inc:1",
        ),
        (
            included("[alert.g]\nwhen = \"loss > 1%\"").file("b.inc", "\n[alert.g]\nwhen = \"loss > 1%\""),
            "b.inc:2: alert 'g' is named twice, first in a.inc:1",
        ),
    ] {
        assert_eq!(world.error(), expected);
    }
    let chain = (0..10).fold(World::toml("include = [\"0.inc\"]"), |world, n| {
        world.file(&format!("{n}.inc"), format!("include = [\"{}.inc\"]", n + 1))
    });
    assert_eq!(chain.error(), "7.inc:1: include: more than 8 levels of files");
}

/// A file that is there and closed to us must not be passed over for the next one.
#[test]
fn a_file_that_cannot_be_read_is_an_error() {
    use std::os::unix::fs::PermissionsExt;
    for (path, expected) in [
        ("latmon.toml", "cannot read latmon.toml: permission denied"),
        (".env", "cannot read .env: permission denied"),
        ("../etc/latmon.toml", "cannot read ROOT/etc/latmon.toml: permission denied"),
    ] {
        let world = World::pinging().file(path, "");
        let file = world.surroundings.working_dir.join(path);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o000)).unwrap();
        if std::fs::read(&file).is_ok() {
            // The superuser reads everything; a link to itself cannot be read by anybody.
            std::fs::remove_file(&file).unwrap();
            std::os::unix::fs::symlink(file.file_name().unwrap(), &file).unwrap();
        }
        let error = world.error();
        let (start, _) = expected.rsplit_once(": ").unwrap();
        assert!(error.starts_with(start), "{error}");
    }
}
