use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::probe::EchoSettings;
use crate::probe::uplink::line::Reach;
use crate::round::{Ping, Rtt, Target};
use crate::time::{Step, UnixTime};

const START: i64 = 1_700_000_040; // A multiple of 60 s.
const SECOND: i64 = 1_000_000_000;
/// Every ping at its time.
const EXACT: Pace = Pace { collect: Duration::ZERO, packets_per_sec: 1_000_000, in_flight: 1_000_000 };
/// The kernel stamps what comes in only.
const ANSWERED: Verdict = Verdict::Answered { by_kernel: false };

/// Clocks that go when told to, and a network that answers after the delays that a function says.
struct World<N: FnMut(Request, usize) -> Vec<Duration>> {
    schedule: Schedule,
    now: Now,
    network: N,
    /// What is on its way to us or in our buffer, by the time it arrives, with the wall clock of that time.
    replies: BTreeMap<(Monotonic, usize), (Request, Wall)>,
    sent: Vec<(Request, Monotonic)>,
    rounds: Vec<Round>,
    verdicts: Vec<Verdict>,
    jumps: Vec<Jump>,
    wakes: usize,
}

fn target(name: &str, step: u32, pings: u16, timeout_ms: u64) -> TargetSettings {
    TargetSettings {
        target: Arc::new(Target { name: name.to_owned(), host: "192.0.2.1".to_owned() }),
        step: Step::new(step).unwrap(),
        pings,
        timeout: Duration::from_millis(timeout_ms),
        family: None,
        echo: EchoSettings::default(),
    }
}

fn host(index: u32) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::from_bits(0xc612_0000 + index)), 0)
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn answered(delay: Duration) -> Ping {
    Ping::Answered(Rtt::new(delay))
}

impl<N: FnMut(Request, usize) -> Vec<Duration>> World<N> {
    /// A world whose wall clock stands `into` behind the boundary at START.
    fn new(targets: &[TargetSettings], into: Duration, network: N) -> Self {
        Self::at_pace(EXACT, targets, into, network)
    }

    /// The same with another pace.
    fn at_pace(pace: Pace, targets: &[TargetSettings], into: Duration, network: N) -> Self {
        let monotonic = Monotonic(77 * SECOND + 123);
        let wall = Wall(START * SECOND + into.as_nanos() as i64);
        let now = Now { monotonic, wall, asleep: secs(5) };
        let mut schedule = Schedule::new(targets, &pace, &[], now);
        for index in 0..targets.len() as u32 {
            schedule.set_address(index, host(index));
        }
        Self {
            schedule,
            now,
            network,
            replies: BTreeMap::new(),
            sent: Vec::new(),
            rounds: Vec::new(),
            verdicts: Vec::new(),
            jumps: Vec::new(),
            wakes: 0,
        }
    }

    /// Lets time pass without anybody looking: a stall.
    fn pass(&mut self, duration: Duration) {
        self.now.monotonic = self.now.monotonic.plus(duration);
        self.now.wall = Wall(self.now.wall.0 + duration.as_nanos() as i64);
    }

    fn set_clock(&mut self, by_nanos: i64) {
        // What is under way arrives at the same time as ever, and is stamped by the clock of that time.
        for ((at, _), (_, stamp)) in &mut self.replies {
            if *at > self.now.monotonic {
                stamp.0 += by_nanos;
            }
        }
        self.now.wall.0 += by_nanos;
    }

    fn hear(&mut self) {
        self.jumps.extend(self.schedule.observe(self.now));
        while let Some(entry) = self.replies.first_entry()
            && entry.key().0 <= self.now.monotonic
        {
            let (Request { number, to }, stamp) = entry.remove();
            let verdict = self.schedule.on_reply(number, to.ip(), Some(stamp), self.now);
            self.verdicts.push(verdict);
        }
    }

    fn send(&mut self, request: Request) {
        self.schedule.sent(request.number, self.now.wall);
        for delay in (self.network)(request, self.sent.len()) {
            let at = self.now.monotonic.plus(delay);
            let stamp = Wall(self.now.wall.0 + delay.as_nanos() as i64);
            self.replies.insert((at, self.replies.len() + self.sent.len() * 8), (request, stamp));
        }
        self.sent.push((request, self.now.monotonic));
    }

    /// Runs as the prober's thread does, for so long. It begins behind a wait that found no packets: whatever passed
    /// before, what has come in since is only heard when the schedule asks for it.
    fn run(&mut self, duration: Duration) {
        let end = self.now.monotonic.plus(duration);
        loop {
            self.wakes += 1;
            self.jumps.extend(self.schedule.observe(self.now));
            let until = loop {
                match self.schedule.poll(self.now.monotonic) {
                    Action::Send(request) => self.send(request),
                    Action::Listen => {
                        self.hear();
                        self.schedule.heard(self.now.monotonic);
                    }
                    Action::HandOver => self.take_rounds(),
                    Action::Wait(until) => break until,
                }
            };
            assert!(until > self.now.monotonic, "a wait that is over");
            self.take_rounds();
            let reply = self.replies.first_key_value().map_or(Monotonic::NEVER, |((at, _), _)| *at);
            let next = until.min(reply).min(end);
            self.pass(next.since(self.now.monotonic));
            if next == reply {
                self.hear();
            }
            if next == end {
                return;
            }
        }
    }

    fn take_rounds(&mut self) {
        self.rounds.extend(std::iter::from_fn(|| self.schedule.take_round()).map(|(_, round)| round));
    }

    fn boundary(&self, round: usize) -> i64 {
        (self.rounds[round].start().secs() - START) / 60
    }
}

/// How many pings of a round are what.
fn count(round: &Round, ping: Ping) -> usize {
    round.pings().iter().filter(|found| **found == ping).count()
}

#[test]
fn pings_are_spread_evenly_and_rounds_end_on_their_boundary() {
    let mut world = World::new(&[target("a", 60, 20, 1500)], secs(0), |_, _| vec![millis(10)]);
    let begun = world.now.monotonic;
    world.run(secs(181));
    let offsets: Vec<Duration> = world.sent.iter().map(|(_, at)| at.since(begun)).collect();
    let phase = offsets[0];
    assert!(phase < secs(3), "the phase lies in the first ping's share");
    for (offset, i) in offsets.iter().zip(0..) {
        assert_eq!(*offset, phase + secs(3) * i);
    }
    assert_eq!(world.rounds.len(), 3);
    for (round, i) in world.rounds.iter().zip(0..) {
        assert_eq!(round.start(), UnixTime::from_secs(START + 60 * i));
        assert_eq!(round.end(), UnixTime::from_secs(START + 60 * (i + 1)));
        assert_eq!(round.pings(), vec![answered(millis(10)); 20]);
        assert_eq!(round.address(), Some(host(0).ip()));
    }
}

