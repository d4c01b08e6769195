//! What echoes look like, by which family a target is asked, and how the prober goes about them all.

use super::*;

use crate::probe::EchoSettings;

fn origin<T>(setting: &Setting<T>) -> String {
    setting.origin.to_string()
}

#[test]
fn a_target_outranks_its_group_and_that_the_defaults() {
    let config = World::toml(
        "[defaults]\npayload = 100\nttl = 30\ndscp = \"EF\"\ndont_fragment = true\n\
         [group.g]\nttl = 40\nsource = \"198.18.0.1\"\ninterface = \"eth0\"\nany_source = true\n\
         [group.g.targets]\nplain = \"192.0.2.1\"\nown = { host = \"192.0.2.2\", dscp = 8, payload = 65507, any_source = false }\n\
         [targets]\nalone = \"192.0.2.3\"\n",
    )
    .config();
    let echo = |name| config.named(name).echo.settings();
    let defaults = EchoSettings {
        payload: 100,
        ttl: Some(30),
        dscp: 46,
        dont_fragment: true,
        ..EchoSettings::default()
    };
    assert_eq!(echo("alone"), defaults);
    let group = EchoSettings {
        ttl: Some(40),
        source: Some("198.18.0.1".parse().unwrap()),
        interface: Some("eth0".to_owned()),
        any_source: true,
        ..defaults
    };
    assert_eq!(echo("g/plain"), group);
    assert_eq!(echo("g/own"), EchoSettings { dscp: 8, payload: 65_507, any_source: false, ..group });
    let own = &config.named("g/own").echo;
    assert_eq!(
        [origin(&own.payload), origin(&own.ttl), origin(&own.dont_fragment), origin(&own.source)],
        ["latmon.toml:13", "latmon.toml:7", "latmon.toml:5", "latmon.toml:8"]
    );
    for (target, probe) in config.targets.iter().zip(&config.probe.targets) {
        assert_eq!((target.echo.settings(), target.family), (probe.echo.clone(), probe.family));
    }
}

#[test]
fn words_and_ping_host_take_the_echoes_of_the_defaults() {
    let world = || World::toml("[defaults]\nttl = 9\nfamily = \"both\"\n");
    let config = world().words(&["name.example"]).config();
    assert_eq!(config.names(), ["name.example-v4", "name.example-v6"]);
    let ttls: Vec<_> = config.probe.targets.iter().map(|target| target.echo.ttl).collect();
    assert_eq!(ttls, [Some(9); 2]);
    assert_eq!(world().env("PING_HOST", "192.0.2.1").config().names(), ["192.0.2.1"]);
    let plain = World::pinging().config();
    assert_eq!((plain.first().echo.settings(), plain.first().family), (EchoSettings::default(), None));
}

/// A hundred thousand targets say the same once.
#[test]
fn targets_in_a_row_share_what_is_said_of_all() {
    let config = World::toml(
        "[defaults]\nttl = 9\n[targets]\na = \"::1\"\nb = \"::1\"\n[group.g]\ndscp = 8\n[group.g.targets]\nc = \"::1\"\nd = \"::1\"\n",
    )
    .config();
    let shared = |one, other| Arc::ptr_eq(&config.named(one).echo, &config.named(other).echo);
    assert!(shared("a", "b") && shared("g/c", "g/d") && !shared("b", "g/c"));
}

#[test]
fn code_points_have_the_numbers_of_their_rfcs() {
    // RFC 2474, RFC 2597, RFC 3246, RFC 5865, RFC 8622.
    let known = [
        ("CS0", 0),
        ("CS1", 8),
        ("CS7", 56),
        ("AF11", 10),
        ("AF23", 22),
        ("AF41", 34),
        ("AF43", 38),
        ("LE", 1),
        ("VOICE-ADMIT", 44),
        ("EF", 46),
    ];
    for (name, number) in known {
        assert_eq!(value::dscp(name), Ok(number), "{name}");
        assert_eq!(value::dscp(&name.to_lowercase()), Ok(number), "{name}");
        assert_eq!(dscp_name(number).as_deref(), Some(name));
    }
    assert_eq!((value::dscp("0"), value::dscp("63"), dscp_name(63)), (Ok(0), Ok(63), None));
    for bad in ["64", "-1", "", "AF14", "AF51", "CS8", "CS", "EFF", "0x2e", "4.6"] {
        assert!(value::dscp(bad).is_err(), "{bad}");
    }
}

