//! Targets out of plain lists and out of networks.

use super::*;

fn hosts(config: &Config) -> Vec<&str> {
    config.targets.iter().map(|target| target.target.host.as_str()).collect()
}

#[test]
fn a_list_names_hosts_with_or_without_a_name() {
    let list = "\u{feff}# our routers\r\n192.0.2.1\r\n\n  core1\t192.0.2.2   # the big one\n2001:db8::1\nweb www.example.org";
    let config =
        World::toml("targets_file = \"hosts.txt\"\n[defaults]\nttl = 9\n").file("hosts.txt", list).config();
    assert_eq!(config.names(), ["192.0.2.1", "core1", "2001:db8::1", "web"]);
    assert_eq!(hosts(&config), ["192.0.2.1", "192.0.2.2", "2001:db8::1", "www.example.org"]);
    assert_eq!(config.named("core1").origin.to_string(), "hosts.txt:4");
    assert_eq!(config.named("web").echo.ttl.value, Some(9));
}

#[test]
fn a_groups_list_has_the_groups_name_and_settings() {
    let config = World::toml(
        "include = [\"conf.d/more.toml\"]\n[group.fra]\nstep = 300\nfamily = \"both\"\ntargets_file = \"hosts.txt\"\n\
         [group.fra.targets]\nx = \"x.example\"\n",
    )
    .file("hosts.txt", "a.example\n")
    .file("conf.d/more.toml", "targets_file = \"here.list\"\n")
    .file("conf.d/here.list", "::1\n")
    .config();
    assert_eq!(config.names(), ["fra/x-v4", "fra/x-v6", "fra/a.example-v4", "fra/a.example-v6", "::1"]);
    assert_eq!(config.named("fra/a.example-v6").step.value.secs(), 300);
    assert_eq!(
        config.named("::1").origin.to_string(),
        "conf.d/here.list:1",
        "a path begins at the file that has it"
    );
}

#[test]
fn of_a_folder_every_list_is_read_in_the_order_of_their_names() {
    let config = World::toml("targets_file = \"lists\"")
        .file("lists/b.txt", "b 192.0.2.2")
        .file("lists/a.list", "a 192.0.2.1\n")
        .file("lists/c.bak", "no list")
        .file("lists/.d.txt", "no list either")
        .file("lists/deep.txt/e.txt", "nor this")
        .config();
    assert_eq!(config.names(), ["a", "b"]);
    assert_eq!(
        World::toml("targets_file = \"lists\"").file("lists/c.bak", "").load().unwrap_err().to_string(),
        Error::NoTargets.to_string()
    );
}

#[test]
fn what_is_wrong_with_a_list_is_told_with_its_line() {
    let network = "this is a network: name it in the settings file, as lab = { cidr = \"192.0.2.0/28\" } under [targets]";
    let in_list = format!("hosts.txt:1: host: '192.0.2.0/28' will not do: {network}");
    for (list, expected) in [
        (
            "a 192.0.2.1\nb 192.0.2.2 x # y",
            "hosts.txt:2: 'b 192.0.2.2 x' will not do: write NAME HOST or HOST, and # before a comment",
        ),
        (
            "\n\nexample.org:80",
            "hosts.txt:3: host: 'example.org:80' will not do: write a host name or an address, as 192.0.2.1",
        ),
        ("192.0.2.0/28", in_list.as_str()),
        ("../x 192.0.2.1", "hosts.txt:1: target name '../x': no part of it may be '.' or '..'"),
        ("a 192.0.2.1\na 192.0.2.2", "hosts.txt:2: target 'a' is named twice, first in hosts.txt:1"),
        ("main 192.0.2.1", "hosts.txt:1: target 'main' is named twice, first in latmon.toml:3"),
    ] {
        let world =
            World::toml("targets_file = \"hosts.txt\"\n[targets]\nmain = \"::1\"").file("hosts.txt", list);
        assert_eq!(world.error(), expected, "{list}");
    }
    let world = || World::toml("\ntargets_file = \"hosts.txt\"");
    assert_eq!(world().error(), "latmon.toml:2: cannot read hosts.txt: no such file");
    assert_eq!(world().file("hosts.txt", b"a\n\xff").error(), "hosts.txt:2: not UTF-8");
    assert_eq!(
        world().file("hosts.txt", vec![b'#'; (32 << 20) + 1]).error(),
        "hosts.txt: longer than 33554432 bytes"
    );
    assert_eq!(
        World::toml("targets_file = 5").error(),
        "latmon.toml:1: targets_file: expected a text in quotes, found a whole number"
    );
    assert_eq!(
        World::toml("target_file = \"x\"").error(),
        "latmon.toml:1: unknown key 'target_file' at the top: did you mean 'targets_file'?"
    );
    let many: String = (0..100_001).map(|n| format!("t{n} 192.0.2.1\n")).collect();
    assert_eq!(world().file("hosts.txt", many).error(), "hosts.txt:100001: more than 100000 targets");
}

