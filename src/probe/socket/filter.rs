//! What a RAW socket is to hear: the kernel offers it every ICMP packet of the machine, and what is not for us must cost
//! us nothing. A program for the kernel's classic packet filter, run for each packet before we are woken.

use libc::{
    BPF_B, BPF_H, BPF_IMM, BPF_IND, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_LDX, BPF_MSH, BPF_RET, BPF_W,
};
use socket2::SockFilter;

use super::Identity;
use crate::probe::icmp::{Family, field};

/// Passes echo replies that carry our identifier or our mark. A NAT may rewrite the identifier, and a reply that was
/// truncated or damaged may lack the mark: both are to be counted, so either one suffices.
pub(super) fn echo_replies(family: Family, identity: Identity) -> [SockFilter; 9] {
    // IPv4's packets begin with their IP header, whose length is in its first byte; IPv6's with the ICMPv6 header.
    let message = match family {
        Family::V4 => step(BPF_LDX | BPF_B | BPF_MSH, 0),
        Family::V6 => step(BPF_LDX | BPF_W | BPF_IMM, 0),
    };
    let (identifier, mark) = (u32::from(identity.identifier), identity.mark);
    [
        message,
        step(BPF_LD | BPF_B | BPF_IND, field::TYPE as u32),
        branch(u32::from(family.echo_reply()), 0, 5),
        step(BPF_LD | BPF_H | BPF_IND, field::IDENTIFIER as u32),
        branch(identifier, 2, 0),
        // A load from behind the end of the packet ends the program, and refuses the packet.
        step(BPF_LD | BPF_W | BPF_IND, field::MARK as u32),
        branch(mark, 0, 1),
        step(BPF_RET | BPF_K, u32::MAX),
        step(BPF_RET | BPF_K, 0),
    ]
}

/// Passes nothing.
pub(super) fn nothing() -> [SockFilter; 1] {
    [step(BPF_RET | BPF_K, 0)]
}

fn step(code: u32, value: u32) -> SockFilter {
    SockFilter::new(code as u16, 0, 0, value)
}

/// Goes on so many steps further where the accumulator is `value`, or is not.
fn branch(value: u32, equal: u8, other: u8) -> SockFilter {
    SockFilter::new((BPF_JMP | BPF_JEQ | BPF_K) as u16, equal, other, value)
}