#[test]
fn both_families_are_two_targets_with_archives_of_their_own() {
    let config = World::toml(
        "[targets]\nweb = { host = \"www.example.org\", family = \"both\", pings = 5 }\nsix = { host = \"www.example.org\", family = \"ipv6\" }\n\
         any = { host = \"www.example.org\", family = \"any\" }\nhome = { host = \"localhost\", family = \"both\" }\n",
    )
    .config();
    assert_eq!(config.names(), ["web-v4", "web-v6", "six", "any", "home-v4", "home-v6"]);
    let families: Vec<_> = config.probe.targets.iter().map(|target| target.family).collect();
    let (v4, v6) = (Some(Family::V4), Some(Family::V6));
    assert_eq!(families, [v4, v6, v6, None, v4, v6]);
    let web = config.named("web-v6");
    assert_eq!(
        (web.target.host.as_str(), web.pings.value, web.origin.to_string()),
        ("www.example.org", 5, "latmon.toml:2".into())
    );
}

#[test]
fn one_name_means_all_that_was_made_of_it() {
    let config = World::toml(
        "[group.fra.targets]\nweb = { host = \"www.example.org\", family = \"both\" }\nweb-v = \"192.0.2.9\"\n\
         lab = { cidr = \"192.0.2.0/30\" }\n",
    )
    .config();
    let called = |word| {
        let meant = config.targets.iter().filter(|target| target.is_called(word));
        meant.map(|target| target.target.name.as_str()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(called("fra/web"), "fra/web-v4 fra/web-v6");
    assert_eq!(called("fra/web-v6"), "fra/web-v6");
    assert_eq!(called("fra/lab"), "fra/lab/192.0.2.1 fra/lab/192.0.2.2");
    assert_eq!(called("fra").split(' ').count(), 5);
    assert_eq!((called("fr").as_str(), called("web").as_str(), called("fra/").as_str()), ("", "", ""));
}

#[test]
fn a_source_settles_the_family_of_a_name() {
    let config = World::toml(
        "[targets]\nfour = { host = \"a.example\", source = \"198.18.0.1\" }\nsix = { host = \"a.example\", source = \"fd00::1\" }\n\
         mapped = { host = \"::ffff:192.0.2.1\", source = \"198.18.0.1\", family = \"ipv4\" }\n",
    )
    .config();
    let families: Vec<_> = config.probe.targets.iter().map(|target| target.family).collect();
    assert_eq!(families, [Some(Family::V4), Some(Family::V6), Some(Family::V4)]);
}

/// An address leaves no choice: what is said of many targets is meant for names.
#[test]
fn a_choice_of_families_for_many_yields_to_an_address() {
    let config = World::toml(
        "[defaults]\nfamily = \"ipv6\"\n[targets]\na = \"192.0.2.1\"\nb = { host = \"192.0.2.2\", ttl = 9 }\nc = \"c.example\"\n\
         [group.g]\nfamily = \"both\"\n[group.g.targets]\nd-v4 = \"192.0.2.3\"\ne = \"fe80::1%eth0\"\nf = \"f.example\"\n",
    )
    .config();
    assert_eq!(config.names(), ["a", "b", "c", "g/d-v4", "g/e", "g/f-v4", "g/f-v6"]);
    let families: Vec<_> =
        config.targets.iter().map(|it| (it.family, it.echo.family.value.to_string())).collect();
    let of = |family, shown: &str| (family, shown.to_owned());
    let (any, v6) = (of(None, "any"), of(Some(Family::V6), "ipv6"));
    assert_eq!(families[..3], [any.clone(), any.clone(), v6]);
    let both = [Family::V4, Family::V6].map(|family| of(Some(family), "both"));
    assert_eq!(families[3..], [&[any.clone(), any][..], &both].concat());
    assert_eq!(config.named("b").echo.ttl.value, Some(9));
    assert!(!config.named("g/d-v4").is_called("g/d"), "nobody made two targets of it");
}

#[test]
fn what_contradicts_itself_is_told_with_both_places() {
    for (text, expected) in [
        (
            "[defaults]\nfamily = \"ipv4\"\n[targets.a]\nhost = \"fe80::1%eth0\"\nfamily = \"ipv4\"",
            "latmon.toml:3: target 'a': host fe80::1%eth0 does not fit family = ipv4 in latmon.toml:5",
        ),
        (
            "[targets]\na = { host = \"192.0.2.1\", family = \"both\" }",
            "latmon.toml:2: target 'a': host 192.0.2.1 does not fit family = both in latmon.toml:2",
        ),
        (
            "[defaults]\nsource = \"fd00::1\"\n[targets]\na = \"192.0.2.1\"",
            "latmon.toml:4: target 'a': host 192.0.2.1 does not fit source = fd00::1 in latmon.toml:2",
        ),
        (
            "[targets.a]\nhost = \"a.example\"\nsource = \"fd00::1\"\nfamily = \"ipv4\"",
            "latmon.toml:1: target 'a': source = fd00::1 does not fit family = ipv4 in latmon.toml:4",
        ),
        (
            "[targets.a]\nhost = \"a.example\"\nsource = \"fd00::1\"\nfamily = \"both\"",
            "latmon.toml:1: target 'a': source = fd00::1 does not fit family = both in latmon.toml:4",
        ),
        (
            "[targets]\na = { host = \"fe80::1%eth0\", interface = \"eth1\" }",
            "latmon.toml:2: target 'a': host fe80::1%eth0 does not fit interface = eth1 in latmon.toml:2",
        ),
        (
            "[targets]\na-v4 = \"192.0.2.1\"\na = { host = \"a.example\", family = \"both\" }",
            "latmon.toml:3: target 'a-v4' is named twice, first in latmon.toml:2",
        ),
    ] {
        assert_eq!(World::toml(text).error(), expected, "{text}");
    }
}

#[test]
fn values_out_of_their_bounds_are_told_with_their_place() {
    let payload = format!(
        "latmon.toml:2: payload: '{}' will not do: write a whole number from {} to {}",
        EchoSettings::LEAST_PAYLOAD - 1,
        EchoSettings::LEAST_PAYLOAD,
        EchoSettings::MOST_PAYLOAD
    );
    let text = format!("[defaults]\npayload = {}", EchoSettings::LEAST_PAYLOAD - 1);
    assert_eq!(World::toml(&text).error(), payload);
    for (line, expected) in [
        ("payload = 65508", "write a whole number from 16 to 65507"),
        ("payload = 1.5", "payload: expected a whole number, found a number"),
        ("ttl = 0", "ttl: '0' will not do: write a whole number from 1 to 255"),
        ("ttl = 256", "ttl: '256' will not do: write a whole number from 1 to 255"),
        (
            "dscp = \"best\"",
            "dscp: 'best' will not do: write a number from 0 to 63, or EF, VOICE-ADMIT, LE, CS0 to CS7, or AF11 to AF43",
        ),
        ("dscp = true", "dscp: expected a number or a name in quotes, found true or false"),
        ("dont_fragment = \"yes\"", "dont_fragment: expected true or false, found a text"),
        ("any_source = 1", "any_source: expected true or false, found a whole number"),
        ("source = \"eth0\"", "source: 'eth0' will not do: write an address of this machine, as 192.0.2.1"),
        ("source = \"::\"", "source: '::' will not do: write an address of this machine, as 192.0.2.1"),
        ("interface = \"a/b\"", "interface: 'a/b' will not do: write the name of an interface, as eth0"),
        ("interface = \"sixteen-letters-\"", "write the name of an interface, as eth0"),
        ("family = \"v4\"", "family: 'v4' will not do: write ipv4, ipv6, both or any"),
        ("payloud = 56", "unknown key 'payloud' in [defaults]: did you mean 'payload'?"),
    ] {
        let error = World::toml(&format!("[defaults]\n{line}\n[targets]\na = \"::1\"")).error();
        let expected = expected.replace(
            "16 to 65507",
            &format!("{} to {}", EchoSettings::LEAST_PAYLOAD, EchoSettings::MOST_PAYLOAD),
        );
        assert!(error.starts_with("latmon.toml:2: ") && error.ends_with(&expected), "{line}: {error}");
    }
}

#[test]
fn the_prober_is_paced_for_all() {
    let defaults = World::pinging().config();
    assert_eq!(
        (defaults.probe.pace, defaults.probe.resolve_every),
        (probe::Pace::default(), Duration::from_secs(300))
    );
    assert_eq!(origin(&defaults.pace.collect), "default");
    let config = World::toml(
        "[probe]\ncollect = \"0s\"\npackets_per_sec = 500\nin_flight = 2000\nresolve_every = 60\n[targets]\na = \"::1\"\n",
    )
    .config();
    let pace = probe::Pace { collect: Duration::ZERO, packets_per_sec: 500, in_flight: 2000 };
    assert_eq!((config.probe.pace, config.probe.resolve_every), (pace, Duration::from_secs(60)));
    assert_eq!(origin(&config.pace.in_flight), "latmon.toml:4");
    for (line, expected) in [
        (
            "collect = \"1.5s\"",
            "latmon.toml:2: collect: '1.5s' will not do: write a duration from 0 to 1s, as 10ms",
        ),
        (
            "packets_per_sec = 0",
            "latmon.toml:2: packets_per_sec: '0' will not do: write a whole number from 1 to 1000000",
        ),
        (
            "in_flight = 0",
            "latmon.toml:2: in_flight: '0' will not do: write a whole number from 1 to 10000000",
        ),
        (
            "resolve_every = \"9s\"",
            "latmon.toml:2: resolve_every: '9s' will not do: write a duration from 10s to 1d, as 5m",
        ),
        ("colect = 1", "latmon.toml:2: unknown key 'colect' in [probe]: did you mean 'collect'?"),
    ] {
        assert_eq!(World::toml(&format!("[probe]\n{line}")).error(), expected);
    }
    let included = World::toml("include = [\"a.inc\"]").file("a.inc", "[probe]\n");
    assert_eq!(included.error(), "a.inc:1: 'probe' belongs in the main file, not in one that it includes");
}

#[test]
fn targets_that_ask_for_more_packets_than_may_leave_are_told() {
    let config =
        World::toml("[defaults]\nstep = 1\npings = 20\n[probe]\npackets_per_sec = 39\n[targets]\na = \"::1\"\nb = \"::1\"\n")
            .config();
    assert_eq!(
        config.warnings,
        ["the targets ask for 40 packets/s, and packets_per_sec = 39 (latmon.toml:5) allows fewer"]
    );
}

#[test]
fn anchors_are_the_gateways_unless_somebody_names_others() {
    use crate::probe::Anchors;
    let config = |toml: &str| World::toml(&format!("{toml}[targets]\na = \"::1\"\n")).config();
    assert_eq!(World::pinging().config().probe.anchors, Anchors::Gateways);
    assert_eq!(config("[uplink]\nanchor = []\n").probe.anchors, Anchors::These(Vec::new()));
    let named = config("[uplink]\nanchor = [\"192.0.2.1\", \"2001:db8::1\"]\n");
    let these = ["192.0.2.1", "2001:db8::1"].map(|it| it.parse().unwrap()).to_vec();
    assert_eq!(
        (named.probe.anchors, origin(&named.uplink.anchors).as_str()),
        (Anchors::These(these), "latmon.toml:2")
    );
    let wanted = "write the address of a machine that answers as long as there is a way out, as 192.0.2.1";
    for anchor in ["gw.example.org", "127.0.0.1", "fe80::1", "0.0.0.0", ""] {
        let expected = format!("latmon.toml:2: anchor: '{anchor}' will not do: {wanted}");
        assert_eq!(World::toml(&format!("[uplink]\nanchor = [\"{anchor}\"]")).error(), expected);
    }
    let many = ["\"192.0.2.1\""; 9].join(", ");
    assert_eq!(
        World::toml(&format!("[uplink]\nanchor = [{many}]")).error(),
        "latmon.toml:2: anchor: '192.0.2.1' will not do: write no more than eight addresses"
    );
    assert_eq!(
        World::toml("[uplink]\nanchors = []").error(),
        "latmon.toml:2: unknown key 'anchors' in [uplink]: did you mean 'anchor'?"
    );
}
