//! One [`World`] is a working folder, an environment and a command line, all made up.

use super::*;

use tempfile::TempDir;

mod echoes;
mod errors;
mod files;
mod kept;
mod lists;
mod mails;
mod precedence;
mod telling;
mod ways;

/// A made-up surrounding.
struct World {
    folder: TempDir,
    surroundings: Surroundings,
    options: Options,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The errors' texts must not depend on the folder's name, which has links in it on some machines.
        let root = folder.path().canonicalize().unwrap();
        let working_dir = root.join("work");
        std::fs::create_dir(&working_dir).unwrap();
        let surroundings = Surroundings {
            variables: BTreeMap::new(),
            working_dir,
            system_file: root.join("etc/latmon.toml"),
        };
        Self { folder, surroundings, options: Options::default() }
    }

    /// One with this `latmon.toml`.
    fn toml(text: &str) -> Self {
        Self::new().file("latmon.toml", text)
    }

    /// One with this `.env`.
    fn dotenv(text: &str) -> Self {
        Self::new().file(".env", text)
    }

    /// One that pings 192.0.2.1 because the environment says so.
    fn pinging() -> Self {
        Self::new().env("PING_HOST", "192.0.2.1")
    }

    /// Only for the owner to read, so that no warning is due.
    fn file(self, path: &str, text: impl AsRef<[u8]>) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let path = self.surroundings.working_dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        self
    }

    fn env(mut self, key: &str, value: &str) -> Self {
        self.surroundings.variables.insert(key.into(), value.into());
        self
    }

    fn typed(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.options);
        self
    }

    fn words(self, words: &[&str]) -> Self {
        self.typed(|options| options.targets = words.iter().map(|word| (*word).to_owned()).collect())
    }

    fn load(&self) -> Result<Config, Error> {
        load(&self.options, &self.surroundings)
    }

    #[track_caller]
    fn config(&self) -> Config {
        self.load().unwrap_or_else(|error| panic!("{error}"))
    }

    /// The error's text, with `WORK` and `ROOT` for the two folders.
    #[track_caller]
    fn error(&self) -> String {
        let error = self.load().expect_err("settings that must be refused");
        let root = self.folder.path().canonicalize().unwrap();
        let text = error.to_string().replace(self.surroundings.working_dir.to_str().unwrap(), "WORK");
        text.replace(root.to_str().unwrap(), "ROOT")
    }
}

/// The first target.
impl Config {
    fn first(&self) -> &TargetConfig {
        &self.targets[0]
    }

    fn named(&self, name: &str) -> &TargetConfig {
        self.targets.iter().find(|target| target.target.name == name).expect(name)
    }

    fn names(&self) -> Vec<&str> {
        self.targets.iter().map(|target| target.target.name.as_str()).collect()
    }
}

impl TargetConfig {
    fn alert_names(&self) -> Vec<&str> {
        self.alerts.value.iter().map(|rule| rule.value.name.as_str()).collect()
    }
}

