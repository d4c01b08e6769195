//! The test is the resolver: it takes the questions and gives the answers, at times of its own.

use super::*;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddrV6;

use crossbeam_channel::{Sender, unbounded};

use crate::probe::EchoSettings;
use crate::probe::socket::SocketKind;
use crate::time::Step;

const BOTH: SocketKinds = SocketKinds { v4: Some(SocketKind::Raw), v6: Some(SocketKind::Raw) };
const ONLY_V4: SocketKinds = SocketKinds { v4: Some(SocketKind::Raw), v6: None };
const ONLY_V6: SocketKinds = SocketKinds { v4: None, v6: Some(SocketKind::Raw) };
const V4: Option<Family> = Some(Family::V4);
const V6: Option<Family> = Some(Family::V6);

/// Names, and both ends of their resolver.
struct Desk {
    names: Names,
    questions: Receiver<Question>,
    answers: Sender<Answer>,
}

impl Desk {
    fn new(hosts: &[(&str, Option<Family>)]) -> Self {
        Self::asking_every(300, hosts)
    }

    fn asking_every(secs: u64, hosts: &[(&str, Option<Family>)]) -> Self {
        let targets: Vec<TargetSettings> =
            hosts.iter().zip(0..).map(|((host, family), n)| target(n, host, *family)).collect();
        let mut names = Names::without_resolver(&targets, Duration::from_secs(secs), BOTH, at(0));
        let (asked, questions) = unbounded();
        let (answers, given) = unbounded();
        let ask = Box::new(move |question| asked.send(question).unwrap());
        names.resolver = Some(Resolver { ask, answers: given });
        Self { names, questions, answers }
    }

    /// The hosts that are asked for at this time.
    fn asked(&mut self, now: Monotonic) -> Vec<Question> {
        self.names.poll(now);
        self.questions.try_iter().collect()
    }

    /// Answers the one question that is due at `now` with these addresses, and takes what comes of it.
    fn resolve(&mut self, now: Monotonic, v4: &[&str], v6: &[&str]) -> Vec<(u32, SocketAddr)> {
        let [question] = &self.asked(now)[..] else { panic!("one name is to be due at {now:?}") };
        self.answer(answer(question.place, Ok(v4), Ok(v6)), now)
    }

    fn fail(&mut self, now: Monotonic) {
        let [question] = &self.asked(now)[..] else { panic!("one name is to be due at {now:?}") };
        let told = self.answer(answer(question.place, Err("dead"), Err("dead")), now);
        assert_eq!(told, [], "a failure tells no address");
    }

    fn answer(&mut self, answer: Answer, now: Monotonic) -> Vec<(u32, SocketAddr)> {
        self.answers.send(answer).unwrap();
        std::iter::from_fn(|| self.names.take_address(now)).collect()
    }
}

fn target(n: usize, host: &str, family: Option<Family>) -> TargetSettings {
    TargetSettings {
        target: Arc::new(Target { name: format!("t{n}"), host: host.to_owned() }),
        step: Step::new(60).unwrap(),
        pings: 20,
        timeout: Duration::from_secs(1),
        family,
        echo: EchoSettings::default(),
    }
}

/// An answer that prefers IPv6.
fn answer(place: usize, v4: Result<&[&str], &str>, v6: Result<&[&str], &str>) -> Answer {
    let found = |found: Result<&[&str], &str>| {
        Some(found.map(|texts| texts.iter().map(|text| address(text)).collect()).map_err(str::to_owned))
    };
    Answer { place, v4: found(v4), v6: found(v6), preferred: Family::V6, cut_short: false }
}

fn address(text: &str) -> SocketAddr {
    SocketAddr::new(text.parse().unwrap(), 0)
}

