//! Who answered, and what that says of our own uplink. Pure: it is told the time and what was heard.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tracing::info;

use super::{Cut, VERDICT};
use crate::probe::clock::Monotonic;
use crate::probe::course::{Number, Request, Verdict};
use crate::round::Fault;

/// How far a target is, as the uplink goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::probe) enum Reach {
    /// This machine itself; or it is not known yet.
    Own,
    /// On a network of ours, while others are beyond.
    Near,
    /// Beyond the uplink.
    Far,
}

/// What the line knows.
pub(in crate::probe) struct Line {
    anchors: Vec<Anchor>,
    /// How many anchors there ever were: each has numbers of its own.
    named: u32,
    /// When there is something to do or to judge.
    next: Monotonic,
    /// Those beyond the uplink, and those before it.
    far: Replies,
    near: Replies,
    /// Until when the newest ping could be answered that was lost by a far target which had answered before.
    missed: Monotonic,
    /// What the kernel says, and since when.
    cut: Option<(Cut, Monotonic)>,
    /// The outage that lasts, or the last one.
    outage: Option<Outage>,
    /// Since when an outage lasts that nobody is left to end.
    alone: Option<Monotonic>,
    has_begun: bool,
    /// Whether anybody beyond the uplink has answered this prober.
    is_well_known: bool,
    news: Option<News>,
    /// Whether people are to be told that other anchors have answered.
    anchors_are_news: bool,
    /// Anchors that answered an earlier prober.
    known: Vec<IpAddr>,
}

/// The replies of many.
#[derive(Clone, Copy)]
struct Replies {
    /// When the last one came.
    heard: Monotonic,
    /// When the newest ping was sent that was answered: then, at the latest, the line was well.
    proved: Monotonic,
}

/// A time in which our own uplink was down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outage {
    /// The last reply before it.
    from: Monotonic,
    /// Replies up to here do not end it.
    known: Monotonic,
    /// The first reply after it; never, while it lasts.
    until: Monotonic,
    /// Whether nobody near has answered either.
    near_too: bool,
}

/// What people are to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::probe) enum News {
    Offline { since: Monotonic, why: Cut },
    Online { since: Option<Monotonic>, at: Monotonic },
    Anchors(Vec<IpAddr>),
}

/// What is to be done for the line.
pub(in crate::probe) enum Chore {
    Send(Request),
    /// An anchor's ping is about to be lost, but not all that came in was heard.
    Listen,
}

/// Whom we ask whether the line is well.
struct Anchor {
    address: SocketAddr,
    /// As it is called in its numbers.
    name: u32,
    ping: u32,
    /// When the last ping was sent, if that is not answered.
    flight: Option<Monotonic>,
    /// When the next one is due, which is when the last one is lost.
    due: Monotonic,
    /// When its last reply came; `None` for one that never answered, or not for so long that it is none any more.
    answered: Option<Monotonic>,
    /// When the newest of the pings that it lost in a row were sent, oldest first, and how many there are.
    lost: [Monotonic; ENOUGH],
    losses: u32,
}

impl Line {
    /// One of which nothing is known at `now`, but that these anchors have answered before.
    pub(in crate::probe) fn new(now: Monotonic, known: Vec<IpAddr>) -> Self {
        let silent = Replies { heard: now, proved: Monotonic::LONG_AGO };
        Self {
            anchors: Vec::new(),
            named: 0,
            next: Monotonic::NEVER,
            far: silent,
            near: silent,
            missed: Monotonic::LONG_AGO,
            cut: None,
            outage: None,
            alone: None,
            has_begun: false,
            is_well_known: false,
            news: None,
            anchors_are_news: false,
            known,
        }
    }

    /// True for the numbers of anchors.
    pub(in crate::probe) fn is_anchors(number: Number) -> bool {
        number.target >= FIRST_NAME
    }

    /// From now on these are the anchors, and the kernel says this.
    pub(in crate::probe) fn lay(&mut self, anchors: &[SocketAddr], cut: Option<Cut>, now: Monotonic) {
        self.anchors.retain(|known| anchors.contains(&known.address));
        for address in anchors {
            if !self.anchors.iter().any(|known| known.address == *address) {
                let name = FIRST_NAME | self.named;
                self.named = (self.named + 1) % FIRST_NAME;
                let answered = self.known.contains(&address.ip()).then_some(now);
                self.anchors.push(Anchor::new(*address, name, now, answered));
            }
        }
        self.cut = cut.map(|cut| match self.cut.take() {
            Some((before, since)) if before == cut => (cut, since),
            _ => (cut, now),
        });
        self.next = now;
    }

    /// When [`Line::poll`] is to be asked again.
    pub(in crate::probe) fn next(&self) -> Monotonic {
        self.next
    }

