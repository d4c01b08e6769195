//! Which sockets this machine allows, and how they are set up.

use std::io;
use std::os::fd::OwnedFd;

use socket2::{Socket, Type};
use tracing::info;

use super::send::Outbox;
use super::system::{self, BUFFER_LIMIT};
use super::{
    Backlog, EchoSocket, Inbox, Origin, ReceiveBuffer, Refused, Reports, SocketKind, Stamps, Wanted,
};
use crate::probe::icmp::Family;

impl EchoSocket {
    /// Opens the kind that is wanted, or the first that is allowed.
    pub(super) fn open(family: Family, wanted: &Wanted) -> Result<Self, Refused> {
        let raw_first = family == Family::V6 && !(wanted.datagrams_do() && system::datagrams_take_control());
        let kinds: &[SocketKind] = match wanted.kind {
            Some(SocketKind::Datagram) => &[SocketKind::Datagram],
            Some(SocketKind::Raw) => &[SocketKind::Raw],
            None if raw_first => &[SocketKind::Raw, SocketKind::Datagram],
            None => &[SocketKind::Datagram, SocketKind::Raw],
        };
        let mut refused = Refused { datagram: None, raw: None };
        for kind in kinds {
            let Wanted { identity, backlog, .. } = *wanted;
            let origin = Origin {
                family,
                kind: *kind,
                dont_fragment: false,
                source: None,
                takes_control: true,
                identity,
            };
            match (Self::open_as(origin, backlog), kind) {
                (Ok(socket), _) => return Ok(socket),
                (Err(why), SocketKind::Datagram) => refused.datagram = Some(why),
                (Err(why), SocketKind::Raw) => refused.raw = Some(why),
            }
        }
        Err(refused)
    }

    /// Opens that one; the identifier of a datagram socket is the kernel's choice, where it makes one, and what it can be
    /// told depends on the kernel.
    pub(super) fn open_as(origin: Origin, backlog: Backlog) -> io::Result<Self> {
        let Origin { family, kind, dont_fragment, source, identity, .. } = origin;
        let (socket, identifier) = match kind {
            SocketKind::Datagram => system::datagram(family, source)?,
            SocketKind::Raw => (system::raw(family, dont_fragment, identity)?, None),
        };
        system::set_options(&socket, family, dont_fragment)?;
        let mut opened = Self::over(socket, Origin { identity: identity.known_as(identifier), ..origin })?;
        opened.make_room(backlog)?;
        Ok(opened)
    }

