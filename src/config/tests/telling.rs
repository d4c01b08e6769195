//! How alerts are told: `[alerts]`, `[maintenance.NAME]`, `parent`.

use super::*;

use crate::alert::desk::quiet::When;
use crate::time::parse_point;

fn parents(text: &str) -> Vec<(String, Option<String>)> {
    let config = World::toml(text).config();
    let places = config.desk.targets.iter();
    places.map(|place| (place.target.name.clone(), place.parent.clone())).collect()
}

#[test]
fn how_alerts_are_told_has_defaults() {
    let config = World::toml("[targets]\na = \"::1\"\n").config();
    assert_eq!((config.desk.settle, config.desk.max_per_hour), (Duration::from_secs(10), 20));
    let config = World::toml("[alerts]\nsettle = 0\nmax_per_hour = 3\n[targets]\na = \"::1\"\n").config();
    assert_eq!((config.desk.settle, config.desk.max_per_hour), (Duration::ZERO, 3));
    assert_eq!(config.telling.settle.origin.to_string(), "latmon.toml:2");
}

#[test]
fn a_group_lies_behind_its_parent_but_not_that_behind_itself() {
    let own = |name: &str, parent: Option<&str>| (name.to_owned(), parent.map(str::to_owned));
    assert_eq!(
        parents(
            "[targets]\nisp = \"::1\"\n[group.fra]\nparent = \"fra/gw1\"\n[group.fra.targets]\ngw1 = \"::1\"\na = \
             \"::1\"\nb = { host = \"::1\", parent = \"isp\" }\n"
        ),
        [own("isp", None), own("fra/gw1", None), own("fra/a", Some("fra/gw1")), own("fra/b", Some("isp"))]
    );
    assert_eq!(
        parents(
            "[defaults]\nfamily = \"both\"\n[targets]\ngw = \"gw.example\"\na = { host = \"a.example\", parent = \
             \"gw\" }\n"
        ),
        [own("gw-v4", None), own("gw-v6", None), own("a-v4", Some("gw-v4")), own("a-v6", Some("gw-v6"))]
    );
}

#[test]
fn work_is_planned_every_week_or_once() {
    let config = World::toml(
        "[maintenance.fibre]\nwhen = \"sun 02:00-04:00\"\ntargets = [\"fra\"]\nreason = \"new\"\n[maintenance.move]\n\
         from = 2026-11-22T02:00:00Z\nuntil = \"2026-11-22T04:00:00+00:00\"\ntargets = [\"all\"]\n\
         [targets]\n\"fra/a\" = \"::1\"\n",
    )
    .config();
    let [fibre, moving] = config.desk.maintenance.as_slice() else { panic!("two") };
    assert_eq!(fibre.when, When::Weekly("sun 02:00-04:00".parse().unwrap()));
    assert_eq!((fibre.targets.as_slice(), fibre.reason.as_str()), (&["fra".to_owned()][..], "new"));
    let now = crate::time::UnixTime::from_secs(0);
    let point = |text| parse_point(text, now).unwrap();
    assert_eq!(
        moving.when,
        When::Once { from: point("2026-11-22T02:00:00Z"), until: point("2026-11-22T04:00:00Z") }
    );
}

#[test]
fn what_is_wrong_with_it_is_told_with_its_place() {
    let maintenance = |rest: &str| format!("[targets]\na = \"::1\"\n[maintenance.x]\n{rest}\n");
    for (text, expected) in [
        (
            "[alerts]\nsettle = \"11m\"\n",
            "latmon.toml:2: settle: '11m' will not do: write a duration from 0s to 10m, as 10s",
        ),
        (
            "[alerts]\nmax_per_hour = 0\n",
            "latmon.toml:2: max_per_hour: '0' will not do: write a whole number from 1 to 1000",
        ),
        ("[alerts]\nsetle = 1\n", "latmon.toml:2: unknown key 'setle' in [alerts]: did you mean 'settle'?"),
        (
            "[targets]\ngw1 = \"::1\"\na = { host = \"::1\", parent = \"gw2\" }\n",
            "latmon.toml:3: unknown parent 'gw2': did you mean 'gw1'?",
        ),
        (
            "[targets]\na = { host = \"::1\", parent = \"a\" }\n",
            "latmon.toml:2: parents go round in a circle: a behind a",
        ),
        (
            "[targets]\na = { host = \"::1\", parent = \"b\" }\nb = { host = \"::1\", parent = \"a\" }\n",
            "latmon.toml:2: parents go round in a circle: a behind b behind a",
        ),
        (
            "[defaults]\nparent = \"a\"\n",
            "latmon.toml:2: unknown key 'parent' in [defaults]: there are step, pings, timeout, alerts, payload, ttl, dscp, \
             dont_fragment, source, interface, family, any_source",
        ),
        (&maintenance(""), "latmon.toml:3: [maintenance.x] has neither 'when' nor 'from' and 'until'"),
        (
            &maintenance("when = \"sun 02:00-04:00\""),
            "latmon.toml:3: [maintenance.x] has no 'targets': write names, groups or patterns, or [\"all\"]",
        ),
        (
            &maintenance("when = \"sun 02:00-04:00\"\ntargets = [\"b\"]"),
            "latmon.toml:3: [maintenance.x] names 'b', and no target is called that",
        ),
        (
            &maintenance("from = \"2h\"\nuntil = \"3h\"\ntargets = [\"a\"]"),
            "latmon.toml:4: from: '2h' will not do: write a date and time, as 2026-11-22 02:00",
        ),
        (
            &maintenance("from = \"2026-11-22 04:00\"\nuntil = \"2026-11-22 02:00\"\ntargets = [\"a\"]"),
            "latmon.toml:3: [maintenance.x] ends before it begins",
        ),
    ] {
        assert_eq!(World::toml(text).error(), expected, "{text}");
    }
}