    /// What is to be done at `now`, when all that came until `heard` was handed in; to be asked until it is nothing.
    pub(in crate::probe) fn poll(&mut self, now: Monotonic, heard: Monotonic) -> Option<Chore> {
        if now < self.next {
            return None;
        }
        if let Some(anchor) = self.anchors.iter_mut().find(|anchor| anchor.due <= now) {
            let is_open = anchor.flight.is_some() && heard < anchor.due;
            return Some(if is_open { Chore::Listen } else { Chore::Send(anchor.ask(now)) });
        }
        self.judge(now);
        let grace = self.alone.map(|since| since.plus(GRACE));
        self.next =
            self.anchors.iter().map(|anchor| anchor.due).chain(grace).min().unwrap_or(Monotonic::NEVER);
        None
    }

    /// Whom an anchor's ping asks.
    pub(in crate::probe) fn asked(&self, number: Number) -> Option<IpAddr> {
        self.anchors.iter().find(|it| it.name == number.target).map(|it| it.address.ip())
    }

    /// An anchor's ping did not go out: it is lost where that is the network's doing, else it never was.
    pub(in crate::probe) fn failed(&mut self, number: Number, fault: Fault) {
        let is_ours = !matches!(
            fault,
            Fault::Send(
                libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::EHOSTDOWN | libc::ENODEV
            )
        );
        if is_ours && let Some(anchor) = self.anchors.iter_mut().find(|it| it.name == number.target) {
            anchor.flight = None;
        }
    }

    /// A reply to an anchor's ping that proved to be ours came `at` this time.
    pub(in crate::probe) fn on_reply(&mut self, number: Number, from: IpAddr, at: Monotonic) -> Verdict {
        let Some(anchor) = self.anchors.iter_mut().find(|it| it.name == number.target) else {
            return Verdict::Late;
        };
        if anchor.address.ip() != from {
            return Verdict::WrongSource;
        }
        let sent = match anchor.ping.wrapping_sub(number.ping) {
            1 => match anchor.flight.take() {
                Some(sent) => Some(sent),
                None => return Verdict::Duplicate,
            },
            0 => return Verdict::Unasked,
            // Late, and a sign of life all the same.
            _ => None,
        };
        if anchor.answered.replace(at).is_none() {
            info!("{from} answers: our own uplink is judged by it");
            self.anchors_are_news = true;
        }
        anchor.losses = 0;
        self.heard(Reach::Far, at, sent);
        if sent.is_some() { Verdict::Answered { by_kernel: true } } else { Verdict::Late }
    }

    /// A target answered `at` this time; the ping was sent at `sent`, if it counts.
    pub(in crate::probe) fn heard(&mut self, reach: Reach, at: Monotonic, sent: Option<Monotonic>) {
        let replies = match reach {
            Reach::Own => return,
            Reach::Near => &mut self.near,
            Reach::Far => &mut self.far,
        };
        replies.heard = replies.heard.max(at);
        replies.proved = replies.proved.max(sent.unwrap_or(Monotonic::LONG_AGO));
        if reach == Reach::Far && !std::mem::replace(&mut self.is_well_known, true) && self.outage.is_none() {
            self.tell(News::Online { since: None, at });
        }
        let Some(outage) = self.outage.as_mut().filter(|it| it.until == Monotonic::NEVER && at > it.known)
        else {
            return;
        };
        match reach {
            Reach::Far => self.end(at),
            Reach::Near | Reach::Own => outage.near_too = false,
        }
    }

    /// A ping that could be answered until `over` was lost by a far target that had answered the one before.
    pub(in crate::probe) fn missed(&mut self, over: Monotonic) {
        self.missed = self.missed.max(over);
        self.next = Monotonic::LONG_AGO;
    }

    /// What is under way says nothing: the clocks moved, or our own buffer overflowed.
    pub(in crate::probe) fn give_up(&mut self) {
        for anchor in &mut self.anchors {
            anchor.flight = None;
            anchor.losses = 0;
        }
    }

    /// Whether the uplink took a ping that was lost.
    pub(in crate::probe) fn took(&self, reach: Reach, sent: Monotonic, timeout: Duration) -> bool {
        self.outage.is_some_and(|outage| {
            let concerns = reach == Reach::Far || (reach == Reach::Near && outage.near_too);
            concerns && sent.plus(timeout) > outage.from && sent <= outage.until
        })
    }

    /// Until when it is open whether the uplink took a ping that was lost; `None` when that is decided.
    pub(in crate::probe) fn undecided(
        &self,
        reach: Reach,
        sent: Monotonic,
        timeout: Duration,
        now: Monotonic,
    ) -> Option<Monotonic> {
        if reach == Reach::Own || self.is_down() || !self.anchors.iter().any(|it| it.answered.is_some()) {
            return None;
        }
        let over = sent.plus(timeout);
        let proved = match reach {
            Reach::Near => self.near.proved.max(self.far.proved),
            Reach::Far | Reach::Own => self.far.proved,
        };
        let limit = over.plus(PATIENCE);
        (proved < over && now < limit).then(|| now.plus(RECHECK).min(limit))
    }

    /// Whether an outage has begun since this was last asked: pings that are lost already may be its doing.
    pub(in crate::probe) fn has_begun(&mut self) -> bool {
        std::mem::take(&mut self.has_begun)
    }

