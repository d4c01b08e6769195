//! Any bytes as a received packet: nothing panics, and what is taken for an echo of ours is one, byte by byte.
#![no_main]

use latmon::probe::icmp::{ECHO_LEN, Family, Kind, Message, after_ipv4_header};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // As a RAW socket of IPv4 delivers it, as a datagram socket does, and as any of IPv6 does.
    if let Ok(behind) = after_ipv4_header(bytes) {
        assert!(behind.len() + 20 <= bytes.len());
        read(Family::V4, behind);
    }
    read(Family::V4, bytes);
    read(Family::V6, bytes);
});

fn read(family: Family, bytes: &[u8]) {
    let Ok(message) = Message::new(family, bytes) else {
        assert!(bytes.len() < 8);
        return;
    };
    let kind = message.kind();
    if let Ok(error) = message.error() {
        // An error holds a header, and a quote of at least an IP header and an ICMP header.
        assert!(bytes.len() >= 8 + 20 + 8);
        assert_eq!(Family::of(error.to), family);
        let _ = error.reason.to_string();
    }
    let Ok(echo) = message.echo() else { return };
    let mut emitted = [0xa5; ECHO_LEN];
    echo.emit_request(family, &mut emitted);
    // Type, code and checksum are the header's own; all else goes round.
    assert_eq!(emitted[4..], bytes[4..]);
    if kind == Kind::EchoRequest && family == Family::V4 && message.checksum_is_right() {
        // A sum of all ones and one of all zeros are the same number.
        assert!(emitted == *bytes || bytes[2..4] == [0xff, 0xff]);
    }
    let again = Message::new(family, &emitted).expect("an echo has a header");
    assert!(again.checksum_is_right());
    assert_eq!((again.kind(), again.echo()), (Kind::EchoRequest, Ok(echo)));
}