#[test]
fn a_round_is_handed_over_at_its_end_and_not_before() {
    let mut world = World::new(&[target("a", 60, 20, 1500)], secs(0), |_, _| vec![millis(10)]);
    world.run(secs(60) - Duration::from_nanos(1));
    assert_eq!(world.rounds.len(), 0);
    world.run(Duration::from_nanos(2));
    assert_eq!(world.rounds.len(), 1);
}

#[test]
fn targets_are_spread_against_each_other_and_always_the_same_way() {
    let targets: Vec<_> = (0..300).map(|i| target(&format!("site/{i}"), 60, 20, 1500)).collect();
    let phases = || {
        let mut world = World::new(&targets, secs(0), |_, _| vec![]);
        let begun = world.now.monotonic;
        world.run(secs(3));
        let mut phases = vec![Duration::ZERO; 300];
        for (request, at) in &world.sent {
            phases[request.number.target as usize] = at.since(begun);
        }
        assert_eq!(world.sent.len(), 300);
        phases
    };
    let first = phases();
    assert_eq!(first, phases());
    // Of 300 that fall by chance into 30 bins of 100 ms, ten are expected in each, and 25 in one is below 1e-4.
    let mut bins = [0; 30];
    for phase in first {
        bins[(phase.as_millis() / 100) as usize] += 1;
    }
    assert!(bins.iter().all(|count| (1..=25).contains(count)), "{bins:?}");
}

#[test]
fn the_running_step_is_joined_at_once() {
    let mut world = World::new(&[target("a", 60, 20, 1500)], millis(30_500), |_, _| vec![millis(10)]);
    world.run(secs(30));
    let round = &world.rounds[0];
    assert_eq!(round.start(), UnixTime::from_secs(START));
    // The tenth is due 27 s and a phase below 3 s after the boundary, the eleventh 30 s and that phase.
    let missed = count(round, Ping::Unknown(Fault::NotRunning));
    assert!((10..=11).contains(&missed), "{round:?}");
    assert_eq!(round.pings()[..missed], vec![Ping::Unknown(Fault::NotRunning); missed]);
    assert_eq!(round.pings()[missed..], vec![answered(millis(10)); 20 - missed]);
}

#[test]
fn a_step_whose_last_ping_is_past_is_not_joined() {
    let mut world = World::new(&[target("a", 60, 1, 1500)], millis(59_999), |_, _| vec![millis(10)]);
    world.run(secs(61));
    let round = &world.rounds[0];
    assert_eq!(round.start(), UnixTime::from_secs(START + 60), "{round:?}");
    assert_eq!(round.pings(), [answered(millis(10))]);
}

#[test]
fn a_ping_without_a_reply_is_lost_after_its_timeout() {
    let mut world =
        World::new(
            &[target("a", 60, 20, 1500)],
            secs(0),
            |_, nth| {
                if nth == 19 { vec![] } else { vec![millis(10)] }
            },
        );
    world.run(secs(56));
    let sent = loop {
        match world.sent.get(19) {
            Some((_, at)) => break *at,
            None => world.run(secs(1)),
        }
    };
    let timeout = sent.plus(millis(1500));
    let end = Monotonic(world.sent[0].1.0).plus(secs(60));
    world.run(timeout.max(end).since(world.now.monotonic) + secs(1));
    assert_eq!(count(&world.rounds[0], Ping::Lost), 1);
    assert_eq!(world.rounds[0].pings()[19], Ping::Lost);
}

#[test]
fn a_reply_after_the_timeout_is_late_and_counts_for_nothing() {
    let delays = [millis(1500), millis(1500) + Duration::from_nanos(1)];
    let mut world = World::new(&[target("a", 60, 2, 1500)], secs(0), |_, nth| vec![delays[nth % 2]]);
    world.run(secs(62));
    assert_eq!(world.rounds[0].pings(), [answered(millis(1500)), Ping::Lost]);
    assert_eq!(world.verdicts, [ANSWERED, Verdict::Late]);
}

#[test]
fn a_duplicate_counts_once() {
    let mut world =
        World::new(&[target("a", 60, 2, 1500)], secs(0), |_, _| vec![millis(5), millis(6), millis(900)]);
    world.run(secs(61));
    assert_eq!(world.rounds[0].pings(), [answered(millis(5)); 2]);
    let of = |verdict| world.verdicts.iter().filter(|found| **found == verdict).count();
    assert_eq!((of(ANSWERED), of(Verdict::Duplicate)), (2, 4));
}

#[test]
fn only_the_address_that_was_asked_can_answer() {
    let mut world = World::new(&[target("a", 60, 1, 1500)], secs(0), |_, _| vec![]);
    while world.sent.is_empty() {
        world.run(secs(1));
    }
    let (Request { number, to }, _) = world.sent[0];
    let now = world.now;
    let mut reply =
        |number, from: SocketAddr| world.schedule.on_reply(number, from.ip(), Some(now.wall), now);
    assert_eq!(reply(number, host(1)), Verdict::WrongSource);
    assert_eq!(reply(Number { ping: 1, ..number }, to), Verdict::Late, "there is no such ping yet");
    assert_eq!(reply(Number { target: 1, ..number }, to), Verdict::Late, "nor such a target");
    assert_eq!(reply(number, to), ANSWERED);
}

#[test]
fn without_a_stamp_of_the_kernel_the_monotonic_clock_measures() {
    let mut world = World::new(&[target("a", 60, 1, 70_000)], secs(0), |_, _| vec![]);
    world.run(secs(60));
    let (Request { number, to }, sent) = world.sent[0];
    let verdict = world.schedule.on_reply(number, to.ip(), None, world.now);
    let elapsed = world.now.monotonic.since(sent);
    world.run(secs(1));
    assert_eq!((verdict, world.rounds[0].pings()), (ANSWERED, &[answered(elapsed)][..]));
}

