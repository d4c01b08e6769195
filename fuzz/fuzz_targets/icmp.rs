//! Any bytes as a received packet, as a quote in the error queue, and as control messages: nothing panics, and what is
//! taken for an echo of ours is one, byte by byte.
#![no_main]

use latmon::probe::control::{Said, address_in};
use latmon::probe::icmp::{Family, Kind, Message, Padding, Quote, after_ipv4_header};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // As a RAW socket of IPv4 delivers it, as a datagram socket does, and as any of IPv6 does.
    if let Ok(behind) = after_ipv4_header(bytes) {
        assert!(behind.len() + 20 <= bytes.len());
        read(Family::V4, behind);
    }
    read(Family::V4, bytes);
    read(Family::V6, bytes);

    let said = Said::new(bytes);
    // A header of a word and two numbers, and what it announces.
    assert!(said.ttl.is_none() || bytes.len() >= size_of::<usize>() + 8 + 4);
    assert!(said.error.is_none() || bytes.len() >= size_of::<usize>() + 8 + 16);
    assert!(address_in(bytes).is_none() || bytes.len() >= 8);
});

fn read(family: Family, bytes: &[u8]) {
    let Ok(message) = Message::new(family, bytes) else {
        assert!(bytes.len() < 8);
        assert_eq!(Quote::new(family, bytes), None);
        return;
    };
    let kind = message.kind();
    let quote = Quote::new(family, bytes);
    assert_eq!(quote.is_some(), kind == Kind::EchoRequest);
    assert_eq!(message.mark().is_some(), bytes.len() >= 28);
    let Ok(echo) = message.echo() else { return };
    let padding = Padding::new(echo.payload);
    let emitted = [&echo.request_head(family, &padding), padding.bytes()].concat();
    // Type, code and checksum are the header's own; all else goes round.
    assert_eq!(emitted[4..], bytes[4..]);
    if let Some(quote) = quote {
        assert_eq!(quote.secrets, Some((echo.number, echo.tag)));
        assert_eq!((quote.identifier, quote.mark), (echo.identifier, Some(echo.mark)));
        if family == Family::V4 && message.checksum_is_right() {
            // A sum of all ones and one of all zeros are the same number.
            assert!(emitted == *bytes || bytes[2..4] == [0xff, 0xff]);
        }
    }
    let again = Message::new(family, &emitted).expect("an echo has a header");
    assert!(again.checksum_is_right());
    assert_eq!((again.kind(), again.echo()), (Kind::EchoRequest, Ok(echo)));
}
