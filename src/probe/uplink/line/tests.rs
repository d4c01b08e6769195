use std::collections::HashSet;

use super::*;

/// A line, a clock in milliseconds, and who answers: anchors at once, targets when a test says so.
struct World {
    line: Line,
    now: u64,
    /// The anchors that answer.
    alive: HashSet<SocketAddr>,
    asked: Vec<(SocketAddr, u64)>,
    news: Vec<(u64, News)>,
}

const TIMEOUT: Duration = Duration::from_millis(1500);

fn at(ms: u64) -> Monotonic {
    Monotonic(0).plus(Duration::from_millis(ms))
}

fn gateway(number: u8) -> SocketAddr {
    SocketAddr::from(([198, 18, 0, number], 0))
}

fn silence(numbers: &[u8]) -> Cut {
    Cut::Silence { anchors: numbers.iter().map(|number| gateway(*number).ip()).collect() }
}

fn no_carrier() -> Cut {
    Cut::Carrier { interface: "eth0".into() }
}

impl World {
    fn new(anchors: &[u8]) -> Self {
        let anchors: Vec<SocketAddr> = anchors.iter().copied().map(gateway).collect();
        let mut line = Line::new(at(0), Vec::new());
        line.lay(&anchors, None, at(0));
        Self { line, now: 0, alive: anchors.into_iter().collect(), asked: Vec::new(), news: Vec::new() }
    }

    /// Lets time pass to there, as the schedule does.
    fn until(&mut self, ms: u64) {
        loop {
            self.poll();
            let next = self.line.next();
            if next > at(ms) {
                self.now = ms;
                return;
            }
            self.now = u64::try_from(next.0 / 1_000_000).unwrap();
        }
    }

    fn poll(&mut self) {
        while let Some(chore) = self.line.poll(at(self.now), at(self.now)) {
            let Chore::Send(Request { number, to }) = chore else { panic!("all is heard") };
            self.asked.push((to, self.now));
            if self.alive.contains(&to) {
                assert_eq!(self.line.asked(number), Some(to.ip()));
                let verdict = self.line.on_reply(number, to.ip(), at(self.now));
                assert!(matches!(verdict, Verdict::Answered { .. }), "{verdict:?}");
            }
        }
        while let Some(news) = self.line.take_news() {
            // That it is well at first, and who says so, is another test's.
            if !matches!(news, News::Online { since: None, .. } | News::Anchors(_)) {
                self.news.push((self.now, news));
            }
        }
    }

    /// A far target answers a ping that was sent a moment ago.
    fn target_answers(&mut self) {
        self.line.heard(Reach::Far, at(self.now), Some(at(self.now - 1)));
        self.poll();
    }

    /// A far target that answered before loses a ping that was sent then.
    fn target_loses(&mut self, sent: u64) {
        self.line.missed(at(sent).plus(TIMEOUT));
        self.poll();
    }

    fn took(&self, reach: Reach, sent: u64) -> bool {
        self.line.took(reach, at(sent), TIMEOUT)
    }

    fn is_open(&self, reach: Reach, sent: u64) -> bool {
        self.line.undecided(reach, at(sent), TIMEOUT, at(self.now)).is_some()
    }
}

#[test]
fn anchors_are_asked_once_a_second() {
    let mut world = World::new(&[1, 2]);
    world.until(60_500);
    for number in [1, 2] {
        let times: Vec<u64> =
            world.asked.iter().filter(|(to, _)| *to == gateway(number)).map(|(_, at)| *at).collect();
        assert_eq!(times, (0..=60).map(|second| second * 1000).collect::<Vec<_>>());
    }
    assert_eq!(world.news, []);
}