#[test]
fn an_impossible_stamp_makes_a_ping_unknown() {
    for wrong in [-SECOND, SECOND] {
        let mut world = World::new(&[target("a", 60, 1, 70_000)], secs(0), |_, _| vec![]);
        while world.sent.is_empty() {
            world.run(millis(100));
        }
        let (Request { number, to }, _) = world.sent[0];
        let stamp = Wall(world.now.wall.0 + wrong);
        let verdict = world.schedule.on_reply(number, to.ip(), Some(stamp), world.now);
        assert_eq!(verdict, Verdict::Impossible);
        world.run(secs(61));
        assert_eq!(world.rounds[0].pings(), [Ping::Unknown(Fault::ClockSet)]);
    }
}

/// A stopped process finds replies in its buffer that came in time; the kernel's stamp proves it.
#[test]
fn a_reply_that_was_read_late_but_came_in_time_counts() {
    let mut world = World::new(&[target("a", 60, 20, 1500)], secs(0), |_, _| vec![millis(1000)]);
    while world.sent.is_empty() {
        world.run(millis(100));
    }
    world.pass(millis(2900));
    world.run(secs(61));
    assert_eq!(world.rounds[0].pings(), vec![answered(millis(1000)); 20]);
}

#[test]
fn pings_that_were_missed_in_a_stall_are_unknown_and_not_made_up_for() {
    let mut world = World::new(&[target("a", 60, 20, 1500)], secs(0), |_, _| vec![millis(10)]);
    world.run(secs(10));
    let before = world.sent.len();
    world.pass(secs(30));
    world.run(millis(1));
    assert!(world.sent.len() <= before + 1, "at most the ping whose share of the step it is now");
    world.run(secs(81));
    let round = &world.rounds[0];
    assert!((9..=10).contains(&count(round, Ping::Unknown(Fault::HeldUp))), "{round:?}");
    assert_eq!(round.lost(), 0);
    assert_eq!(world.rounds[1].pings(), vec![answered(millis(10)); 20]);
}

#[test]
fn rounds_that_were_missed_as_a_whole_are_skipped() {
    let mut world = World::new(&[target("a", 60, 20, 1500)], secs(0), |_, _| vec![millis(10)]);
    world.run(secs(30));
    world.pass(secs(180));
    world.run(secs(100));
    let boundaries: Vec<i64> = (0..world.rounds.len()).map(|i| world.boundary(i)).collect();
    assert_eq!(boundaries, [0, 3, 4]);
    assert_eq!(world.rounds.iter().map(Round::lost).sum::<usize>(), 0);
    let held_up = |round: &Round| count(round, Ping::Unknown(Fault::HeldUp));
    assert!((9..=10).contains(&held_up(&world.rounds[0])));
    assert!((9..=10).contains(&held_up(&world.rounds[1])));
    assert_eq!(held_up(&world.rounds[2]), 0);
}

#[test]
fn a_clock_set_forward_by_an_hour_ends_the_round_and_joins_the_new_one() {
    let mut world = World::new(&[target("a", 60, 20, 1500)], secs(0), |_, _| vec![millis(400)]);
    world.run(secs(31));
    world.set_clock(3600 * SECOND);
    world.run(secs(60));
    assert_eq!(world.jumps, [Jump::Set(3600 * SECOND)]);
    assert_eq!((world.boundary(0), world.boundary(1)), (0, 60));
    for round in &world.rounds {
        assert_eq!(round.lost(), 0, "{round:?}");
        assert_eq!(count(round, Ping::Unknown(Fault::ClockSet)) + count(round, answered(millis(400))), 20);
        assert!((9..=12).contains(&round.known()), "{round:?}");
    }
}

#[test]
fn a_clock_set_back_by_an_hour_begins_anew() {
    let mut world = World::new(&[target("a", 60, 20, 1500)], secs(0), |_, _| vec![millis(400)]);
    world.run(secs(91));
    world.set_clock(-3600 * SECOND);
    world.run(secs(90));
    assert_eq!(world.jumps, [Jump::Set(-3600 * SECOND)]);
    // The round that was running would end in an hour.
    let boundaries: Vec<i64> = (0..world.rounds.len()).map(|i| world.boundary(i)).collect();
    assert_eq!(boundaries, [0, -59, -58]);
    assert!((9..=12).contains(&count(&world.rounds[1], Ping::Unknown(Fault::ClockSet))));
    assert_eq!(world.rounds[2].pings(), vec![answered(millis(400)); 20]);
}

/// A second round with the same boundaries would be refused by the archive, and counted twice by an alert.
#[test]
fn a_clock_set_back_over_a_boundary_opens_no_round_twice() {
    let mut world = World::new(&[target("a", 60, 20, 1500)], secs(0), |_, _| vec![millis(10)]);
    while world.sent.len() < 21 {
        world.run(millis(100));
    }
    world.set_clock(-4 * SECOND);
    world.run(secs(124));
    let boundaries: Vec<i64> = (0..world.rounds.len()).map(|i| world.boundary(i)).collect();
    assert_eq!(boundaries, [0, 1, 2]);
    assert!(world.rounds.iter().all(|round| round.lost() == 0 && round.known() >= 19), "{:?}", world.rounds);
}

#[test]
fn a_clock_set_a_little_moves_the_next_round_and_costs_only_what_was_under_way() {
    let mut world = World::new(&[target("a", 60, 20, 1500)], secs(0), |_, _| vec![millis(400)]);
    while world.sent.is_empty() {
        world.run(millis(50));
    }
    world.set_clock(50_000_000);
    world.run(secs(122));
    assert_eq!(world.jumps, [Jump::Set(50_000_000)]);
    assert_eq!(world.rounds[0].pings()[0], Ping::Unknown(Fault::ClockSet));
    assert_eq!(count(&world.rounds[0], answered(millis(400))), 19);
    let gap = world.sent[20].1.since(world.sent[19].1);
    assert_eq!(gap, secs(3) - millis(50), "the second round begins at its boundary");
}

#[test]
fn a_machine_that_slept_lost_nothing() {
    let mut world = World::new(&[target("a", 60, 20, 1500)], secs(0), |_, _| vec![]);
    while world.sent.is_empty() {
        world.run(millis(50));
    }
    // The monotonic clock stands still in a sleep, and nothing is received.
    world.now.asleep += secs(600);
    world.set_clock(600 * SECOND);
    world.run(secs(1));
    assert_eq!(world.jumps, [Jump::Slept(secs(600))]);
    assert_eq!(world.rounds[0].pings(), vec![Ping::Unknown(Fault::HeldUp); 20]);
}