    /// Takes over a socket that another process opened for the same settings, when it still had the privilege. What was
    /// sent for that process is no business of ours: what waits in the queues is thrown away, and from here on a RAW
    /// socket hears our own echoes only.
    pub(super) fn adopt(descriptor: OwnedFd, wanted: &Wanted) -> io::Result<Self> {
        let socket = Socket::from(descriptor);
        let strange = || io::Error::new(io::ErrorKind::InvalidInput, "a descriptor is no socket for echoes");
        let family = system::family_of(&socket)?.ok_or_else(strange)?;
        let dont_fragment = system::forbids_fragments(&socket, family)?;
        let (kind, source, identity) = match socket.r#type()? {
            Type::DGRAM => {
                let (source, identifier) = system::bound_to(&socket)?;
                (SocketKind::Datagram, source, wanted.identity.known_as(identifier))
            }
            Type::RAW => (SocketKind::Raw, None, wanted.identity),
            _ => return Err(strange()),
        };
        if kind == SocketKind::Raw && !dont_fragment {
            system::hear_only(&socket, family, identity)?;
        }
        let origin = Origin { family, kind, dont_fragment, source, takes_control: true, identity };
        let mut adopted = Self::over(socket, origin)?;
        adopted.is_forced = true;
        adopted.buffer.held = adopted.socket.recv_buffer_size()?;
        adopted.outbox = Outbox::new((adopted.stamping == Stamping::Keyed).then_some(wanted.backlog.echoes));
        adopted.make_room(wanted.backlog)?;
        adopted.empty(wanted.backlog.payload)?;
        Ok(adopted)
    }

    /// What every such socket begins with: it tells when packets pass, and says what it can be told. It has no room yet.
    fn over(socket: Socket, origin: Origin) -> io::Result<Self> {
        let Origin { family, kind, .. } = origin;
        let takes_control = system::takes_control_messages(&socket, family, kind);
        let stamping = system::take_stamps(&socket, family, takes_control)?;
        Ok(Self {
            socket,
            origin: Origin { takes_control, ..origin },
            stamping,
            buffer: ReceiveBuffer { wanted: 0, held: 0 },
            stamp_room: 0,
            taken: 0,
            is_forced: false,
            outbox: Outbox::new(None),
            aside: Default::default(),
        })
    }

    /// The socket alone, for another process to adopt.
    pub(super) fn into_descriptor(self) -> OwnedFd {
        self.socket.into()
    }

    /// Makes room for a backlog, before the first echo is sent. What was made before stays where this one needs less.
    pub(super) fn make_room(&mut self, backlog: Backlog) -> io::Result<()> {
        let Backlog { echoes, payload } = backlog;
        self.stamp_room = stamp_room(payload, self.stamping);
        let room = packet_room(payload) + self.stamp_room;
        self.buffer.wanted = room.saturating_mul(echoes as usize);
        if self.buffer.held >= self.buffer.wanted.clamp(LEAST_BUFFER, MOST_BUFFER) {
            return Ok(());
        }
        self.set_buffers(backlog)?;
        self.buffer.held = self.socket.recv_buffer_size()?;
        let fit = self.buffer.held / room;
        if fit < echoes as usize {
            let Origin { family, kind, .. } = self.origin;
            info!(
                "the receive buffer of the {kind} socket for {family} has room for {fit} echoes of {echoes}: \
                 {BUFFER_LIMIT}"
            );
        }
        self.outbox = Outbox::new((self.stamping == Stamping::Keyed).then_some(echoes));
        Ok(())
    }

    /// A buffer that is smaller than wished for costs replies when this program is held up, and is no reason to stop.
    fn set_buffers(&mut self, Backlog { echoes, payload }: Backlog) -> io::Result<()> {
        let send =
            (echoes as usize).saturating_mul(packet_room(payload)).clamp(LEAST_BUFFER, MOST_SEND_BUFFER);
        let receive = self.buffer.wanted.clamp(LEAST_BUFFER, MOST_BUFFER);
        self.is_forced = system::set_buffers(&self.socket, receive, send, self.is_forced)?;
        Ok(())
    }

    /// Who stamps what is sent.
    pub(super) fn stamps(&self) -> Stamps {
        match self.stamping {
            Stamping::Keyed | Stamping::Echoed => Stamps::Kernel,
            Stamping::OnReceipt => Stamps::User,
        }
    }

    /// Throws away what waits in both queues.
    fn empty(&mut self, payload: u16) -> io::Result<()> {
        let (mut inbox, mut reports) = (Inbox::new(payload), Reports::new());
        for _ in 0..MOST_BATCHES {
            if self.receive(&mut inbox)? {
                break;
            }
        }
        for _ in 0..MOST_BATCHES {
            if self.take_reports(&mut reports, |_| ())? {
                break;
            }
        }
        Ok(())
    }
}

/// Where the stamps of a socket come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "others stamp receipts only"))]
pub(super) enum Stamping {
    /// From the kernel on both ends; it names an echo by the key that was sent along.
    Keyed,
    /// The same, but it hands back the whole packet, which says what it is. Its own count of packets (OPT_ID) would not
    /// do: that counts some that it refuses too.
    Echoed,
    /// Of replies only.
    OnReceipt,
}

/// What the kernel may charge for the stamp of an echo, which lies in one buffer with the replies until it is taken.
fn stamp_room(payload: u16, stamping: Stamping) -> usize {
    match stamping {
        Stamping::Keyed => STAMP_LEN,
        // A stamp that hands back the packet is charged for as much as that.
        Stamping::Echoed => STAMP_LEN + 2 * usize::from(payload),
        Stamping::OnReceipt => 0,
    }
}

/// What the kernel charges for an echo at most: the pages that a card puts each fragment in, and a header.
pub(super) fn packet_room(payload: u16) -> usize {
    let fragments = (usize::from(payload) + 48).div_ceil(SMALLEST_MTU - 48);
    fragments * FRAGMENT_LEN
}

/// Of IPv6; IPv4's may be smaller, and nearly never is.
const SMALLEST_MTU: usize = 1280;
/// Half a page, and the kernel's header of a packet.
const FRAGMENT_LEN: usize = 2048 + 256;
/// A header and the smallest buffer there is; 832 bytes were measured.
const STAMP_LEN: usize = 1024;
const LEAST_BUFFER: usize = 1 << 20;
/// Half a minute at ten thousand echoes a second. It is no memory before packets lie in it.
const MOST_BUFFER: usize = 1 << 30;
/// More than the buffers hold: a bound on how long a flood can keep us from taking a socket over.
const MOST_BATCHES: usize = 1 << 16;
/// Longer queues belong into a device's own.
const MOST_SEND_BUFFER: usize = 16 << 20;
