//! A mapped file that turns out to have a hole must not kill the process.
//!
//! The kernel sends SIGBUS where a map is touched behind the end of its file, because another program cut it short, or
//! in a page that the disk has no room for or cannot read. The handler looks up whose map that is, lays a page over the
//! place, so that the interrupted work can go on, and marks the map as torn; whoever works on the map asks for the mark
//! before the result counts. The page has the file's beginning as it was saved, whose checked counts and indexes the
//! work relies on, and zeros elsewhere. A SIGBUS from anywhere else goes the way that it would have gone without us.
//!
//! A handler may interrupt anything, so it takes no lock and allocates nothing: the watched ranges are a list that only
//! grows, whose entries are used again.
#![allow(unsafe_code)] // A handler of a signal, and a map at a fixed address; each use says what keeps it sound.

use std::io;
use std::ops::Range;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, compiler_fence, fence};
use std::sync::{Mutex, Once, OnceLock, PoisonError};

use nix::errno::Errno;

/// A range of memory that the handler minds for as long as this lives.
#[derive(Debug)]
pub(super) struct Watch(&'static Entry);

impl Watch {
    /// Minds `range`, which must be a map of a file, whole pages from its first byte on, and be unmapped after this is
    /// dropped.
    pub(super) fn new(range: Range<usize>) -> io::Result<Self> {
        install()?;
        let free = lock_free_entries().pop();
        let entry = free.unwrap_or_else(Entry::add);
        entry.torn.store(false, Ordering::Relaxed);
        entry.saved_len.store(0, Ordering::Relaxed);
        entry.set(range);
        Ok(Self(entry))
    }

    /// Whether a page of the range was not there when it was touched: nothing read since it was mapped can be relied
    /// on.
    pub(super) fn is_torn(&self) -> bool {
        // The handler runs in this thread: all that was read or stored before is to come before the question.
        compiler_fence(Ordering::SeqCst);
        self.0.torn.load(Ordering::Acquire)
    }
}

/// The beginning of a watched range, as it was. It goes with the [`Watch`] that it is for, and never outlives it.
#[derive(Debug, Default)]
pub(super) struct Saved(Vec<u8>);

impl Saved {
    /// Saves the beginning of the range that `watch` minds.
    pub(super) fn save(&mut self, watch: &Watch, beginning: &[u8]) {
        watch.0.saved_len.store(0, Ordering::Relaxed);
        // The handler runs in this thread, perhaps while this reads.
        compiler_fence(Ordering::SeqCst);
        self.0.clear();
        self.0.extend_from_slice(beginning);
        watch.0.saved.store(self.0.as_mut_ptr(), Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        watch.0.saved_len.store(self.0.len(), Ordering::Release);
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.set(0..0);
        lock_free_entries().push(self.0);
    }
}

/// A watched range. Entries are never freed: the handler may look at any of them at any time.
#[derive(Debug)]
struct Entry {
    /// Odd while the range is being changed.
    version: AtomicUsize,
    start: AtomicUsize,
    end: AtomicUsize,
    torn: AtomicBool,
    /// What was saved of its beginning.
    saved: AtomicPtr<u8>,
    saved_len: AtomicUsize,
    next: AtomicPtr<Entry>,
}

/// The newest of all entries.
static ENTRIES: AtomicPtr<Entry> = AtomicPtr::new(null_mut());

/// The entries that watch nothing now.
static FREE: Mutex<Vec<&'static Entry>> = Mutex::new(Vec::new());

fn lock_free_entries() -> std::sync::MutexGuard<'static, Vec<&'static Entry>> {
    // No half-done change can be in a list that is only pushed to and popped from.
    FREE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Entry {
    fn add() -> &'static Self {
        let entry: &'static Self = Box::leak(Box::new(Self {
            version: AtomicUsize::new(0),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            torn: AtomicBool::new(false),
            saved: AtomicPtr::new(null_mut()),
            saved_len: AtomicUsize::new(0),
            next: AtomicPtr::new(null_mut()),
        }));
        let address = std::ptr::from_ref(entry).cast_mut();
        let mut newest = ENTRIES.load(Ordering::Relaxed);
        loop {
            entry.next.store(newest, Ordering::Relaxed);
            match ENTRIES.compare_exchange_weak(newest, address, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return entry,
                Err(other) => newest = other,
            }
        }
    }

    /// Only the one that holds the entry, a [`Watch`], sets it.
    fn set(&self, range: Range<usize>) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        self.start.store(range.start, Ordering::Relaxed);
        self.end.store(range.end, Ordering::Relaxed);
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }

    /// Whether it watches that address. One that is being changed by another thread does not: the range that a thread
    /// faults in is not changed meanwhile, as that thread holds it.
    fn holds(&self, address: usize) -> bool {
        let version = self.version.load(Ordering::Acquire);
        let range = self.start.load(Ordering::Relaxed)..self.end.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        version.is_multiple_of(2)
            && version == self.version.load(Ordering::Relaxed)
            && range.contains(&address)
    }
}