#[test]
fn when_anchor_and_targets_are_silent_it_is_us_from_the_last_reply_on() {
    let mut world = World::new(&[1]);
    world.until(9_400);
    world.target_answers();
    world.alive.clear();
    world.until(11_500);
    world.target_loses(10_000);
    // Sent at 10, 11 and 12, and lost a second later.
    world.until(12_999);
    assert_eq!(world.news, []);
    world.until(20_000);
    let down = News::Offline { since: at(9_400), why: silence(&[1]) };
    assert_eq!(world.news, [(13_000, down.clone())]);
    assert!(world.took(Reach::Far, 8_000) && world.took(Reach::Near, 15_000), "no answer of it came in time");
    assert!(!world.took(Reach::Far, 7_900), "its time was over before");
    assert!(!world.took(Reach::Own, 15_000));

    world.alive.insert(gateway(1));
    world.until(30_000);
    assert_eq!(world.news[1..], [(21_000, News::Online { since: Some(at(9_400)), at: at(21_000) })]);
    assert!(world.took(Reach::Far, 21_000) && !world.took(Reach::Far, 21_001), "nobody answered until then");
}

#[test]
fn the_reply_of_a_target_ends_it_too() {
    let mut world = World::new(&[1]);
    world.until(9_500);
    world.alive.clear();
    world.target_loses(9_600);
    world.until(20_500);
    world.target_answers();
    assert_eq!(world.news.len(), 2, "{:?}", world.news);
    assert_eq!(world.news[1].1, News::Online { since: Some(at(9_000)), at: at(20_500) });
}

/// Routers have better things to do than to answer pings.
#[test]
fn a_gateway_that_dies_alone_is_no_outage() {
    let mut world = World::new(&[1]);
    world.until(9_500);
    world.alive.clear();
    for second in 10..300 {
        // One of many may always lose a ping; every third second another answers.
        world.until(second * 1000 + 700);
        world.target_loses(second * 1000 - 1000);
        if second % 3 == 0 {
            world.target_answers();
        }
    }
    assert_eq!(world.news, []);
    // By now it tells nothing any more: what is lost is the targets'.
    world.until(330_000);
    world.target_loses(320_000);
    world.until(340_000);
    assert_eq!(world.news, []);
    assert!(!world.is_open(Reach::Far, 339_000));
    world.alive.insert(gateway(1));
    world.until(342_000);
    world.alive.clear();
    world.target_loses(342_500);
    world.until(350_000);
    assert_eq!(world.news.len(), 1, "it answered again, and then tells something");
}

/// A target that is asked once a minute proves nothing in between.
#[test]
fn a_silent_gateway_is_no_outage_before_a_target_has_lost_something() {
    let mut world = World::new(&[1]);
    world.until(9_500);
    world.alive.clear();
    world.until(55_000);
    assert_eq!(world.news, []);
    world.target_answers();
    world.until(100_000);
    assert_eq!(world.news, []);
}

#[test]
fn targets_that_die_while_the_gateway_answers_are_dead() {
    let mut world = World::new(&[1]);
    for second in 10..100 {
        world.until(second * 1000 + 600);
        world.target_loses(second * 1000 - 1000);
        assert!(!world.took(Reach::Far, second * 1000 - 1000));
        // The gateway has answered a ping that was sent after its time.
        assert!(!world.is_open(Reach::Far, second * 1000 - 1500));
    }
    assert_eq!(world.news, []);
}

#[test]
fn a_gateway_that_never_answered_is_no_anchor() {
    let mut world = World::new(&[1]);
    world.alive.clear();
    world.until(5_000);
    world.target_answers();
    world.until(9_000);
    world.target_loses(6_000);
    assert!(!world.is_open(Reach::Far, 7_400), "nobody will ever tell");
    world.until(60_000);
    assert_eq!(world.news, []);
    assert!(!world.took(Reach::Far, 9_000));
}

#[test]
fn one_of_two_anchors_is_enough_to_be_online() {
    let mut world = World::new(&[1, 2]);
    world.until(9_500);
    world.alive.remove(&gateway(1));
    world.target_loses(9_600);
    world.until(30_000);
    assert_eq!(world.news, []);
    world.alive.clear();
    world.target_loses(30_100);
    world.until(40_000);
    assert_eq!(world.news.len(), 1);
    assert_eq!(world.news[0].1, News::Offline { since: at(30_000), why: silence(&[1, 2]) });
}

