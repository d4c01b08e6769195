//! The namespace of the calling thread, its device, and what this thread may do.

#![allow(
    unsafe_code,
    reason = "the ioctl that makes a TUN device, capset and the scheduler have no safe wrapper"
)]

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::Ipv6Addr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};

thread_local! {
    /// A second namespace in one thread would be left in the wrong order sooner or later.
    static ENTERED: Cell<bool> = const { Cell::new(false) };
}

/// A network namespace that the calling thread has entered, until it is dropped.
pub struct Namespace {
    home: File,
    capabilities: Option<Capabilities>,
}

impl Namespace {
    pub fn enter() -> Self {
        assert!(!ENTERED.get(), "this thread is in a test network already: one at a time");
        let home = File::open("/proc/thread-self/ns/net").expect("/proc is mounted");
        unshare(CloneFlags::CLONE_NEWNET).unwrap_or_else(|errno| {
            panic!("cannot make a network namespace ({errno}): run these tests as root, with CAP_SYS_ADMIN")
        });
        ENTERED.set(true);
        Self { home, capabilities: None }
    }

    /// Takes CAP_NET_RAW from the thread, and all capabilities from the programs it starts.
    pub(super) fn drop_net_raw(&mut self) {
        const CAP_NET_RAW: u32 = 13;
        let before = Capabilities::of_thread();
        let mut less = before;
        less.sets[0].effective &= !(1 << CAP_NET_RAW);
        set_secure_bits(libc::SECBIT_NOROOT);
        less.apply();
        self.capabilities.get_or_insert(before);
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Some(before) = self.capabilities {
            before.apply();
            set_secure_bits(0);
        }
        ENTERED.set(false);
        setns(&self.home, CloneFlags::CLONE_NEWNET).expect("the thread may go back whence it came");
    }
}

/// Makes a TUN device in the thread's namespace. It lives until the file is closed; reads and writes never block, and
/// each is one IP packet.
pub(super) fn open_tun(device: &str) -> File {
    let tun = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")
        .unwrap_or_else(|error| {
            panic!("/dev/net/tun: {error}: these tests need root and the kernel's TUN device")
        });
    // SAFETY: ifreq is plain old data, for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes().take(libc::IFNAMSIZ - 1)) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the file is open, and TUNSETIFF reads and writes one ifreq, which outlives the call.
    let done = unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    assert_eq!(done, 0, "TUNSETIFF: {}: these tests need CAP_NET_ADMIN", io::Error::last_os_error());
    tun
}

/// Runs `ip` in the thread's namespace with one command in each line. It keeps the capabilities of root, whatever was
/// taken from the programs that the test starts.
pub fn ip_batch(commands: &str) {
    batch("ip", commands);
}

/// The same with `tc`, or another program of iproute2.
pub(super) fn batch(program: &str, commands: &str) {
    let bits = secure_bits();
    set_secure_bits(0);
    let run =
        Command::new(program).args(["-batch", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    set_secure_bits(bits);
    let mut run = run.unwrap_or_else(|error| panic!("cannot run {program} ({error}): install iproute2"));
    let mut input = run.stdin.take().expect("standard input is a pipe");
    input.write_all(commands.as_bytes()).expect("it reads its commands");
    drop(input);
    let output = run.wait_with_output().expect("it ends");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} failed at\n{commands}\n{complaint}");
}

/// Waits until packets to these addresses of ours are taken. The kernel finishes a new IPv6 address later, in a worker, and
/// on a busy machine a reply can be there earlier.
pub fn wait_for_ipv6(addresses: &[Ipv6Addr]) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let table = std::fs::read_to_string("/proc/thread-self/net/ipv6_route").expect("IPv6 is there");
        if addresses.iter().all(|address| table.contains(&format!("{:032x} 80 ", address.to_bits()))) {
            return;
        }
        assert!(Instant::now() < deadline, "no local routes to {addresses:?} within a minute:\n{table}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// `/proc/sys/net` shows and takes the settings of the namespace of the thread that opens it.
pub fn write_sysctl(name: &str, value: &str) {
    let path = format!("/proc/sys/{name}");
    std::fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
}

/// Puts the calling thread before all ordinary ones, with timers as exact as the kernel has them: a busy machine must
/// not blur the far end's delays. Where that is not allowed the thread is an ordinary one that is preferred, or stays as
/// it is, and the log tells what came of it.
pub(super) fn hurry() {
    let _ = nix::sys::prctl::set_timerslack(1);
    // SAFETY: sched_param is plain old data, for which all zeroes is a valid value.
    let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    parameters.sched_priority = 1;
    // SAFETY: 0 is the calling thread, and the parameters outlive the call.
    let _ = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) };
    // SAFETY: 0 is the calling thread, and the call touches no memory of ours.
    let _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) };
}

/// The capabilities of a thread, as the third version of capget(2) has them: the lower and the upper 32.
#[derive(Clone, Copy)]
struct Capabilities {
    sets: [CapabilitySets; 2],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilitySets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    thread: i32,
}

/// Version 3, the calling thread.
static OWN: CapabilityHeader = CapabilityHeader { version: 0x2008_0522, thread: 0 };

impl Capabilities {
    fn of_thread() -> Self {
        let mut found = Self { sets: Default::default() };
        // SAFETY: the header is of version 3, for which the kernel writes two sets, and both outlive the call.
        let done = unsafe { libc::syscall(libc::SYS_capget, &raw const OWN, found.sets.as_mut_ptr()) };
        assert_eq!(done, 0, "capget: {}", io::Error::last_os_error());
        found
    }

    fn apply(&self) {
        // SAFETY: the header is of version 3, for which the kernel reads two sets, and both outlive the call.
        let done = unsafe { libc::syscall(libc::SYS_capset, &raw const OWN, self.sets.as_ptr()) };
        assert_eq!(done, 0, "capset: {}", io::Error::last_os_error());
    }
}

fn secure_bits() -> libc::c_int {
    // SAFETY: PR_GET_SECUREBITS takes nothing and touches no memory of ours.
    unsafe { libc::prctl(libc::PR_GET_SECUREBITS) }
}

fn set_secure_bits(bits: libc::c_int) {
    // SAFETY: PR_SET_SECUREBITS takes a number and touches no memory of ours.
    let done = unsafe { libc::prctl(libc::PR_SET_SECUREBITS, bits as libc::c_ulong) };
    assert_eq!(done, 0, "PR_SET_SECUREBITS: {}: needs CAP_SETPCAP", io::Error::last_os_error());
}