fn at(secs: u64) -> Monotonic {
    Monotonic(0).plus(Duration::from_secs(secs))
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn literals_and_localhost_need_no_resolver() {
    let found = |host, family, kinds| literal(host, family, kinds).map(|address| address.ip().to_string());
    assert_eq!(found("192.0.2.1", None, BOTH).as_deref(), Some("192.0.2.1"));
    assert_eq!(found("2001:db8::1", None, BOTH).as_deref(), Some("2001:db8::1"));
    assert_eq!(found("::ffff:192.0.2.1", None, BOTH).as_deref(), Some("192.0.2.1"), "IPv4 in IPv6's clothes");
    for host in ["localhost", "LocalHost", "localhost."] {
        assert_eq!(found(host, None, BOTH).as_deref(), Some("127.0.0.1"));
        assert_eq!(found(host, None, ONLY_V6).as_deref(), Some("::1"));
        assert_eq!(found(host, V6, BOTH).as_deref(), Some("::1"));
        assert_eq!(found(host, V4, ONLY_V6).as_deref(), Some("127.0.0.1"));
    }
    assert_eq!(found("core1.example.org", None, BOTH), None);
    let targets = [target(0, "192.0.2.1", None), target(1, "localhost", V6), target(2, "fe80::1%1", None)];
    let wake = || unreachable!("nobody is asked");
    let mut names = Names::new(&targets, Duration::from_secs(300), BOTH, at(0), wake).unwrap();
    assert_eq!(names.poll(at(0)), Monotonic::NEVER);
    let told: Vec<_> = std::iter::from_fn(|| names.take_address(at(0))).collect();
    assert_eq!(told[..2], [(0, address("192.0.2.1")), (1, address("::1"))]);
    assert_eq!(told[2].1, "[fe80::1%1]:0".parse().unwrap(), "a link-local address keeps its link");
}

/// A tunnel that is dialled again has its name again, and another number.
#[test]
fn an_interface_that_comes_back_is_found_by_its_name() {
    let mut desk = Desk::new(&[("fe80::1%lo", None)]);
    let mut zone = |now, number| {
        let [question] = &desk.asked(now)[..] else { panic!("the zone is to be looked up at {now:?}") };
        let found = vec![SocketAddrV6::new("fe80::1".parse().unwrap(), 0, 0, number).into()];
        let told = answer(question.place, Ok(&[]), Ok(&[]));
        let told = desk.answer(Answer { v6: Some(Ok(found)), ..told }, now);
        desk.names.doubt(0, now);
        told.iter().map(|(_, address)| address.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(zone(at(0), 7), ["[fe80::1%7]:0"]);
    assert_eq!(zone(at(60), 7), [""; 0], "nothing answers, and it is there still");
    assert_eq!(zone(at(120), 9), ["[fe80::1%9]:0"]);
}

#[test]
fn the_address_asked_so_far_stays_while_it_is_among_the_answers() {
    let found = answer(0, Ok(&["192.0.2.1", "192.0.2.2"]), Ok(&["2001:db8::1"]));
    let chosen = |current: Option<&str>, kinds| choose(&found, None, current.map(address), kinds);
    assert_eq!(chosen(None, BOTH), Ok(address("2001:db8::1")), "as the system prefers");
    assert_eq!(chosen(Some("192.0.2.2"), BOTH), Ok(address("192.0.2.2")));
    assert_eq!(chosen(Some("192.0.2.9"), BOTH), Ok(address("2001:db8::1")));
    assert_eq!(chosen(None, ONLY_V4), Ok(address("192.0.2.1")), "there is no socket for the preferred one");
    let alone = answer(0, Ok(&[]), Ok(&["2001:db8::1"]));
    assert_eq!(choose(&alone, None, None, ONLY_V4), Ok(address("2001:db8::1")), "and no other address");
    let rather_v4 = Answer { preferred: Family::V4, ..found };
    assert_eq!(choose(&rather_v4, None, None, BOTH), Ok(address("192.0.2.1")));
}

#[test]
fn a_family_that_is_asked_for_is_the_only_one() {
    let both = answer(0, Ok(&["192.0.2.1"]), Ok(&["2001:db8::1"]));
    assert_eq!(choose(&both, V4, None, BOTH), Ok(address("192.0.2.1")));
    assert_eq!(choose(&both, V6, None, ONLY_V4), Ok(address("2001:db8::1")), "the missing socket is told");
    let alone = answer(0, Ok(&["192.0.2.1"]), Ok(&[]));
    assert_eq!(choose(&alone, V6, None, BOTH), Err("it has no IPv6 address".to_owned()));
    assert_eq!(choose(&answer(0, Ok(&[]), Ok(&[])), None, None, BOTH), Err("it has no address".to_owned()));
    let half = answer(0, Err("dead"), Ok(&[]));
    assert_eq!(choose(&half, V4, None, BOTH), Err("dead".to_owned()));
    assert_eq!(choose(&half, None, None, BOTH), Err("dead".to_owned()), "there may be an address after all");
}

/// Half an answer must not move a target to the other family.
#[test]
fn the_address_stays_while_its_family_cannot_be_asked_for() {
    let half = answer(0, Ok(&["192.0.2.1"]), Err("dead"));
    assert_eq!(choose(&half, None, Some(address("2001:db8::1")), BOTH), Ok(address("2001:db8::1")));
    assert_eq!(
        choose(&half, None, None, BOTH),
        Ok(address("192.0.2.1")),
        "and whoever has none takes what there is"
    );
    let moved = answer(0, Ok(&["192.0.2.1"]), Ok(&[]));
    assert_eq!(choose(&moved, None, Some(address("2001:db8::1")), BOTH), Ok(address("192.0.2.1")));
}

#[test]
fn a_found_address_is_told_once_and_looked_up_again_after_the_time_of_the_settings() {
    let mut desk = Desk::new(&[("192.0.2.9", None), ("name.example", None)]);
    assert_eq!(desk.names.take_address(at(0)), Some((0, address("192.0.2.9"))));
    assert_eq!(desk.resolve(at(0), &["192.0.2.1"], &[]), [(1, address("192.0.2.1"))]);
    assert_eq!(desk.names.poll(at(1)), at(300));
    assert_eq!(desk.resolve(at(300), &["192.0.2.1"], &[]), [], "it is the same");
    assert_eq!(desk.resolve(at(600), &["192.0.2.2"], &[]), [(1, address("192.0.2.2"))]);
    assert_eq!(desk.asked(at(900)).len(), 1);
    assert_eq!(desk.names.poll(at(901)), Monotonic::NEVER, "it is being looked up");
}

#[test]
fn an_address_that_nothing_answers_at_is_looked_up_sooner_but_not_all_the_time() {
    let mut desk = Desk::new(&[("name.example", None)]);
    desk.names.poll(at(0));
    desk.names.doubt(0, at(0));
    let told = desk.answer(answer(0, Ok(&["192.0.2.1"]), Ok(&[])), at(0));
    assert_eq!(told.len(), 1);
    assert_eq!(desk.questions.try_iter().count(), 1);
    assert_eq!(desk.names.poll(at(1)), at(300));
    desk.names.doubt(0, at(2));
    assert_eq!(desk.names.poll(at(2)), at(60));
    desk.names.doubt(0, at(3));
    assert_eq!(desk.names.poll(at(3)), at(60));
    assert_eq!(desk.resolve(at(60), &["192.0.2.1"], &[]), []);
    assert_eq!(desk.names.poll(at(61)), at(360), "one answer, one entry on the agenda");
}

#[test]
fn the_last_good_address_outlives_a_dead_resolver_which_is_asked_ever_more_rarely() {
    let mut desk = Desk::new(&[("name.example", None)]);
    assert_eq!(desk.resolve(at(0), &["192.0.2.1"], &[]), [(0, address("192.0.2.1"))]);
    let mut now = at(300);
    let mut pauses = Vec::new();
    for _ in 0..6 {
        desk.fail(now);
        let next = desk.names.poll(now);
        pauses.push(next.since(now).as_secs());
        now = next;
    }
    assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
    assert_eq!(desk.resolve(now, &["192.0.2.1"], &[]), [], "the address was kept");
    assert_eq!(desk.names.poll(now).since(now).as_secs(), 300);
}

#[test]
fn one_name_of_many_targets_is_asked_for_once() {
    let mut desk = Desk::new(&[
        ("both.example", V4),
        ("Both.example", V6),
        ("four.example", V4),
        ("both.example", None),
        ("six.example", V6),
    ]);
    let asked: Vec<_> = desk.asked(at(0)).into_iter().map(|it| (it.host.to_string(), it.v4, it.v6)).collect();
    let expected =
        [("both.example", true, true), ("four.example", true, false), ("six.example", false, true)];
    assert_eq!(asked.len(), 3);
    for (host, v4, v6) in expected {
        assert!(asked.contains(&(host.to_owned(), v4, v6)), "{host}: {asked:?}");
    }
    let told = desk.answer(answer(0, Ok(&["192.0.2.1"]), Ok(&["2001:db8::1"])), at(0));
    let (v4, v6) = (address("192.0.2.1"), address("2001:db8::1"));
    assert_eq!(told, [(0, v4), (1, v6), (3, v6)]);
    let gone = desk.answers.clone();
    desk.asked(at(1));
    desk.names.doubt(1, at(100));
    let [question] = &desk.asked(at(100))[..] else { panic!("doubt of one target asks for its name") };
    gone.send(answer(question.place, Ok(&["192.0.2.1"]), Ok(&[]))).unwrap();
    assert_eq!(desk.names.take_address(at(100)), Some((3, v4)), "only who may moves to the other family");
    assert_eq!(desk.names.take_address(at(100)), None);
    assert_eq!(desk.names.poll(at(100)), at(105), "one of them failed, so its name is asked for again soon");
}

/// A hundred thousand names are not asked for all at once, neither at the start nor later.
#[test]
fn many_names_are_spread_and_bounded() {
    let hosts: Vec<String> = (0..100_000).map(|n| format!("h{n}.example")).collect();
    let hosts: Vec<(&str, Option<Family>)> = hosts.iter().map(|host| (host.as_str(), None)).collect();
    let mut desk = Desk::new(&hosts);
    assert_eq!(desk.asked(at(0)).len(), TOGETHER, "some at once");
    assert_eq!(desk.asked(at(1000)).len(), LANES[NEW].0 - TOGETHER, "and no more than are under way");
    // A fifth of them in a fifth of the time, and a resolver that answers each within its millisecond.
    let mut desk = Desk::asking_every(60, &hosts[..20_000]);
    let mut now = at(0);
    let mut asked = vec![0_u32; 60];
    while now < at(120) {
        for question in desk.asked(now) {
            let second = now.since(at(60)).as_secs() as usize;
            if now >= at(60) {
                asked[second] += 1;
            }
            desk.answers.send(answer(question.place, Ok(&["192.0.2.1"]), Ok(&[]))).unwrap();
        }
        while desk.names.take_address(now).is_some() {}
        now = desk.names.poll(now).max(now.plus(Duration::from_millis(1)));
    }
    // 20,000 in 60 s are 333 a second; nothing is left out, and no second has more than the start had.
    assert!(asked.iter().sum::<u32>() >= 20_000, "{asked:?}");
    assert!(asked.iter().all(|count| *count <= 1200), "{asked:?}");
}

/// A name server that never answers for 200 names, needs a second and a half for one, and answers at once for five.
#[test]
fn dead_names_delay_no_good_one() {
    let mut world = World::new();
    world.run_until(secs(2));
    // The quick tries of all that stand before them: 200 of half a second, 64 at a time.
    assert!(GOOD.into_iter().all(|place| world.found.contains_key(&place)), "{:?}", world.found);
    assert!(!world.found.contains_key(&SLOW));
    // Each of the dead is tried with patience, 32 at a time.
    world.run_until(secs(2 + 200 * 8 / 32 + 2));
    assert!(world.found.contains_key(&SLOW), "{:?}", world.found);
    world.run_until(secs(1800));
    for place in GOOD {
        let gaps = world.asked[&place].windows(2).map(|pair| pair[1].since(pair[0]));
        let longest = gaps.max().unwrap();
        assert!(longest <= secs(301), "{place} is believed for 300 s and was not asked for in {longest:?}");
    }
    let of_dead: usize = (0..200).map(|place| world.asked[&place].len()).sum();
    assert!(of_dead <= 200 * 2 * (5 + 1800 / 60), "two tries, with ever longer pauses: {of_dead}");
}

/// As at boot: the server answers for nobody at first, and then for the good ones.
#[test]
fn dead_names_delay_no_good_one_when_the_server_comes_back() {
    let mut world = World::new();
    world.dead.extend(GOOD);
    world.run_until(secs(500));
    assert_eq!(world.found.len(), 1, "{:?}", world.found);
    world.dead.retain(|place| !GOOD.contains(place));
    // The longest pause, a patient try that is under way and those before it, and the quick tries of all.
    world.run_until(secs(500 + 60 + 8 + 200 * 8 / 32 + 2));
    assert!(GOOD.into_iter().all(|place| world.found.contains_key(&place)), "{:?}", world.found);
}

/// Where a name is among those of the world.
const SLOW: usize = 200;
const GOOD: [usize; 5] = [201, 202, 203, 204, 205];

/// A resolver whose time goes as fast as it is asked.
struct World {
    desk: Desk,
    dead: BTreeSet<usize>,
    now: Monotonic,
    answers: BinaryHeap<Reverse<(Monotonic, usize, bool)>>,
    /// When each name was asked for, and when its address was first known.
    asked: BTreeMap<usize, Vec<Monotonic>>,
    found: BTreeMap<usize, Monotonic>,
}

impl World {
    fn new() -> Self {
        let hosts: Vec<String> = (0..=GOOD[4]).map(|n| format!("h{n}.example")).collect();
        let hosts: Vec<(&str, Option<Family>)> = hosts.iter().map(|host| (host.as_str(), None)).collect();
        let (answers, asked, found) = Default::default();
        Self { desk: Desk::new(&hosts), dead: (0..SLOW).collect(), now: at(0), answers, asked, found }
    }

    fn run_until(&mut self, end: Duration) {
        let end = at(0).plus(end);
        while self.now <= end {
            for Question { place, patience, .. } in self.desk.asked(self.now) {
                self.asked.entry(place).or_default().push(self.now);
                let needed = match place {
                    _ if self.dead.contains(&place) => secs(3600),
                    SLOW => Duration::from_millis(1500),
                    _ => Duration::from_millis(20),
                };
                let at = self.now.plus(needed.min(patience));
                self.answers.push(Reverse((at, place, needed > patience)));
            }
            let next_answer = self.answers.peek().map_or(Monotonic::NEVER, |Reverse((at, ..))| *at);
            self.now = self.desk.names.poll(self.now).min(next_answer);
            while let Some(Reverse((at, place, cut_short))) = self.answers.peek().copied()
                && at <= self.now
            {
                self.answers.pop();
                let said = if cut_short { Err("dead") } else { Ok(&["192.0.2.1"][..]) };
                let told = self.desk.answer(
                    Answer { cut_short, ..answer(place, said, if cut_short { said } else { Ok(&[]) }) },
                    self.now,
                );
                if let [(index, _)] = told[..] {
                    self.found.insert(index as usize, self.now);
                }
            }
        }
    }
}