#[test]
fn without_carrier_it_is_us_at_once() {
    let mut world = World::new(&[1]);
    world.until(9_500);
    world.alive.clear();
    world.line.lay(&[gateway(1)], Some(no_carrier()), at(9_500));
    world.poll();
    assert_eq!(world.news, [(9_500, News::Offline { since: at(9_000), why: no_carrier() })]);
    // What came before that was known, and is read now, is no sign of life.
    world.line.heard(Reach::Far, at(9_499), None);
    world.until(15_500);
    world.line.lay(&[gateway(1)], None, at(15_500));
    world.until(59_500);
    assert_eq!(world.news.len(), 1, "the carrier alone brings nobody back");
    world.alive.insert(gateway(1));
    world.until(61_000);
    assert_eq!(world.news[1].1, News::Online { since: Some(at(9_000)), at: at(60_000) });
}

/// Rules that route by something else than the address may prove the kernel's answer wrong.
#[test]
fn who_hears_replies_is_not_cut_off_whatever_the_kernel_says() {
    let mut world = World::new(&[]);
    world.line.lay(&[], Some(Cut::Route), at(0));
    world.until(1_000);
    assert_eq!(world.news.len(), 1);
    world.target_answers();
    world.until(60_000);
    assert_eq!(world.news.len(), 2);
    assert_eq!(world.news[1].1, News::Online { since: Some(at(0)), at: at(1_000) });
}

/// Another network, whose gateway has not answered yet: dead targets must not hide behind an outage for ever.
#[test]
fn an_outage_that_nobody_can_end_is_over_some_time() {
    let mut world = World::new(&[1]);
    world.until(9_500);
    world.alive.clear();
    world.line.lay(&[gateway(1)], Some(Cut::Route), at(9_500));
    world.until(20_000);
    world.line.lay(&[gateway(7)], None, at(20_000));
    world.until(29_999);
    assert_eq!(world.news.len(), 1);
    world.until(40_000);
    assert_eq!(world.news[1..], [(30_000, News::Online { since: Some(at(9_000)), at: at(30_000) })]);
}

#[test]
fn a_loss_waits_until_something_later_is_answered_or_the_verdict_is_there() {
    let mut world = World::new(&[1]);
    world.until(10_200);
    assert!(world.is_open(Reach::Far, 9_000), "the gateway was asked before its time was over");
    assert!(world.is_open(Reach::Near, 9_000) && !world.is_open(Reach::Own, 9_000));
    assert!(!world.is_open(Reach::Far, 8_500), "the gateway was asked after its time, and answered");
    world.until(11_000);
    assert!(!world.is_open(Reach::Far, 9_500));
    world.alive.clear();
    world.target_loses(11_000);
    for now in [12_500, 13_000, 13_999] {
        world.until(now);
        assert!(world.is_open(Reach::Far, 11_000) && !world.took(Reach::Far, 11_000));
    }
    world.until(15_000);
    assert!(!world.is_open(Reach::Far, 11_000) && world.took(Reach::Far, 11_000));
}

#[test]
fn the_wait_has_a_bound() {
    let mut world = World::new(&[1]);
    world.until(10_200);
    world.alive.clear();
    // No target says that it has lost something, so there is never a verdict.
    world.until(17_499);
    assert!(world.is_open(Reach::Far, 11_000));
    world.until(17_500);
    assert!(!world.is_open(Reach::Far, 11_000));
}