/// The hosts of a network, as the arithmetic of addresses has them.
#[test]
fn a_network_is_a_target_for_each_of_its_hosts() {
    let names = |cidr: &str| {
        let text = format!("[targets]\nlab = {{ cidr = \"{cidr}\", pings = 5 }}");
        World::toml(&text).config().names().join(" ")
    };
    let hosts: Vec<String> = (1..15).map(|n| format!("lab/192.0.2.{n}")).collect();
    assert_eq!(names("192.0.2.0/28"), hosts.join(" "));
    assert_eq!(names("192.0.2.4/30"), "lab/192.0.2.5 lab/192.0.2.6");
    assert_eq!(names("192.0.2.4/31"), "lab/192.0.2.4 lab/192.0.2.5");
    assert_eq!(names("192.0.2.4/32"), "lab/192.0.2.4");
    assert_eq!(names("2001:db8::/126"), "lab/2001:db8:: lab/2001:db8::1 lab/2001:db8::2 lab/2001:db8::3");
    let config = World::toml(
        "[defaults]\nfamily = \"ipv4\"\n[group.g.targets]\nlab = { cidr = \"198.18.0.0/16\", pings = 5 }",
    )
    .config();
    assert_eq!(config.targets.len(), 65_534);
    let last = config.targets.last().unwrap();
    assert_eq!(
        (last.target.name.as_str(), last.target.host.as_str()),
        ("g/lab/198.18.255.254", "198.18.255.254")
    );
    assert_eq!(
        (last.pings.value, last.family, last.origin.to_string()),
        (5, Some(Family::V4), "latmon.toml:4".into())
    );
}

#[test]
fn a_network_that_is_none_or_too_large_is_told() {
    let large = |network| format!("latmon.toml:2: cidr: {network} has more than 65536 addresses");
    let cases = [
        ("cidr = \"192.0.2.5/28\"", "latmon.toml:2: cidr: '192.0.2.5/28' will not do: did you mean 192.0.2.0/28?".to_owned()),
        ("cidr = \"198.18.0.0/15\"", large("198.18.0.0/15")),
        ("cidr = \"2001:db8::/111\"", large("2001:db8::/111")),
        ("cidr = \"::/0\"", large("::/0")),
        (
            "cidr = \"192.0.2.0\"",
            "latmon.toml:2: cidr: '192.0.2.0' will not do: write a network, as 192.0.2.0/28 or 2001:db8::/120".to_owned(),
        ),
        (
            "cidr = \"192.0.2.0/33\"",
            "latmon.toml:2: cidr: '192.0.2.0/33' will not do: write a network, as 192.0.2.0/28 or 2001:db8::/120".to_owned(),
        ),
        ("cidr = 5", "latmon.toml:2: cidr: expected a text in quotes, found a whole number".to_owned()),
        (
            "host = \"::1\", cidr = \"192.0.2.0/28\"",
            "latmon.toml:2: target 'lab' has 'host' and also 'cidr': keep one of them".to_owned(),
        ),
        (
            "cidr = \"192.0.2.0/28\", family = \"ipv6\"",
            "latmon.toml:2: target 'lab/192.0.2.1': host 192.0.2.1 does not fit family = ipv6 in latmon.toml:2".to_owned(),
        ),
        (
            "host = \"192.0.2.0/28\"",
            "latmon.toml:2: host: '192.0.2.0/28' will not do: this is a network: name it in the settings file, as lab = \
             { cidr = \"192.0.2.0/28\" } under [targets]"
                .to_owned(),
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(World::toml(&format!("[targets]\nlab = {{ {text} }}")).error(), expected, "{text}");
    }
    let two = "[targets]\na = { cidr = \"198.18.0.0/16\" }\nb = { cidr = \"198.19.0.0/16\" }";
    assert_eq!(World::toml(two).error(), "latmon.toml:3: more than 100000 targets");
}

#[test]
fn words_and_ping_host_are_no_networks() {
    let told = "this is a network: name it in the settings file, as lab = { cidr = \"192.0.2.0/28\" } under [targets]";
    assert_eq!(
        World::new().words(&["192.0.2.0/28"]).error(),
        format!("TARGET: '192.0.2.0/28' will not do: {told}")
    );
    let several = World::new().env("PING_HOST", "a,2001:db8::/120");
    assert_eq!(several.error(), format!("PING_HOST: 'a,2001:db8::/120' will not do: {told}"));
}

#[test]
fn any_bytes_are_a_list_or_an_error_of_one_line() {
    use proptest::prelude::*;
    let run = |bytes: Vec<u8>| {
        let world = World::toml("targets_file = \"hosts.txt\"").file("hosts.txt", &bytes);
        match world.load() {
            Ok(config) => assert!(!config.targets.is_empty()),
            Err(error) => assert!(!error.to_string().chars().any(char::is_control), "{error}"),
        }
    };
    let words = prop::sample::select(vec![
        "a",
        "192.0.2.1",
        "::1",
        "#",
        " ",
        "\n",
        "/",
        "..",
        "\r",
        "\t",
        "\u{85}",
        "é",
    ]);
    let text = prop::collection::vec(words, 0..30).prop_map(|words| words.concat().into_bytes());
    proptest!(ProptestConfig::with_cases(64), |(bytes in prop_oneof![text, prop::collection::vec(any::<u8>(), 0..60)])| run(bytes));
}
