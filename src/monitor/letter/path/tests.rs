use std::collections::HashMap;
use std::time::Duration;

use super::*;
use crate::probe::HopAnswer;
use crate::probe::icmp::{Family, Reason};
use crate::time::UnixTime;

fn router(number: u8) -> IpAddr {
    IpAddr::from([198, 18, number, 1])
}

/// A path by these routers, each of which takes so many milliseconds; 0 is one that stays silent.
fn path(hops: &[(u8, u64)], end: PathEnd) -> Path {
    let says = Some(Reason { family: Family::V4, kind: 11, code: 0 });
    let answer = |(number, ms): (u8, u64)| {
        let answer = HopAnswer { from: router(number), rtt: Rtt::new(Duration::from_millis(ms)), says };
        if number == 0 { Vec::new() } else { vec![answer] }
    };
    let hop = |(hop, distance): (&(u8, u64), u8)| Hop { distance, sent: 3, answers: answer(*hop) };
    Path { target: router(9), hops: hops.iter().zip(1..).map(hop).collect(), end }
}

fn sighting(hops: &[(u8, u64)], end: PathEnd, good: &[(u8, u64)]) -> Sighting {
    let good = path(good, PathEnd::Reached).hops.into_iter().map(|hop| GoodHop {
        distance: hop.distance,
        from: hop.addresses(),
        name: hop.addresses().contains(&router(2)).then(|| "core2.example".to_owned()),
        median: hop.median(),
    });
    let good = GoodPath { at: UnixTime::from_secs(1_700_000_000), address: router(9), hops: good.collect() };
    let now = Sight::Traced {
        at: UnixTime::from_secs(1_700_086_400),
        path: path(hops, end),
        names: HashMap::new(),
    };
    Sighting { now, good: Some(good) }
}

const GOOD: &[(u8, u64)] = &[(1, 1), (2, 3), (3, 4), (9, 12)];

fn found(hops: &[(u8, u64)], end: PathEnd) -> Option<String> {
    finding(&sighting(hops, end, GOOD)).and_then(|finding| finding.suspect())
}

#[test]
fn the_hop_where_it_went_wrong_is_named() {
    assert_eq!(found(GOOD, PathEnd::Reached), None);
    assert_eq!(found(&[(1, 1), (0, 0), (3, 4), (9, 12)], PathEnd::Reached), None, "a shy router");
    assert_eq!(
        found(&[(1, 1), (2, 3), (3, 4)], PathEnd::Silent(30)).unwrap(),
        "the target, or the line to it: the path is whole up to the last router, hop 3, 198.18.3.1"
    );
    assert_eq!(
        found(&[(1, 1)], PathEnd::Silent(30)).unwrap(),
        "the path behind hop 1, 198.18.1.1: core2.example (198.18.2.1) used to be next, and is silent"
    );
    assert_eq!(
        found(&[], PathEnd::Silent(30)).unwrap(),
        "the very beginning of the path: 198.18.1.1 used to be the first hop, and is silent"
    );
    assert_eq!(
        found(&[(1, 1), (7, 3), (8, 4)], PathEnd::Silent(30)).unwrap(),
        "the path: hop 2 is 198.18.7.1 now, not core2.example (198.18.2.1), and does not reach the target"
    );
    assert_eq!(
        found(&[(1, 1), (2, 3), (8, 4), (9, 40)], PathEnd::Reached).unwrap(),
        "the path: hop 3 is 198.18.8.1 now, not 198.18.3.1"
    );
    let unreachable = PathEnd::Refused(Reason { family: Family::V4, kind: 3, code: 1 });
    assert_eq!(
        found(&[(1, 1), (2, 3), (3, 4)], unreachable).unwrap(),
        "the target, or the line to it: the last router, hop 3, 198.18.3.1, says host unreachable"
    );
    assert_eq!(
        found(&[(1, 1), (2, 3)], unreachable).unwrap(),
        "the path: hop 2, core2.example (198.18.2.1), says host unreachable"
    );
    assert_eq!(
        found(&[(1, 1), (2, 3), (3, 104), (9, 112)], PathEnd::Reached).unwrap(),
        "the path from hop 3 on, 198.18.3.1: it answers after 104 ms, 4.00 ms before"
    );
    // A router that is slow to say so, with quick ones behind it, is no delay on the path.
    assert_eq!(found(&[(1, 1), (2, 103), (3, 4), (9, 12)], PathEnd::Reached), None);
}

fn table(sighting: &Sighting) -> Vec<(Vec<String>, Option<String>, bool)> {
    let Block::Table(table) = block(sighting, None) else { panic!("no table: {:?}", block(sighting, None)) };
    table.rows.into_iter().map(|row| (row.cells, row.note, row.is_marked)).collect()
}

#[test]
fn both_paths_are_shown_as_one() {
    let row = |cells: [&str; 3], note: Option<&str>| {
        (cells.map(str::to_owned).to_vec(), note.map(str::to_owned), note.is_some())
    };
    assert_eq!(
        table(&sighting(&[(1, 1), (7, 3)], PathEnd::Silent(30), GOOD)),
        [
            row(["1", "198.18.1.1", "1.00 ms"], None),
            row(["2", "198.18.7.1", "3.00 ms"], Some("was core2.example (198.18.2.1), 3.00 ms")),
            row(["3", "no answer", ""], Some("was 198.18.3.1, 4.00 ms")),
            row(["4", "no answer", ""], Some("was 198.18.9.1, 12.0 ms")),
            row(["5-30", "no answer", ""], None),
        ]
    );
    assert_eq!(
        table(&sighting(&[(1, 1), (2, 3), (3, 104), (9, 112)], PathEnd::Reached, GOOD))[2..],
        [
            row(["3", "198.18.3.1", "104 ms"], Some("was 4.00 ms")),
            row(["4", "198.18.9.1", "112 ms"], Some("was 12.0 ms")),
        ]
    );
}

#[test]
fn a_path_without_routers_and_one_that_is_not_known_are_a_line() {
    let line = |sighting: &Sighting| match block(sighting, None) {
        Block::Facts(facts) => facts[0].1.clone(),
        other => panic!("{other:?}"),
    };
    let direct = sighting(&[(9, 1)], PathEnd::Reached, &[(9, 1)]);
    assert_eq!(line(&direct), "direct: no router between this machine and the target, 1.00 ms");
    let near = Sighting { now: Sight::Near, good: None };
    assert_eq!(line(&near), "none: the address is this machine's own");
    let untraced = Sighting { now: Sight::Untraced { why: "no permission".into() }, good: direct.good };
    assert!(line(&untraced).starts_with("not known: no permission; on "), "{}", line(&untraced));
}
