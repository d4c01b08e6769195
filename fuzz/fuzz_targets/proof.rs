//! Any bytes as a packet that a socket heard while one echo is under way: nothing but the whole reply to that one proves
//! anything, and a defect is told of its number only where the tag is true.
#![no_main]

use std::net::IpAddr;

use latmon::probe::icmp::{Echo, Family, Message, Padding, Secret, after_ipv4_header};
use latmon::probe::proof::{Asked, Defect, Evidence};
use libfuzzer_sys::fuzz_target;

const IDENTIFIER: u16 = 0x4c4d;
const NUMBER: u64 = 3 << 32 | 0x0001_2345;
const PAYLOAD: u16 = 56;
/// What the bits of the first byte choose.
const V6: u8 = 1;
const RAW: u8 = 2;
const SUMMED: u8 = 4;
const OURS: u8 = 8;
const ANY_SOURCE: u8 = 16;
const ELSEWHERE: u8 = 32;
const TRUNCATED: u8 = 64;

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, packet)) = bytes.split_first() else { return };
    let chosen = |bit: u8| choice & bit != 0;
    let family = if chosen(V6) { Family::V6 } else { Family::V4 };
    let [to, other] = addresses(family);
    let from = if chosen(ELSEWHERE) { other } else { to };
    let true_reply = true_reply(family, to);
    let mut packet = packet.to_vec();
    // As a RAW socket of IPv4 delivers it, and as all others do.
    let behind = if family == Family::V4 && chosen(RAW) {
        let Ok(message) = after_ipv4_header(&packet) else { return };
        // The header's length in words; the packet may go on behind what it announces.
        let begin = usize::from(packet[0] & 15) * 4;
        begin..begin + message.len()
    } else {
        0..packet.len()
    };
    let message = &mut packet[behind];
    if chosen(OURS) {
        // Nobody guesses the tag: the input says what is changed in the reply.
        message.iter_mut().zip(&true_reply).for_each(|(byte, ours)| *byte ^= ours);
    }
    if chosen(SUMMED) && family == Family::V4 && message.len() >= 4 {
        message[2..4].fill(0);
        let sum = checksum(message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    let message = &*message;
    let secret = secret();
    let (mark, truncated) = (secret.mark(), chosen(TRUNCATED));
    let evidence = Evidence { family, identifier: IDENTIFIER, mark, from, message, truncated };
    let asked = Asked { to, any_source: chosen(ANY_SOURCE), payload: PAYLOAD };
    let is_whole = message.len() == true_reply.len()
        && message[4..] == true_reply[4..]
        && message[..2] == true_reply[..2]
        && (family == Family::V6 || checksum(message) == 0)
        && !truncated;
    let may_answer = asked.any_source || from == to;
    match evidence.prove(&secret, |number| (number == NUMBER).then_some(asked)) {
        Ok(number) => assert!(number == NUMBER && is_whole && may_answer),
        Err(flaw) => {
            assert!(!(is_whole && may_answer), "{flaw:?}");
            if flaw.number.is_some() {
                let secrets = Message::new(family, message).ok().and_then(|message| message.secrets());
                assert_eq!(secrets, Some((NUMBER, secret.tag(NUMBER, to))));
                assert_eq!(flaw.number, Some(NUMBER));
            }
            assert_eq!(flaw.defect == Defect::WrongSource, is_whole);
        }
    }
});

fn addresses(family: Family) -> [IpAddr; 2] {
    match family {
        Family::V4 => [[198, 18, 0, 2].into(), [198, 18, 0, 3].into()],
        Family::V6 => [2, 3].map(|last| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, last])),
    }
}

fn secret() -> Secret {
    Secret::new([7; 16])
}

/// The reply to the one echo that was asked, as a far end makes it.
fn true_reply(family: Family, to: IpAddr) -> Vec<u8> {
    let (tag, mark) = (secret().tag(NUMBER, to), secret().mark());
    let echo = Echo { identifier: IDENTIFIER, number: NUMBER, tag, mark, payload: PAYLOAD };
    let padding = Padding::new(PAYLOAD);
    let mut reply = [&echo.request_head(family, &padding), padding.bytes()].concat();
    reply[0] = if family == Family::V4 { 0 } else { 129 };
    reply[2..4].fill(0);
    let sum = if family == Family::V4 { checksum(&reply) } else { 0 };
    reply[2..4].copy_from_slice(&sum.to_be_bytes());
    reply
}

/// RFC 1071; 0 where the checksum is there and fits.
fn checksum(data: &[u8]) -> u16 {
    let words =
        data.chunks(2).map(|word| u32::from(word[0]) << 8 | word.get(1).copied().map_or(0, u32::from));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