#[test]
fn a_timeout_may_be_longer_than_the_step() {
    let mut world = World::new(&[target("a", 10, 5, 35_000)], secs(0), |_, nth| match nth {
        0 => vec![],
        _ => vec![secs(34)],
    });
    world.run(secs(100));
    let starts: Vec<i64> = world.rounds.iter().map(|round| round.start().secs() - START).collect();
    assert_eq!(starts, [0, 10, 20, 30, 40, 50], "in order, though the first is done last");
    assert_eq!(world.rounds[0].pings()[0], Ping::Lost);
    assert!(world.rounds[1..].iter().all(|round| round.pings() == [answered(secs(34)); 5]));
}

/// The 16 bits of a sequence name 65 536 pings; one target alone has twice as many under way here.
#[test]
fn the_sequence_does_not_limit_what_is_under_way() {
    let delay = |nth: usize| millis(60_000 + (nth % 50_021) as u64);
    let mut world = World::new(&[target("a", 60, 60_000, 200_000)], secs(0), |_, nth| vec![delay(nth)]);
    world.run(secs(240));
    assert!(world.rounds.len() >= 2);
    let pings = world.rounds.iter().flat_map(|round| round.pings());
    for (nth, ping) in pings.enumerate() {
        assert_eq!(*ping, answered(delay(nth)), "ping {nth}");
    }
}

#[test]
fn the_count_of_pings_may_wrap() {
    let mut world = World::new(&[target("a", 60, 20, 1500)], secs(0), |_, _| vec![millis(10)]);
    world.schedule.courses[0].wrap_soon();
    world.run(secs(181));
    let counts: HashSet<u32> = world.sent.iter().map(|(request, _)| request.number.ping).collect();
    assert!(counts.contains(&u32::MAX) && counts.contains(&0));
    assert!(world.rounds.iter().all(|round| round.known() == 20), "{:?}", world.rounds);
}

#[test]
fn an_unresolved_name_is_unknown_until_it_resolves() {
    let mut world = World::new(&[target("a", 60, 20, 1500)], secs(0), |_, _| vec![millis(10)]);
    world.schedule = Schedule::new(&[target("a", 60, 20, 1500)], &EXACT, &[], world.now);
    world.run(secs(30));
    assert_eq!(world.sent.len(), 0);
    world.schedule.set_address(0, host(0));
    world.run(secs(31));
    assert_eq!(count(&world.rounds[0], Ping::Unknown(Fault::NoAddress)), 10);
    assert_eq!(count(&world.rounds[0], answered(millis(10))), 10);
    assert_eq!(world.rounds[0].address(), Some(host(0).ip()));
}

#[test]
fn another_address_is_asked_from_the_next_round_on() {
    let mut world = World::new(&[target("a", 60, 20, 1500)], secs(0), |_, _| vec![millis(10)]);
    world.run(secs(30));
    world.schedule.set_address(0, host(9));
    world.run(secs(91));
    assert!(world.sent[..20].iter().all(|(request, _)| request.to == host(0)));
    assert!(world.sent[20..].iter().all(|(request, _)| request.to == host(9)));
    assert_eq!(world.rounds[1].address(), Some(host(9).ip()));
}

#[test]
fn a_ping_that_did_not_go_out_is_not_lost() {
    let mut world = World::new(&[target("a", 60, 1, 1500)], secs(0), |_, _| vec![]);
    while world.sent.is_empty() {
        world.run(secs(1));
    }
    let number = world.sent[0].0.number;
    world.schedule.failed(number, Fault::Send(libc::ENOBUFS), world.now.monotonic);
    world.run(secs(61));
    assert_eq!(world.rounds[0].pings(), [Ping::Unknown(Fault::Send(libc::ENOBUFS))]);
}

#[test]
fn what_was_under_way_when_our_buffer_overflowed_is_unknown() {
    let mut world = World::new(&[target("a", 60, 2, 1500)], secs(0), |_, _| vec![]);
    while world.sent.is_empty() {
        world.run(millis(100));
    }
    world.schedule.overflowed(Family::V6, world.now.monotonic.plus(secs(50)));
    world.schedule.overflowed(Family::V4, world.now.monotonic);
    world.run(secs(62));
    assert_eq!(world.rounds[0].pings(), [Ping::Unknown(Fault::Overflow), Ping::Lost]);
}

/// A wake-up that finds nothing to do costs battery, and a thousand of them time.
#[test]
fn nobody_is_woken_for_nothing() {
    let targets: Vec<_> = (0..50).map(|i| target(&format!("{i}"), 60, 20, 1500)).collect();
    let mut world = World::new(&targets, secs(0), |_, _| vec![millis(10)]);
    world.run(secs(600) + millis(1));
    assert_eq!(world.rounds.len(), 500);
    // Each ping is sent and heard; the rounds of each minute end together; and the world itself begins.
    assert!(
        world.wakes <= 2 * world.sent.len() + 10 + 1,
        "{} wake-ups for {}",
        world.wakes,
        world.sent.len()
    );
    assert!(world.schedule.agenda.len() <= 2 * targets.len(), "overtaken entries pile up");
}

/// What may happen in a world, in a second or so each.
#[derive(Clone, Debug)]
enum Weather {
    Calm(u64),
    Stall(u64),
    Set(i64),
    Sleep(u64),
}

