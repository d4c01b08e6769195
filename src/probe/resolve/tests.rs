//! The test is the resolver: it takes the questions and gives the answers, at times of its own.

use super::*;

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
    Answer { place, v4: found(v4), v6: found(v6), preferred: Family::V6 }
}

fn address(text: &str) -> SocketAddr {
    SocketAddr::new(text.parse().unwrap(), 0)
}

fn at(secs: u64) -> Monotonic {
    Monotonic(0).plus(Duration::from_secs(secs))
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
    let targets = [target(0, "192.0.2.1", None), target(1, "localhost", V6), target(2, "fe80::1%lo", None)];
    let wake = || unreachable!("nobody is asked");
    let mut names = Names::new(&targets, Duration::from_secs(300), BOTH, at(0), wake).unwrap();
    assert_eq!(names.poll(at(0)), Monotonic::NEVER);
    let told: Vec<_> = std::iter::from_fn(|| names.take_address(at(0))).collect();
    assert_eq!(told[..2], [(0, address("192.0.2.1")), (1, address("::1"))]);
    assert_eq!(told[2].1, "[fe80::1%1]:0".parse().unwrap(), "a link-local address keeps its link");
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
    assert_eq!(
        desk.asked(at(1000)).len(),
        MOST_UNDER_WAY[FRESH] - TOGETHER,
        "and no more than are under way"
    );
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

#[test]
fn names_that_fail_do_not_take_the_turn_of_those_that_do_not() {
    let hosts: Vec<String> = (0..500).map(|n| format!("h{n}.example")).collect();
    let hosts: Vec<(&str, Option<Family>)> = hosts.iter().map(|host| (host.as_str(), None)).collect();
    let mut desk = Desk::new(&hosts);
    // All but the last name fail at their first lookup.
    let mut now = at(0);
    let mut done = 0;
    while done < 500 {
        for question in desk.asked(now) {
            done += 1;
            let found = if question.place == 499 {
                answer(499, Ok(&["192.0.2.1"]), Ok(&[]))
            } else {
                answer(question.place, Err("dead"), Err("dead"))
            };
            desk.answer(found, now);
        }
        now = now.plus(Duration::from_millis(20));
        assert!(now < at(5), "{done} of 500 were asked for");
    }
    // Later they hang: as many as may be are under way, and none of them ever ends.
    let hanging = desk.asked(at(200));
    assert_eq!(hanging.len(), MOST_UNDER_WAY[FAILING]);
    assert_eq!(desk.asked(at(310)).iter().map(|question| question.place).collect::<Vec<_>>(), [499]);
}
