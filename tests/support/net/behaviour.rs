//! How a host of the far end behaves: a plain value that says, for the n-th request, what is sent and when.

use std::net::IpAddr;
use std::time::Duration;

use super::log::What;
use super::wire::{Form, Refusal};

/// Some of the requests to a host, counted from 0 since it behaves so.
#[derive(Clone, Debug)]
pub enum Which {
    /// All of them.
    All,
    /// Every n-th: `Every(5)` is 4, 9, 14 and so on.
    Every(u64),
    /// Just these.
    At(Vec<u64>),
    /// This share of them, 0 to 1, by chance; the same ones in every run.
    Share(f64),
}

/// How a host behaves; made by [`answer`], [`silence`] or [`refuse`].
#[derive(Clone, Debug)]
pub struct Behaviour {
    manner: Manner,
    delay: Duration,
    jitter: Duration,
    seed: u64,
    lost: Option<Which>,
    late: Option<(Which, Duration)>,
    spoiled: Option<(Which, Form)>,
    duplicated: Option<Which>,
    injected: Vec<(Which, Form, Duration)>,
    swaps_pairs: bool,
    path: Vec<IpAddr>,
    next: Option<(u64, Box<Behaviour>)>,
}

#[derive(Clone, Copy, Debug)]
enum Manner {
    Answer,
    Silence,
    Refuse(Refusal),
}

/// A host that answers every request at once.
pub fn answer() -> Behaviour {
    Behaviour::new(Manner::Answer)
}

/// A host that is there and says nothing.
pub fn silence() -> Behaviour {
    Behaviour::new(Manner::Silence)
}

/// A host that cannot be reached, for which a router answers with this ICMP error.
pub fn refuse(refusal: Refusal) -> Behaviour {
    Behaviour::new(Manner::Refuse(refusal))
}

impl Behaviour {
    fn new(manner: Manner) -> Self {
        Self {
            manner,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            seed: 0,
            lost: None,
            late: None,
            spoiled: None,
            duplicated: None,
            injected: Vec::new(),
            swaps_pairs: false,
            path: Vec::new(),
            next: None,
        }
    }

    /// What is sent leaves this long after the request was read.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// The delay differs by up to this much to either side, evenly spread, and the same way in every run.
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// Another course of chance, for the jitter and for each [`Which::Share`].
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// These requests get nothing.
    pub fn lose(mut self, which: Which) -> Self {
        self.lost = Some(which);
        self
    }

    /// These are answered after `delay` instead.
    pub fn late(mut self, which: Which, delay: Duration) -> Self {
        self.late = Some((which, delay));
        self
    }

    /// These get a reply of this form instead of an honest one.
    pub fn spoil(mut self, which: Which, form: Form) -> Self {
        self.spoiled = Some((which, form));
        self
    }

    /// What these get is sent twice.
    pub fn duplicate(mut self, which: Which) -> Self {
        self.duplicated = Some(which);
        self
    }

    /// Besides what they get anyway, a packet of this form is sent for these, `delay` after the request.
    pub fn inject(mut self, which: Which, form: Form, delay: Duration) -> Self {
        self.injected.push((which, form, delay));
        self
    }

    /// Of each two requests (0 and 1, 2 and 3, ...) the second is answered first, and the first right after it.
    pub fn swap_pairs(mut self) -> Self {
        self.swaps_pairs = true;
        self
    }

    /// These routers stand before the host: a request whose hops end at one of them is answered by that one with "time
    /// exceeded".
    pub fn behind(mut self, routers: &[&str]) -> Self {
        self.path = routers.iter().map(|router| super::parse(router)).collect();
        self
    }

    /// After `count` requests it behaves as `next` says, which starts to count from 0, and may change again.
    pub fn after(mut self, count: u64, next: Behaviour) -> Self {
        self.next = Some((count, Box::new(next)));
        self
    }
}

/// A behaviour, and how often it was asked.
pub(super) struct Host {
    behaviour: Behaviour,
    asked: u64,
}

/// What is to be done about one request.
pub(super) struct Plan {
    pub what: What,
    pub replies: Vec<(Form, Duration)>,
    /// To be sent only after the replies to the next request.
    pub held: bool,
}

impl Plan {
    pub(super) fn nothing(what: What) -> Self {
        Self { what, replies: Vec::new(), held: false }
    }
}

impl Host {
    pub(super) fn new(behaviour: Behaviour) -> Self {
        Self { behaviour, asked: 0 }
    }

    /// Decides about the next request, which had `ttl` hops to live.
    pub(super) fn plan(&mut self, ttl: u8) -> Plan {
        while let Some((_, next)) = self.behaviour.next.take_if(|(count, _)| self.asked >= *count) {
            *self = Self::new(*next);
        }
        let plan = self.behaviour.plan(self.asked, ttl);
        self.asked += 1;
        plan
    }
}

impl Behaviour {
    fn plan(&self, index: u64, ttl: u8) -> Plan {
        let delay = self.delay_of(index);
        if let Some(router) = self.path.get(usize::from(ttl).saturating_sub(1)) {
            let expired = Form::Refusal(Refusal::Expired, Some(*router));
            return Plan { what: What::Refused, replies: vec![(expired, delay)], held: false };
        }
        let hits = |which: &Option<Which>, salt| {
            which.as_ref().is_some_and(|which| which.holds(index, self.seed ^ salt))
        };
        if matches!(self.manner, Manner::Silence) {
            return Plan::nothing(What::Silent);
        }
        if hits(&self.lost, 1) {
            return Plan::nothing(What::Lost);
        }
        let (what, form, delay) = match (self.manner, &self.spoiled, &self.late) {
            (Manner::Refuse(refusal), ..) => (What::Refused, Form::Refusal(refusal, None), delay),
            (_, Some((which, form)), _) if which.holds(index, self.seed ^ 2) => (What::Spoiled, *form, delay),
            (.., Some((which, late))) if which.holds(index, self.seed ^ 3) => (What::Late, Form::True, *late),
            _ => (What::Answered, Form::True, delay),
        };
        let mut replies = vec![(form, delay)];
        if hits(&self.duplicated, 4) {
            replies.push((form, delay));
        }
        for (which, form, delay) in &self.injected {
            if which.holds(index, self.seed ^ 5) {
                replies.push((*form, *delay));
            }
        }
        replies.sort_by_key(|(_, delay)| *delay);
        Plan { what, replies, held: self.swaps_pairs && index.is_multiple_of(2) }
    }

    fn delay_of(&self, index: u64) -> Duration {
        let spread = self.jitter.mul_f64(2.0 * chance(index, self.seed));
        (self.delay + spread).saturating_sub(self.jitter)
    }
}

impl Which {
    fn holds(&self, index: u64, seed: u64) -> bool {
        match self {
            Self::All => true,
            Self::Every(nth) => (index + 1).is_multiple_of(*nth),
            Self::At(indices) => indices.contains(&index),
            Self::Share(share) => chance(index, seed) < *share,
        }
    }
}

/// A number from 0 to 1 that depends on nothing but `index` and `seed`: the output function of SplitMix64.
fn chance(index: u64, seed: u64) -> f64 {
    let mut mixed = (seed << 32).wrapping_add(index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    (mixed >> 11) as f64 / (1u64 << 53) as f64
}