#[test]
fn near_targets_that_answer_are_not_concerned_and_prove_nothing() {
    let mut world = World::new(&[1]);
    world.until(9_500);
    world.alive.clear();
    world.target_loses(9_600);
    world.line.heard(Reach::Near, at(9_500), Some(at(9_499)));
    world.until(20_500);
    assert_eq!(world.news.len(), 1);
    assert!(world.took(Reach::Far, 12_000) && !world.took(Reach::Near, 12_000));

    let mut world = World::new(&[1]);
    world.until(9_500);
    world.alive.clear();
    world.target_loses(9_600);
    world.until(20_500);
    assert!(world.took(Reach::Near, 12_000), "nobody near has answered either");
    world.line.heard(Reach::Near, at(20_500), Some(at(20_499)));
    assert!(world.took(Reach::Far, 12_000) && !world.took(Reach::Near, 12_000));
    assert_eq!(world.news.len(), 1, "a printer is no uplink");
}

#[test]
fn what_was_under_way_while_the_clocks_moved_says_nothing() {
    let mut world = World::new(&[1]);
    world.until(9_500);
    world.alive.clear();
    world.target_loses(9_600);
    for now in [11_500, 13_500, 15_500, 17_500, 19_500] {
        world.until(now);
        world.line.give_up();
    }
    assert_eq!(world.news, []);
}

#[test]
fn the_newest_of_the_news_that_nobody_took_is_told_later() {
    let mut world = World::new(&[1]);
    world.until(9_500);
    world.alive.clear();
    world.target_loses(9_600);
    world.until(20_500);
    let (_, offline) = world.news.pop().unwrap();
    world.line.put_back(offline.clone());
    assert_eq!(world.line.take_news(), Some(offline.clone()));
    world.line.heard(Reach::Far, at(20_500), None);
    world.line.put_back(offline);
    let online = News::Online { since: Some(at(9_000)), at: at(20_500) };
    assert_eq!((world.line.take_news(), world.line.take_news()), (Some(online), None));
}

/// The run before may have told that it was offline, and this one must know whom it can ask.
#[test]
fn the_first_sign_of_life_and_who_gave_it_are_told() {
    let mut line = Line::new(at(0), Vec::new());
    line.lay(&[gateway(1), gateway(2)], None, at(0));
    assert_eq!(line.take_news(), None);
    let Some(Chore::Send(Request { number, to })) = line.poll(at(0), at(0)) else {
        panic!("an anchor is due")
    };
    line.on_reply(number, to.ip(), at(3));
    assert_eq!(line.take_news(), Some(News::Online { since: None, at: at(3) }));
    let anchors = News::Anchors(vec![to.ip()]);
    assert_eq!(line.take_news(), Some(anchors.clone()));
    line.put_back(anchors.clone());
    assert_eq!((line.take_news(), line.take_news()), (Some(anchors), None));
}

/// After a power cut the monitor may be there before its router.
#[test]
fn an_anchor_that_answered_an_earlier_run_need_not_answer_again_to_be_one() {
    let mut world = World::new(&[]);
    world.line.known = vec![gateway(1).ip()];
    world.line.lay(&[gateway(1)], None, at(0));
    assert!(world.is_open(Reach::Far, 0));
    world.target_loses(100);
    world.until(10_000);
    assert_eq!(world.news, [(4_000, News::Offline { since: at(0), why: silence(&[1]) })]);
    assert!(world.took(Reach::Far, 100));
}

#[test]
fn a_reply_that_is_late_is_a_sign_of_life() {
    let mut world = World::new(&[1]);
    world.alive.clear();
    world.until(2_500);
    let number = Number { target: FIRST_NAME, ping: 0 };
    assert_eq!(world.line.on_reply(number, gateway(1).ip(), at(2_500)), Verdict::Late);
    assert_eq!(world.line.on_reply(number, gateway(2).ip(), at(2_500)), Verdict::WrongSource);
    let never = Number { ping: 3, ..number };
    assert_eq!(world.line.on_reply(never, gateway(1).ip(), at(2_500)), Verdict::Unasked);
    assert!(world.line.anchors[0].answered.is_some());
}