impl Entry {
    /// Copies what was saved of a page into it.
    fn restore(&self, page: *mut u8, page_len: usize) {
        let offset = page as usize - self.start.load(Ordering::Relaxed);
        let left = self.saved_len.load(Ordering::Acquire).saturating_sub(offset);
        if left > 0 {
            let saved = self.saved.load(Ordering::Relaxed);
            // SAFETY: so many bytes were saved, and the thread that touched the page holds them with its map; the page
            // was laid just now and can be written.
            unsafe { std::ptr::copy_nonoverlapping(saved.add(offset), page, left.min(page_len)) };
        }
    }
}

/// What was done about SIGBUS before, and the size of a page.
struct Before {
    action: libc::sigaction,
    page: usize,
}

static BEFORE: OnceLock<Before> = OnceLock::new();

/// Installs the handler, once in a process.
fn install() -> io::Result<()> {
    static ONCE: Once = Once::new();
    static FAILED: AtomicUsize = AtomicUsize::new(0);
    ONCE.call_once(|| {
        if let Err(errno) = install_first() {
            FAILED.store(errno as usize, Ordering::Relaxed);
        }
    });
    match FAILED.load(Ordering::Relaxed) {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno as i32)),
    }
}

fn install_first() -> Result<(), Errno> {
    // SAFETY: asks for a number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let page = usize::try_from(page).map_err(|_| Errno::last())?;
    // SAFETY: sigaction is plain old data, for which all zeroes is a valid value: no flags, the default action.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: a null pointer asks for the present action, and `action` outlives the call.
    Errno::result(unsafe { libc::sigaction(libc::SIGBUS, null(), &raw mut action) })?;
    // Known before the handler can run.
    let _ = BEFORE.set(Before { action, page });
    action.sa_sigaction = handle as *const () as usize;
    // On the stack that the standard library gives each thread for its own handlers.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the handler has the form that SA_SIGINFO asks for, lives as long as the process, and does only what may
    // be done in one; `action` outlives the call.
    Errno::result(unsafe { libc::sigaction(libc::SIGBUS, &raw const action, null_mut()) })?;
    Ok(())
}

/// Runs in the thread that touched the page, between two of its instructions.
extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // What another process sends has no address.
    // SAFETY: with SA_SIGINFO the kernel hands over a valid siginfo.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    // What FreeBSD says of a place behind the end of a file.
    let is_hole = code == libc::BUS_ADRERR || (cfg!(not(target_os = "linux")) && code == libc::BUS_OBJERR);
    if !(is_hole && mend(address)) {
        pass_on(signal, info, context, code);
    }
}

/// Lays a page over the hole at `address`, if that is in a watched range.
fn mend(address: usize) -> bool {
    let Some(before) = BEFORE.get() else { return false };
    let mut next = ENTRIES.load(Ordering::Acquire);
    // SAFETY: an entry that was published is never freed.
    while let Some(entry) = unsafe { next.as_ref() } {
        if entry.holds(address) {
            entry.torn.store(true, Ordering::Release);
            let page = (address - address % before.page) as *mut libc::c_void;
            // SAFETY: the page belongs to a map that a `Watch` minds, and the thread that touched it holds that map: it
            // is not given back meanwhile, and nothing else can lie there. Its bytes were those of a file that others
            // may change at any time, so nobody relies on what they were.
            let laid = unsafe {
                libc::mmap(
                    page,
                    before.page,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                    -1,
                    0,
                )
            };
            if laid == page {
                entry.restore(page.cast(), before.page);
            }
            return laid == page;
        }
        next = entry.next.load(Ordering::Relaxed);
    }
    false
}

/// Does what would have been done without us.
fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void, code: libc::c_int) {
    type Plain = extern "C" fn(libc::c_int);
    type Informed = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
    let Some(Before { action, .. }) = BEFORE.get() else { return };
    let is_sent = code <= 0;
    match action.sa_sigaction {
        libc::SIG_IGN if is_sent => {}
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: puts back the default action; afterwards the instruction faults again, or the signal is sent
            // again, and ends the process.
            unsafe {
                libc::signal(signal, libc::SIG_DFL);
                if is_sent {
                    libc::raise(signal);
                }
            }
        }
        handler if action.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: it was installed as a handler of this form.
            let handler = unsafe { std::mem::transmute::<usize, Informed>(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: it was installed as a handler of this form.
            let handler = unsafe { std::mem::transmute::<usize, Plain>(handler) };
            handler(signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_watched_while_the_watch_lives() {
        let watch = Watch::new(0x1000..0x3000).unwrap();
        let entry = watch.0;
        assert!(entry.holds(0x1000) && entry.holds(0x2fff) && !entry.holds(0x3000));
        entry.torn.store(true, Ordering::Relaxed);
        assert!(watch.is_torn());
        drop(watch);
        assert!(!entry.holds(0x1000));
        // Among so many, unless another test took it, is the one that was torn.
        let others: Vec<Watch> = (0..100).map(|_| Watch::new(0..0).unwrap()).collect();
        assert!(others.iter().all(|watch| !watch.is_torn()));
    }
}