#[test]
fn the_script_of_the_past_needs_no_change() {
    let config = World::dotenv(
        "PING_HOST=192.0.2.1\nLATENCY_STEP=30\nLATENCY_THRESHOLD=100\nEMAIL_SENDER=me@gmail.com\n\
         EMAIL_PASSWORD=abcd efgh ijkl mnop\nEMAIL_RECEIVER=you@example.org\n",
    )
    .config();
    assert_eq!((config.names(), config.first().target.host.as_str()), (vec!["latency"], "192.0.2.1"));
    assert_eq!(config.first().step.value.secs(), 30);
    assert_eq!(config.first().alert_names(), ["down", "threshold"]);
    let limit = Rtt::new(Duration::from_millis(100));
    assert_eq!(config.limits.get(config.first().target.as_ref()), Some(&limit));
    let mail = config.mail.unwrap();
    assert_eq!(
        (mail.from.to_string(), mail.to[0].to_string()),
        ("me@gmail.com".into(), "you@example.org".into())
    );
    assert_eq!((mail.server.host.as_str(), mail.server.port), ("smtp.gmail.com", 465));
    assert_eq!(mail.server.tls, post::Tls::Implicit);
    let login = mail.server.login.unwrap();
    assert_eq!((login.username.as_str(), login.password.reveal()), ("me@gmail.com", "abcd efgh ijkl mnop"));
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn only_one_host_of_the_environment_without_file_and_folder_is_called_latency() {
    let names = |world: World| world.config().names().join(" ");
    assert_eq!(names(World::pinging()), "latency");
    assert_eq!(names(World::pinging().file("latmon.toml", "")), "192.0.2.1");
    assert_eq!(names(World::pinging().env("LATMON_DATA_DIR", "d")), "192.0.2.1");
    assert_eq!(names(World::pinging().env("STATE_DIRECTORY", "/d")), "192.0.2.1");
    assert_eq!(names(World::pinging().typed(|typed| typed.data_dir = Some("d".into()))), "192.0.2.1");
    assert_eq!(names(World::new().words(&["192.0.2.1"])), "192.0.2.1");
    assert_eq!(names(World::new().env("PING_HOST", "b, a ,2001:db8::1,")), "b a 2001:db8::1");
}

#[test]
fn the_rooms_get_the_same_targets_in_the_same_order() {
    let config = World::toml(
        "[targets]\nz = \"192.0.2.1\"\na = { host = \"192.0.2.2\", step = 300, pings = 5, timeout = 2 }\n",
    )
    .config();
    assert_eq!(config.names(), ["z", "a"], "the order of the file");
    let (probe, archive, alert) = (&config.probe.targets, &config.archive.targets, &config.alert.targets);
    for (index, target) in config.targets.iter().enumerate() {
        assert!(Arc::ptr_eq(&target.target, &probe[index].target));
        assert!(Arc::ptr_eq(&target.target, &archive[index].target));
        assert!(Arc::ptr_eq(&target.target, &alert[index].target));
    }
    assert_eq!((probe[1].step.secs(), probe[1].pings, probe[1].timeout), (300, 5, Duration::from_secs(2)));
    assert_eq!((alert[1].step.secs(), alert[1].rules.len()), (300, 1));
    assert_eq!(config.archive.data_dir, config.data_dir.value);
}

#[test]
fn an_archive_may_overrule_only_what_nobody_said() {
    let wanted = |world: World| {
        let archive = world.config().archive;
        (archive.targets[0].step, archive.targets[0].pings)
    };
    let step = |secs| Step::new(secs).unwrap();
    assert_eq!(wanted(World::pinging()), (Wanted::Default(step(60)), Wanted::Default(20)));
    let typed = World::pinging().typed(|typed| {
        typed.step = Some("60s".into());
        typed.pings = Some("20".into());
    });
    assert_eq!(wanted(typed), (Wanted::Outright(step(60)), Wanted::Outright(20)));
    let (env, dotenv) =
        (World::pinging().env("LATENCY_STEP", "60"), World::pinging().file(".env", "LATENCY_STEP=60"));
    assert_eq!(wanted(env).0, Wanted::Outright(step(60)));
    assert_eq!(wanted(dotenv).0, Wanted::Outright(step(60)));
    let file = World::toml("[defaults]\nstep = \"60s\"\n[targets]\na = \"192.0.2.1\"\n");
    assert_eq!(wanted(file), (Wanted::Outright(step(60)), Wanted::Default(20)));
}

#[test]
fn down_is_built_in_and_only_an_empty_list_takes_it_off() {
    let config = World::toml(
        "[defaults]\nalerts = [\"slow\"]\n[alert.slow]\nwhen = \"p95 > 1s\"\n[alert.late]\nwhen = \"median >= 80ms\"\n\
         [targets]\nplain = \"192.0.2.1\"\nbare = { host = \"192.0.2.2\", alerts = [] }\n\
         late = { host = \"192.0.2.3\", alerts = [\"late\", \"down\", \"late\"] }\n\
         [group.g]\nalerts = [\"late\", \"slow\"]\n[group.g.targets]\none = \"192.0.2.4\"\n",
    )
    .env("LATENCY_THRESHOLD", "0.2s");
    let config = config.config();
    assert_eq!(config.named("plain").alert_names(), ["down", "threshold", "slow"]);
    assert_eq!(config.named("bare").alert_names(), Vec::<&str>::new());
    assert_eq!(config.named("late").alert_names(), ["down", "threshold", "late"]);
    assert_eq!(config.named("g/one").alert_names(), ["down", "threshold", "late", "slow"]);
    let limit = |name| config.named(name).limit.map(|limit| limit.duration().as_millis());
    assert_eq!((limit("plain"), limit("bare"), limit("late")), (Some(200), None, Some(200)));
}

#[test]
fn the_line_in_the_picture_is_the_first_rule_about_a_high_median() {
    let limit = |whens: &[&str]| {
        let rules: String =
            whens.iter().zip(0..).map(|(when, n)| format!("[alert.r{n}]\nwhen = \"{when}\"\n")).collect();
        let names: Vec<String> = (0..whens.len()).map(|n| format!("\"r{n}\"")).collect();
        let text = format!("{rules}[targets]\na = {{ host = \"::1\", alerts = [{}] }}", names.join(","));
        World::toml(&text).config().first().limit.map(|limit| limit.duration().as_millis())
    };
    assert_eq!(limit(&["p95 > 1s", "loss > 5%", "median < 1ms"]), None);
    assert_eq!(limit(&["median < 1ms", "median >= 80ms", "median > 90ms"]), Some(80));
}

#[test]
fn an_alert_takes_its_windows_from_the_file_or_the_defaults() {
    let rule = |text: &str| {
        let text = format!("[alert.r]\n{text}\n[targets]\na = {{ host = \"::1\", alerts = [\"r\"] }}");
        Rule::clone(&World::toml(&text).config().first().alerts.value[1].value)
    };
    let plain = rule("when = \"loss >= 20%\"");
    assert_eq!((plain.name.as_str(), plain.judge.to_string()), ("r", "loss >= 20%".to_owned()));
    assert_eq!((plain.raise, plain.clear), (Rule::DEFAULT_RAISE, Rule::DEFAULT_CLEAR));
    assert_eq!(plain.repeat, Some(Rule::DEFAULT_REPEAT));
    let full = rule("when = \"max > 1s\"\nfor = \"5m\"\nclear = \"4 of 5\"\nrepeat = \"2h\"");
    assert_eq!((full.raise.to_string(), full.clear.to_string()), ("5m".to_owned(), "4 of 5".to_owned()));
    assert_eq!(full.repeat, Some(Duration::from_secs(7200)));
    assert_eq!(rule("type = \"rtt\"\npattern = \">100,>100\"\nrepeat = \"never\"").repeat, None);
    assert_eq!(
        rule("type = \"rtt\"\npattern = \">9\"\nedgetrigger = true").repeat,
        Some(Rule::DEFAULT_REPEAT)
    );
    assert_eq!(rule("type = \"rtt\"\npattern = \">9\"\nedgetrigger = false").repeat, Some(Rule::EACH_ROUND));
    // A forecast has looked at several rounds already.
    let aberrant = rule("when = \"aberrant\"");
    assert_eq!((aberrant.raise, aberrant.clear), (Rule::AT_ONCE, Rule::DEFAULT_CLEAR));
}

#[test]
fn an_alert_says_how_much_it_matters_who_is_told_and_when() {
    let rule = |text: &str| {
        let text = format!(
            "[alert.r]\nwhen = \"loss > 1%\"\n{text}\n[targets]\na = {{ host = \"::1\", alerts = [\"r\"] }}"
        );
        let config = World::toml(&text).config();
        let rules: Vec<Rule> =
            config.first().alerts.value.iter().map(|rule| Rule::clone(&rule.value)).collect();
        <[Rule; 2]>::try_from(rules).unwrap()
    };
    let [down, plain] = rule("");
    assert_eq!((down.severity, plain.severity), (alert::Severity::Critical, alert::Severity::Warning));
    assert_eq!((plain.to, plain.hours), (Vec::new(), None));
    let [down, full] = rule(
        "severity = \"info\"\nto = [\"noc@example.org\", \"boss@example.org\"]\nhours = \"mon-fri 08:00-18:00\"",
    );
    assert_eq!((down.severity, down.to.len(), down.hours), (alert::Severity::Critical, 0, None));
    assert_eq!(full.severity, alert::Severity::Info);
    assert_eq!(full.to, ["noc@example.org", "boss@example.org"]);
    assert_eq!(full.hours, "mon-fri 08:00-18:00".parse().ok());
}

#[test]
fn words_and_ping_host_take_the_place_of_the_files_targets_and_keep_its_defaults() {
    let world = || World::toml("[defaults]\nstep = 300\n[targets]\nfiled = \"192.0.2.9\"\n");
    assert_eq!(world().config().names(), ["filed"]);
    let words = world().words(&["192.0.2.1", "2001:db8::1"]).config();
    assert_eq!((words.names(), words.first().step.value.secs()), (vec!["192.0.2.1", "2001:db8::1"], 300));
    let host = world().env("PING_HOST", "192.0.2.2").config();
    assert_eq!((host.names(), host.first().step.value.secs()), (vec!["192.0.2.2"], 300));
}

#[test]
fn hosts_are_names_or_whole_addresses() {
    for good in ["a", "example.org", "example.org.", "a_b-c.x1", "192.0.2.1", "::1", "fe80::1%eth0", "1a.2b"]
    {
        assert_eq!(value::host(good), Ok(good.to_owned()));
    }
    let long = format!("{}.org", "a".repeat(64));
    let bad = [
        "",
        " ",
        "a b",
        "example.org:80",
        "https://example.org",
        "192.0.2",
        "192.0.2.256",
        "[::1]",
        "-c",
        "a..b",
        ".",
        "..",
        "a/b",
        "192.0.2.1 # home",
        "münchen.example",
        "::g",
        "fe80::1%e th0",
        "8.8.8.8.",
        &long,
    ];
    for bad in bad {
        assert!(value::host(bad).is_err(), "{bad}");
    }
}

#[test]
fn steps_pings_and_timeouts_have_bounds() {
    let step = |text| value::step(text).map(Step::secs).ok();
    assert_eq!(
        ["1", "60s", "5m", "1d", "1.0"].map(step),
        [Some(1), Some(60), Some(300), Some(86_400), Some(1)]
    );
    assert_eq!(["0", "1.5", "500ms", "86401", "-1", "", "1M", "1e3"].map(step), [None; 8]);
    let pings = |text| value::pings(text).ok();
    assert_eq!(["1", "20", "1000", "0", "1001", "-1", "+5", "2.0", "", "65537"].map(pings), {
        let good = [1, 20, 1000].map(Some);
        [good[0], good[1], good[2], None, None, None, None, None, None, None]
    });
    let timeout = |text| value::timeout(text).map(|timeout| timeout.as_millis()).ok();
    assert_eq!(
        ["10ms", "1.5", "1m", "9ms", "61s", "0"].map(timeout),
        [Some(10), Some(1500), Some(60_000), None, None, None]
    );
    let threshold = |text| value::threshold(text).map(|limit| limit.duration().as_micros()).ok();
    assert_eq!(
        ["100", "0.5", "1.5s", "0", "0.0ms", "x"].map(threshold),
        [Some(100_000), Some(500), Some(1_500_000), None, None, None]
    );
}

#[test]
fn names_cannot_leave_the_data_folder_nor_meet_what_else_lies_there() {
    for good in
        ["a", "fra/core1", "a/b/c", "2001:db8::1", "outboxes", "x/outbox", "sent.rrd", "büro", "..a", "a b"]
    {
        assert_eq!(value::name_fault(good), None, "{good}");
    }
    let long = "n".repeat(201);
    let bad = [
        "", "/etc", "a//b", "a/", "..", "a/../b", "./a", "outbox", "sent/x", "journal", "a\nb", "a\0",
        "x.rrd/a", &long,
    ];
    for bad in bad {
        assert!(value::name_fault(bad).is_some(), "{bad}");
    }
}

#[test]
fn a_slip_in_a_variables_name_is_said() {
    let world = World::pinging().env("LATENCY_TRESHOLD", "100").env("EMAIL_USER", "x");
    let config = world.file(".env", "OTHER=1\nPING_HOSTS=192.0.2.7\nEMAIL_HOST=mx\n").config();
    assert_eq!(
        config.warnings,
        [
            ".env:2: PING_HOSTS is no setting of latmon: did you mean PING_HOST?",
            "LATENCY_TRESHOLD is no setting of latmon: did you mean LATENCY_THRESHOLD?",
        ]
    );
}

#[test]
fn a_hundred_thousand_targets_are_read_and_no_more() {
    let text = |count: usize| {
        let lines = (0..count).map(|n| format!("t{n} = \"192.0.2.1\"\n"));
        std::iter::once("[targets]\n".to_owned()).chain(lines).collect::<String>()
    };
    assert_eq!(World::toml(&text(100_000)).config().probe.targets.len(), 100_000);
    assert_eq!(World::toml(&text(100_001)).error(), "latmon.toml:100002: more than 100000 targets");
}
