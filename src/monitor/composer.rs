//! The thread that turns events into mails: it reads the archive, draws, writes and puts the mail into the outbox.
//! Thirty milliseconds a picture must not hold up a round.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use tracing::{error, warn};

use super::{Settings, letter};
use crate::alert::Event;
use crate::archive;
use crate::graph::{self, Format, Picture, Theme};
use crate::history::History;
use crate::mail::{self, Attachment, Mailer, Message, Outbox};
use crate::round::{Rtt, Target};

/// How far back the picture of a mail reaches.
const PICTURE_SPAN: Duration = Duration::from_secs(24 * 3600);

/// How many events may wait to be composed; the loop waits beyond that, for an event that was dropped is a mail lost.
const QUEUE: usize = 1024;

/// An event, and what only the round knew.
pub(super) struct News {
    pub(super) event: Event,
    pub(super) address: Option<IpAddr>,
}

/// The composer's handle.
pub(super) struct Composer {
    news: Sender<News>,
    thread: JoinHandle<()>,
    desk: Desk,
}

/// Everything a mail is made with.
#[derive(Clone)]
struct Desk {
    host: String,
    data_dir: PathBuf,
    mail: Option<mail::Settings>,
    limits: HashMap<Arc<Target>, Rtt>,
    outbox: Outbox,
    mailer: Arc<Mailer>,
}

impl Composer {
    pub(super) fn start(settings: &Settings, outbox: Outbox, mailer: Arc<Mailer>) -> io::Result<Self> {
        let desk = Desk {
            host: settings.host.clone(),
            data_dir: settings.archive.data_dir.clone(),
            mail: settings.mail.clone(),
            limits: settings.limits.clone(),
            outbox,
            mailer,
        };
        let (news, orders) = bounded(QUEUE);
        let worker = desk.clone();
        let thread = thread::Builder::new().name("composer".into()).spawn(move || worker.work(&orders))?;
        Ok(Self { news, thread, desk })
    }

    /// Takes an event; false when the composer is gone.
    #[must_use]
    pub(super) fn send(&self, news: News) -> bool {
        self.news.send(news).is_ok()
    }

    /// Composes what still waits, and then `last`.
    pub(super) fn finish(self, last: &Message) -> Result<(), mail::Error> {
        drop(self.news);
        if self.thread.join().is_err() {
            error!("the composer of mails panicked; its last mail may be missing");
        }
        self.desk.post(last)
    }
}

impl Desk {
    fn work(&self, orders: &Receiver<News>) {
        for News { event, address } in orders {
            let message = self.compose(&event, address);
            if let Err(error) = self.post(&message) {
                error!("{}: the mail '{}' could not be written: {error}", event.target.name, message.subject);
            }
        }
    }

    /// The mail about an event; a picture or a past that cannot be had leaves the mail without it.
    fn compose(&self, event: &Event, address: Option<IpAddr>) -> Message {
        let target = &event.target.name;
        let past = archive::history(
            &archive::path(&self.data_dir, target),
            target,
            event.at.minus(PICTURE_SPAN),
            event.at,
        );
        let past = past.inspect_err(|error| warn!("{target}: no picture for the mail: {error}")).ok();
        let mut message = letter::alert(event, address, past.as_ref(), &self.host);
        if let Some(picture) = past.and_then(|past| self.draw(event, &past)) {
            message.attachments.push(picture);
        }
        message
    }

    fn draw(&self, event: &Event, past: &History) -> Option<Attachment> {
        let target = &event.target;
        let picture = Picture {
            title: letter::title(target),
            width: 1000,
            height: 300,
            scale: 1.0,
            theme: Theme::Light,
            format: Format::Png,
            limit: self.limits.get(target).copied(),
        };
        match graph::smoke(past, &picture) {
            Ok(bytes) => {
                Some(Attachment { name: archive::picture_name(&target.name), mime: "image/png", bytes })
            }
            Err(error) => {
                warn!("{}: no picture for the mail: {error}", target.name);
                None
            }
        }
    }

    fn post(&self, message: &Message) -> Result<(), mail::Error> {
        let bytes = mail::compose(message, self.mail.as_ref(), &self.host)?;
        self.outbox.put(message, &bytes)?;
        self.mailer.wake();
        Ok(())
    }
}