    /// What people are to be told, once.
    pub(in crate::probe) fn take_news(&mut self) -> Option<News> {
        self.news.take().or_else(|| {
            let answered = self.anchors.iter().filter(|anchor| anchor.answered.is_some());
            let anchors = || News::Anchors(answered.map(|anchor| anchor.address.ip()).collect());
            std::mem::take(&mut self.anchors_are_news).then(anchors)
        })
    }

    /// Nobody took the news: they are to be told later, unless there are newer ones by then.
    pub(in crate::probe) fn put_back(&mut self, news: News) {
        match news {
            News::Anchors(_) => self.anchors_are_news = true,
            News::Offline { .. } | News::Online { .. } => {
                self.news.get_or_insert(news);
            }
        }
    }

    fn is_down(&self) -> bool {
        self.outage.is_some_and(|outage| outage.until == Monotonic::NEVER)
    }

    fn judge(&mut self, now: Monotonic) {
        let heard = self.far.heard;
        self.anchors.iter_mut().for_each(|anchor| anchor.retire(heard));
        if !self.is_down() {
            if let Some((why, known)) = self.verdict() {
                let from = self.far.heard;
                let near_too = self.near.heard <= from;
                self.outage = Some(Outage { from, known, until: Monotonic::NEVER, near_too });
                self.has_begun = true;
                self.tell(News::Offline { since: from, why });
            }
            return;
        }
        let is_alone = self.cut.is_none() && self.anchors.iter().all(|anchor| anchor.answered.is_none());
        match self.alone {
            _ if !is_alone => self.alone = None,
            None => self.alone = Some(now),
            Some(since) if now >= since.plus(GRACE) => self.end(now),
            Some(_) => {}
        }
    }

    /// Why the uplink is down, if it is, and up to when replies say nothing about that.
    fn verdict(&self) -> Option<(Cut, Monotonic)> {
        let heard = self.far.heard;
        if let Some((cut, since)) = &self.cut
            && heard <= *since
        {
            return Some((cut.clone(), *since));
        }
        let mut anchors = self.anchors.iter().filter(|anchor| anchor.answered.is_some()).peekable();
        anchors.peek()?;
        let silent = self.missed > heard && anchors.all(|anchor| anchor.is_silent_since(heard));
        silent.then(|| {
            let anchors = self.anchors.iter().filter(|anchor| anchor.answered.is_some());
            (Cut::Silence { anchors: anchors.map(|anchor| anchor.address.ip()).collect() }, heard)
        })
    }

    fn end(&mut self, at: Monotonic) {
        self.alone = None;
        if let Some(outage) = &mut self.outage {
            outage.until = at;
            let since = Some(outage.from);
            self.tell(News::Online { since, at });
        }
    }

    /// Who has not taken what was told before need not know of it any more.
    fn tell(&mut self, news: News) {
        self.news = Some(news);
    }
}

impl Anchor {
    fn new(address: SocketAddr, name: u32, now: Monotonic, answered: Option<Monotonic>) -> Self {
        Self {
            address,
            name,
            ping: 0,
            flight: None,
            due: now,
            answered,
            lost: [Monotonic::LONG_AGO; ENOUGH],
            losses: 0,
        }
    }

    /// The next ping. The one before is lost, if it is still under way.
    fn ask(&mut self, now: Monotonic) -> Request {
        if let Some(sent) = self.flight.replace(now) {
            self.lost.rotate_left(1);
            self.lost[ENOUGH - 1] = sent;
            self.losses = self.losses.saturating_add(1);
        }
        self.due = now.plus(PERIOD);
        let number = Number { target: self.name, ping: self.ping };
        self.ping = self.ping.wrapping_add(1);
        Request { number, to: self.address }
    }

    /// Whether it has lost enough pings that were sent after `heard`.
    fn is_silent_since(&self, heard: Monotonic) -> bool {
        self.losses as usize >= ENOUGH && self.lost[0] > heard
    }

    /// One that is silent for long while others answer has stopped answering pings: it tells nothing any more.
    fn retire(&mut self, heard: Monotonic) {
        if self.losses as usize >= ENOUGH
            && let Some(answered) = self.answered
            && heard.since(answered) >= RETIRED
        {
            info!(
                "{} does not answer any more, others do: our own uplink is not judged by it",
                self.address.ip()
            );
            self.answered = None;
        }
    }
}

/// So many pings of an anchor in a row are no accident.
pub(in crate::probe) const ENOUGH: usize = 3;

/// The numbers of anchors begin behind those of all targets.
const FIRST_NAME: u32 = 1 << 31;

/// How often anchors are pinged, and how long they may take.
const PERIOD: Duration = Duration::from_secs(1);

/// How long a lost ping may wait for the verdict, which takes one period more than there are pings to lose.
const PATIENCE: Duration = VERDICT;

/// How often it is looked whether the verdict is there.
const RECHECK: Duration = Duration::from_millis(250);

/// How long an outage goes on when nobody is left to end it, and nothing says that it lasts.
const GRACE: Duration = Duration::from_secs(10);

/// After so long an anchor that is silent, while others answer, is none.
const RETIRED: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