fn weather() -> impl Strategy<Value = Vec<Weather>> {
    let one = prop_oneof![
        6 => (1u64..20_000).prop_map(Weather::Calm),
        2 => (1u64..40_000).prop_map(Weather::Stall),
        1 => (-20_000i64..20_000).prop_map(Weather::Set),
        1 => (1u64..40_000).prop_map(Weather::Sleep),
    ];
    prop::collection::vec(one, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever the weather: a round trip is what it was or is not told at all; nothing is lost that was answered in
    /// time; every round has all its pings; none comes twice; and no stall is followed by a bunch.
    #[test]
    fn no_weather_makes_a_false_result(
        step in 1u32..12,
        pings in 1u16..12,
        timeout in 1u64..9_000,
        into in 0u64..60_000,
        delays in prop::collection::vec(prop::collection::vec(1u64..6_000, 0..3), 1..40),
        weather in weather(),
    ) {
        let timeout = timeout.min(u64::from(step) * 10_000);
        let settings = [target("one", step, pings, timeout), target("two", step + 1, pings, timeout)];
        // Each ping has a delay of its own, by which its result can be told from all others.
        let delay = |nth: usize| -> Vec<Duration> {
            delays[nth % delays.len()].iter().map(|ms| millis(*ms) + Duration::from_nanos(nth as u64)).collect()
        };
        let mut world = World::new(&settings, millis(into), |_, nth| delay(nth));
        let mut set_back = false;
        for event in weather {
            match event {
                Weather::Calm(ms) => world.run(millis(ms)),
                Weather::Stall(ms) => world.pass(millis(ms)),
                Weather::Set(ms) => {
                    set_back |= ms < 0;
                    world.set_clock(ms * 1_000_000);
                }
                Weather::Sleep(ms) => {
                    world.now.asleep += millis(ms);
                    world.set_clock(ms as i64 * 1_000_000);
                }
            }
        }
        world.run(secs(30));
        // One of each target, two of those that are due more often than every 100 ms; and where a clock was set, the last
        // one of a round and the first of the next may be closer.
        let spacing = secs(u64::from(step)) / u32::from(pings);
        let bunch = 2 * (if spacing < millis(100) { 2 } else { 1 } + usize::from(!world.jumps.is_empty()));
        for window in world.sent.windows(bunch + 1) {
            prop_assert!(window[0].1 < window[bunch].1, "{} pings at once", bunch + 1);
        }
        for (name, index) in [("one", 0), ("two", 1)] {
            let rounds: Vec<&Round> = world.rounds.iter().filter(|round| round.target().name == name).collect();
            for pair in rounds.windows(2) {
                prop_assert!(pair[0].end() <= pair[1].start() || set_back, "{pair:?}");
            }
            let sent = world.sent.iter().enumerate().filter(|(_, (request, _))| request.number.target == index);
            let outcomes: Vec<Option<Duration>> = sent
                .map(|(nth, _)| delay(nth).into_iter().min().filter(|rtt| *rtt <= millis(timeout)))
                .collect();
            let mut in_time = outcomes.iter().flatten();
            let mut lost = 0;
            for round in rounds {
                prop_assert_eq!(round.pings().len(), usize::from(pings));
                for ping in round.pings() {
                    match ping {
                        Ping::Answered(rtt) => prop_assert!(in_time.any(|sent| *sent == rtt.duration()), "{rtt:?}"),
                        Ping::Lost => lost += 1,
                        Ping::Unknown(Fault::ClockSet) => prop_assert!(!world.jumps.is_empty()),
                        Ping::Unknown(fault) => prop_assert!(matches!(fault, Fault::HeldUp | Fault::NotRunning)),
                    }
                }
            }
            let unanswered = outcomes.iter().filter(|outcome| outcome.is_none()).count();
            prop_assert!(lost <= unanswered, "{lost} of {unanswered}");
            if world.jumps.is_empty() {
                // Nothing that came in time was forgotten, but for the rounds that are still open.
                let open = outcomes.iter().rev().take(usize::from(pings) * (2 + timeout as usize / 1000));
                prop_assert!(in_time.count() <= open.count());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// The bound on catching up is for stalls only.
    #[test]
    fn without_a_stall_each_ping_leaves_within_the_collect_span(
        settings in prop::collection::vec((1u32..30, 1u16..40), 1..200),
        collect in 0u64..20,
        into in 0u64..30_000,
    ) {
        let pace = Pace { collect: millis(collect), ..EXACT };
        let targets: Vec<_> = settings
            .iter()
            .zip(0..)
            .map(|((step, pings), n)| target(&format!("{n}"), *step, *pings, 900))
            .collect();
        let mut world = World::at_pace(pace.in_bunches(&targets), &targets, millis(into), |_, _| vec![millis(5)]);
        world.run(secs(12));
        let mut late = vec![Vec::new(); targets.len()];
        for (request, at) in &world.sent {
            late[request.number.target as usize].push(*at);
        }
        for (target, late) in targets.iter().zip(late) {
            // One that is alone is not held up by any bound.
            let mut alone = World::new(std::slice::from_ref(target), millis(into), |_, _| vec![millis(5)]);
            alone.run(secs(12) - millis(collect));
            prop_assert!(late.len() >= alone.sent.len());
            for ((_, due), at) in alone.sent.iter().zip(late) {
                prop_assert!(at >= *due && at.since(*due) <= millis(collect), "{:?} late", at.since(*due));
            }
        }
    }
}

/// Runs with many targets at 10 ms, and returns the world.
fn collected(pace: Pace, targets: u32, run: Duration) -> World<impl FnMut(Request, usize) -> Vec<Duration>> {
    let targets: Vec<_> = (0..targets).map(|i| target(&format!("{i}"), 60, 20, 1500)).collect();
    let mut world = World::at_pace(pace, &targets, secs(0), |_, _| vec![]);
    world.run(run);
    world
}

#[test]
fn what_falls_due_within_the_collect_span_leaves_in_one_bunch() {
    let pace = Pace { collect: millis(10), ..EXACT };
    // A thousand targets with a ping every three seconds: 3.3 each collect span.
    let world = collected(pace, 1_000, secs(30));
    let exact = collected(EXACT, 1_000, secs(30));
    let mut bunches: Vec<Monotonic> = world.sent.iter().map(|(_, at)| *at).collect();
    bunches.dedup();
    assert!(bunches.windows(2).all(|pair| pair[1].since(pair[0]) >= millis(10)), "two in one span");
    assert!(bunches.len() <= 3_000);
    let due: HashMap<Number, Monotonic> =
        exact.sent.iter().map(|(request, at)| (request.number, *at)).collect();
    for (request, at) in &world.sent {
        let late = at.0 - due[&request.number].0;
        assert!((0..=10_000_000).contains(&late), "{late} ns late");
    }
    // Nothing is answered: each ping is sent, and lost, and both are done by a bunch of others at best.
    assert!(world.wakes <= 2 * bunches.len() + 10, "{} wake-ups for {} bunches", world.wakes, bunches.len());
}

#[test]
fn more_than_the_pace_allows_waits_its_turn_and_nothing_is_lost_or_forgotten() {
    // 333 are due each second, and 400 may leave: in a bunch at the start they come to wait.
    let pace = Pace { packets_per_sec: 400, collect: millis(10), ..EXACT };
    let mut world = World::at_pace(
        pace,
        &(0..1_000).map(|_| target("the same name", 60, 20, 1500)).collect::<Vec<_>>(),
        secs(0),
        |_, _| vec![millis(5)],
    );
    world.run(secs(65));
    assert!(world.schedule.was_held() && !world.schedule.was_held(), "told once");
    let times: Vec<Monotonic> = world.sent.iter().map(|(_, at)| *at).collect();
    for (place, from) in times.iter().enumerate() {
        let within = times[place..].iter().take_while(|at| at.since(*from) < secs(1)).count();
        assert!(within <= 405, "{within} in one second");
    }
    assert_eq!(world.rounds.len(), 1_000);
    for round in &world.rounds {
        assert_eq!(round.pings(), vec![answered(millis(5)); 20]);
    }
    for bunch in world.sent.chunks_exact(1_000) {
        let targets: HashSet<u32> = bunch.iter().map(|(request, _)| request.number.target).collect();
        assert_eq!(targets.len(), 1_000, "one overtook another");
    }
}

#[test]
fn what_does_not_leave_in_its_share_of_the_step_is_unknown() {
    let pace = Pace { packets_per_sec: 100, collect: millis(10), ..EXACT };
    let targets: Vec<_> = (0..600).map(|i| target(&format!("{i}"), 60, 20, 1500)).collect();
    let mut world = World::at_pace(pace, &targets, secs(0), |_, _| vec![millis(5)]);
    world.run(secs(185));
    for round in &world.rounds {
        assert_eq!((round.lost(), round.pings().len()), (0, 20));
        assert!(round.fault().is_none_or(|fault| fault == Fault::HeldUp));
    }
    let known: usize = world.rounds.iter().map(Round::known).sum();
    // A half of them can leave, and all of that half do.
    assert!((17_000..=18_100).contains(&known), "{known} of 36000");
    assert_eq!(world.rounds.len(), 1_800);
    // Nobody is left out.
    assert!(world.rounds[600..].iter().all(|round| round.known() >= 2), "somebody starves");
}

#[test]
fn no_more_are_under_way_than_may_be() {
    let pace = Pace { in_flight: 50, collect: millis(10), ..EXACT };
    let targets: Vec<_> = (0..200).map(|i| target(&format!("{i}"), 60, 20, 1500)).collect();
    // Every second one is answered, after 100 ms; the others take their timeout to get out of the way.
    let mut world = World::at_pace(pace, &targets, secs(0), |_, nth| {
        if nth.is_multiple_of(2) { vec![millis(100)] } else { vec![] }
    });
    world.run(secs(125));
    for (place, (_, at)) in world.sent.iter().enumerate() {
        let before = &world.sent[..place];
        let until = |nth: usize, sent: Monotonic| {
            sent.plus(if nth.is_multiple_of(2) { millis(100) } else { millis(1500) })
        };
        let under_way =
            before.iter().enumerate().rev().take(200).filter(|(nth, (_, sent))| until(*nth, *sent) > *at);
        assert!(under_way.count() < 50, "at {place}");
    }
    assert_eq!(world.rounds.len(), 400);
    let answered: usize = world.rounds.iter().map(|round| round.sorted().len()).sum();
    assert!(answered > 3_000, "{answered}");
    assert!(world.rounds.iter().all(|round| round.fault().is_none_or(|fault| fault == Fault::HeldUp)));
}

/// Whoever catches up in one bunch overruns the network, and the receive buffer with what comes back.
#[test]
fn ten_thousand_targets_leave_no_bunch_after_a_stall() {
    let targets: Vec<_> = (0..10_000).map(|i| target(&format!("{i}"), 60, 20, 1500)).collect();
    let pace = Pace { collect: millis(10), ..EXACT };
    let mut world = World::at_pace(pace, &targets, secs(0), |_, _| vec![millis(10)]);
    world.run(secs(10));
    let before = world.sent.len();
    world.pass(secs(5));
    world.run(secs(46));
    assert!(!world.schedule.was_held(), "the settings allow much more");
    let caught_up = &world.sent[before..];
    // A hundred at once, and twice the 33 that are due in 10 ms.
    for bunch in caught_up.windows(168) {
        assert!(bunch[167].1.since(bunch[0].1) >= millis(10), "168 in 10 ms");
    }
    let rounds = &world.rounds;
    assert_eq!((rounds.len(), rounds.iter().map(Round::lost).sum::<usize>()), (10_000, 0));
    let held_up: usize = rounds.iter().map(|round| count(round, Ping::Unknown(Fault::HeldUp))).sum();
    assert!((13_000..=13_800).contains(&held_up), "{held_up}, and what was due in four seconds are 13333");
}

/// What leaves the moment that a stall ends is at most one ping of a target; of one that is due every 100 ms or more often,
/// those of the last 100 ms.
#[test]
fn a_stall_is_made_up_for_by_one_ping_of_a_target() {
    for (step, pings, most) in
        [(60, 20, 1), (10, 20, 1), (10, 99, 1), (10, 100, 1), (10, 101, 2), (10, 400, 4)]
    {
        let pace = Pace { collect: millis(10), ..EXACT };
        for stall in [101, 250, 999, 1_000, 2_000, 7_700] {
            let mut world =
                World::at_pace(pace, &[target("a", step, pings, 1500)], secs(0), |_, _| vec![millis(10)]);
            world.run(secs(3));
            let before = world.sent.len();
            world.pass(millis(stall));
            world.run(Duration::from_nanos(1));
            let made_up = world.sent.len() - before;
            assert!(made_up <= most, "{made_up} after {stall} ms of {pings} in {step} s");
        }
    }
}

#[test]
fn the_kernels_stamp_of_the_echo_replaces_ours() {
    let mut world = World::new(&[target("a", 60, 1, 1500)], secs(0), |_, _| vec![]);
    while world.sent.is_empty() {
        world.run(millis(100));
    }
    let (Request { number, to }, at) = world.sent[0];
    let user = Wall(world.now.wall.0 - world.now.monotonic.since(at).as_nanos() as i64);
    let (left, back) = (user.plus(Duration::from_micros(150)), user.plus(Duration::from_micros(190)));
    world.schedule.stamped(Number { ping: number.ping + 1, ..number }, back);
    world.schedule.stamped(Number { target: 7, ..number }, back);
    world.schedule.stamped(number, left);
    let verdict = world.schedule.on_reply(number, to.ip(), Some(back), world.now);
    assert_eq!(verdict, Verdict::Answered { by_kernel: true });
    world.run(secs(61));
    assert_eq!(world.rounds[0].pings(), [answered(Duration::from_micros(40))]);
}

/// The kernel cannot have sent what it had not been given; a clock that was set looks like that.
#[test]
fn a_stamp_from_before_the_echo_is_not_believed() {
    let mut world = World::new(&[target("a", 60, 1, 1500)], secs(0), |_, _| vec![]);
    while world.sent.is_empty() {
        world.run(millis(1));
    }
    let (Request { number, to }, _) = world.sent[0];
    world.schedule.stamped(number, Wall(world.now.wall.0 - SECOND));
    let verdict = world.schedule.on_reply(number, to.ip(), Some(world.now.wall), world.now);
    assert_eq!(verdict, ANSWERED);
}

/// On a datagram socket of IPv6 the kernel reports success of an echo that its own firewall or queue drops. That others have
/// stamps and it has none is the only sign; a host that is dead on a network of ours looks just so.
#[test]
fn an_echo_that_never_left_is_unknown_where_that_is_certain() {
    let never_left = Ping::Unknown(Fault::NeverLeft);
    let (beyond, here) = ((Reach::Far, Some(1)), (Reach::Far, None));
    for (stamped, first, then, wanted) in [
        (true, beyond, beyond, never_left),
        (true, beyond, (Reach::Far, Some(2)), Ping::Lost),
        (true, here, here, Ping::Lost),
        (true, (Reach::Near, None), (Reach::Near, None), Ping::Lost),
        (false, beyond, beyond, Ping::Lost),
    ] {
        let mut world = World::new(&[target("a", 60, 2, 1500)], secs(0), |_, _| vec![]);
        for (nth, (reach, gateway)) in [first, then].into_iter().enumerate() {
            let lay = Lay { reaches: vec![reach], gateways: vec![gateway], anchors: Vec::new(), cut: None };
            world.schedule.lay(&lay, world.now.monotonic);
            while world.sent.len() <= nth {
                world.run(millis(1));
            }
            if nth == 0 && stamped {
                world.schedule.stamped(world.sent[0].0.number, world.now.wall);
            }
        }
        world.run(secs(62));
        // What left, and was not answered, is lost wherever it went.
        assert_eq!(world.rounds[0].pings(), [Ping::Lost, wanted], "{stamped} {first:?} {then:?}");
    }
}

#[test]
fn when_our_own_side_breaks_what_was_under_way_is_unknown() {
    let fault = Ping::Unknown(Fault::Send(libc::ENETUNREACH));
    // The pings before the break, which are three seconds apart: lost already in the first world, still under way in the
    // second. In the third they are fifteen seconds apart, and what was lost so long ago has nothing to do with it.
    for (step, pings, timeout, before) in [
        (60, 20, 1_500, [Ping::Lost, fault]),
        (60, 20, 7_000, [fault, fault]),
        (120, 8, 1_500, [Ping::Lost, Ping::Lost]),
        (120, 8, 11_000, [Ping::Lost, fault]),
    ] {
        let mut world = World::new(&[target("a", step, pings, timeout)], secs(0), |_, _| vec![]);
        while world.sent.len() < 3 {
            world.run(millis(100));
        }
        let number = world.sent[2].0.number;
        world.schedule.failed(number, Fault::Send(libc::ENETUNREACH), world.now.monotonic);
        world.run(secs(u64::from(step) + 12));
        let pings = world.rounds[0].pings();
        assert_eq!(pings[..4], [before[0], before[1], fault, Ping::Lost], "{step} {timeout}");
    }
}

#[test]
fn what_somebody_says_explains_the_round_that_it_is_about() {
    let mut world = World::new(&[target("a", 60, 2, 1500)], secs(0), |_, nth| {
        if nth == 1 || nth >= 4 { vec![millis(5)] } else { vec![] }
    });
    let router = host(99).ip();
    let reason = |code| Reason { family: Family::V4, kind: 3, code };
    while world.sent.len() < 2 {
        world.run(millis(100));
    }
    let Number { target, ping } = world.sent[0].0.number;
    let says =
        |world: &mut World<_>, quoted, code, from| world.schedule.says(target, quoted, reason(code), from);
    assert!(says(&mut world, Quoted::Ping(ping), 0, router));
    assert!(says(&mut world, Quoted::Ping(ping + 1), 1, router));
    assert!(!says(&mut world, Quoted::Ping(ping + 77), 2, host(77).ip()));
    assert!(!says(&mut world, Quoted::Sequence(ping as u16 + 1), 2, host(77).ip()), "it was answered");
    assert!(!says(&mut world, Quoted::Sequence(ping as u16 + 2), 2, host(77).ip()), "it was not sent");
    while world.sent.len() < 3 {
        world.run(millis(100));
    }
    assert!(says(&mut world, Quoted::Sequence(ping as u16 + 2), 13, router));
    while world.sent.len() < 5 {
        world.run(millis(100));
    }
    world.run(millis(10));
    assert!(!says(&mut world, Quoted::Sequence(ping as u16 + 4), 1, router), "it is answered");
    world.run(secs(61));
    let said = |nth: usize| world.rounds[nth].says().map(ToString::to_string);
    assert_eq!(said(0).as_deref(), Some("host unreachable, says 198.18.0.99"));
    assert_eq!(said(1).as_deref(), Some("administratively prohibited, says 198.18.0.99"));
    assert_eq!(said(2), None, "nothing was lost");
}

/// Routers hold errors back, and the host that is not there is known to be only after some seconds.
#[test]
fn an_error_that_comes_after_the_next_round_began_explains_the_one_it_quotes() {
    let mut world = World::new(&[target("a", 1, 1, 3000)], secs(0), |_, _| vec![]);
    while world.sent.len() < 3 {
        world.run(millis(100));
    }
    let Number { target, ping } = world.sent[1].0.number;
    let reason = Reason { family: Family::V4, kind: 3, code: 1 };
    assert!(world.schedule.says(target, Quoted::Sequence(ping as u16), reason, host(99).ip()));
    world.run(secs(9));
    let explained: Vec<bool> = world.rounds.iter().map(|round| round.says().is_some()).take(3).collect();
    assert_eq!(explained, [false, true, false]);
}

#[test]
fn another_address_may_answer_where_that_is_set() {
    let mut anycast = target("a", 60, 1, 1500);
    anycast.echo.any_source = true;
    let mut world = World::new(&[anycast], secs(0), |_, _| vec![]);
    while world.sent.is_empty() {
        world.run(millis(1));
    }
    let (Request { number, .. }, _) = world.sent[0];
    let stamp = Some(world.now.wall);
    let verdicts = [5, 6].map(|n| world.schedule.on_reply(number, host(n).ip(), stamp, world.now));
    assert_eq!(verdicts, [ANSWERED, Verdict::Duplicate]);
}

/// The address of the one anchor.
const ANCHOR: [u8; 4] = [198, 18, 255, 254];

/// The rounds of five minutes, of targets that are all behind one anchor. In the time between, only those that survive it
/// answer.
fn behind_an_anchor(
    targets: &[TargetSettings],
    (from, until): (Duration, Duration),
    survives: impl Fn(Request) -> bool,
) -> Vec<Round> {
    let sent = std::rc::Rc::new(std::cell::Cell::new(Duration::ZERO));
    let clock = std::rc::Rc::clone(&sent);
    let mut world = World::new(targets, secs(0), move |request, _| {
        let is_well = !(from..until).contains(&clock.get()) || survives(request);
        if is_well { vec![millis(10)] } else { vec![] }
    });
    let begun = world.now.monotonic;
    let lay = Lay {
        reaches: vec![Reach::Far; targets.len()],
        gateways: vec![Some(1); targets.len()],
        anchors: vec![SocketAddr::from((ANCHOR, 0))],
        cut: None,
    };
    world.schedule.lay(&lay, begun);
    // The network is not told the time: whoever runs the world in small steps tells it.
    for _ in 0..(until.max(secs(300)).as_millis() / 100) {
        sent.set(world.now.monotonic.since(begun));
        world.run(millis(100));
    }
    world.rounds
}

fn is_anchors(request: Request) -> bool {
    request.to == SocketAddr::from((ANCHOR, 0))
}

#[test]
fn what_an_outage_of_our_own_uplink_took_is_unknown_and_the_rest_is_as_it_was() {
    let targets: Vec<_> = (0..50).map(|i| target(&format!("t{i}"), 60, 20, 1500)).collect();
    // It begins and ends in the middle of rounds, and one boundary lies right behind its beginning.
    let rounds = behind_an_anchor(&targets, (secs(118), secs(150)), |_| false);
    let offline = Ping::Unknown(Fault::Offline);
    let rounds_of = |boundary: i64| {
        rounds.iter().filter(move |it| it.start() == UnixTime::from_secs(START + 60 * boundary))
    };
    for round in &rounds {
        assert_eq!(count(round, Ping::Lost), 0, "{round:?}");
        let well = count(round, answered(millis(10)));
        assert_eq!(well + count(round, offline), 20, "{round:?}");
    }
    assert_eq!([0, 3].map(|it| rounds_of(it).map(|round| count(round, offline)).sum::<usize>()), [0, 0]);
    for boundary in [1, 2] {
        assert_eq!(rounds_of(boundary).count(), 50);
    }
    // Ten or eleven of the twenty pings of a minute are due in its first half.
    assert!(rounds_of(2).all(|round| (9..=11).contains(&count(round, offline))));
    assert!(rounds_of(1).map(|round| count(round, offline)).sum::<usize>() >= 25, "most of the last pings");
}

#[test]
fn what_a_target_loses_while_the_anchor_answers_is_lost() {
    let rounds = behind_an_anchor(&[target("a", 60, 20, 1500)], (secs(60), secs(180)), is_anchors);
    let lost: Vec<usize> = rounds.iter().map(|round| count(round, Ping::Lost)).collect();
    assert_eq!(lost, [0, 20, 20, 0]);
}

#[test]
fn what_all_lose_while_others_answer_is_lost() {
    let targets = [target("a", 60, 20, 1500), target("b", 60, 20, 1500)];
    // The anchor is silent too, but b is not.
    let rounds = behind_an_anchor(&targets, (secs(60), secs(180)), |request| request.number.target == 1);
    let of = |name: &str| rounds.iter().filter(|it| it.target().name == name).collect::<Vec<_>>();
    assert_eq!(of("a").iter().map(|round| count(round, Ping::Lost)).collect::<Vec<_>>(), [0, 20, 20, 0]);
    assert!(of("b").iter().all(|round| round.known() == 20));
}

/// A target that is asked once a minute has but one ping, and that must not be a loss of its.
#[test]
fn one_ping_a_minute_is_excused_too() {
    let rounds = behind_an_anchor(&[target("a", 60, 1, 1500)], (secs(60), secs(180)), |_| false);
    let pings: Vec<Ping> = rounds.iter().map(|round| round.pings()[0]).collect();
    let offline = Ping::Unknown(Fault::Offline);
    assert_eq!(pings, [answered(millis(10)), offline, offline, answered(millis(10))]);
}

#[test]
fn a_round_waits_for_the_verdict_within_a_bound_and_one_without_losses_never() {
    let lay = Lay {
        reaches: vec![Reach::Far; 2],
        gateways: vec![Some(1); 2],
        anchors: vec![SocketAddr::from((ANCHOR, 0))],
        cut: None,
    };
    // Neither the anchor nor the first target answers from the 20th second on; the other one does in its own time.
    let mut world =
        World::new(&[target("a", 60, 20, 1500), target("b", 60, 1, 1500)], secs(0), |_, _| vec![]);
    world.schedule.lay(&lay, world.now.monotonic);
    let begun = world.now.monotonic;
    let (mut a, mut b) = (None, None);
    for _ in 0..700 {
        let quiet = world.now.monotonic.since(begun) >= secs(58);
        world.run(millis(100));
        let sent = std::mem::take(&mut world.sent);
        for (request, at) in sent {
            if !quiet || request.number.target == 1 {
                let stamp = Wall(world.schedule.clocks.wall(at).0 + 1_000_000);
                let _ = world.schedule.on_reply(request.number, request.to.ip(), Some(stamp), world.now);
            }
        }
        let passed = world.now.monotonic.since(begun);
        for round in world.rounds.drain(..) {
            let place = if round.target().name == "a" { &mut a } else { &mut b };
            *place = Some((passed, round));
        }
    }
    let ((a, lost), (b, well)) = (a.unwrap(), b.unwrap());
    assert!(b <= millis(60_100), "{b:?} {well:?}");
    assert!(a >= secs(60) && a <= secs(67), "{a:?}");
    assert!(lost.known() >= 19, "{lost:?}");
}
