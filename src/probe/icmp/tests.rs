use proptest::prelude::*;

use super::*;

const THEM_V4: &str = "198.18.0.2";
const THEM_V6: &str = "fd00::2";

/// What every file of `fixtures/packets` is about.
const NUMBER: u64 = 3 << 32 | 0x0001_2345;
const IDENTIFIER: u16 = 0x4c4d;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String =
        hex.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.as_bytes().chunks(2).map(byte).collect()
}

macro_rules! fixture {
    ($name:literal) => {
        bytes(include_str!(concat!("../../../fixtures/packets/", $name)))
    };
}

fn echo(to: &str) -> Echo {
    let secret = Secret::new(std::array::from_fn(|i| i as u8));
    let tag = secret.tag(NUMBER, to.parse().unwrap());
    Echo { identifier: IDENTIFIER, number: NUMBER, tag, mark: secret.mark(), payload: 56 }
}

fn request(echo: &Echo, family: Family) -> Vec<u8> {
    let padding = Padding::new(echo.payload);
    [&echo.request_head(family, &padding), padding.bytes()].concat()
}

/// Sets the checksum of an ICMPv4 message right.
fn sum_up(message: &mut [u8]) {
    message[2..4].fill(0);
    let sum = Sum16BitWords::new().add_slice(message).ones_complement();
    message[2..4].copy_from_slice(&sum.to_ne_bytes());
}

#[test]
fn a_request_of_either_family_is_emitted() {
    let v4 = request(&echo(THEM_V4), Family::V4);
    assert_eq!(v4, fixture!("request-v4.hex"));
    assert!(Message::new(Family::V4, &v4).unwrap().checksum_is_right());
    assert_eq!(request(&echo(THEM_V6), Family::V6), fixture!("request-v6.hex"));
}

#[test]
fn a_v4_reply_is_parsed_behind_ip_options() {
    let packet = fixture!("reply-v4-options.hex");
    let message = Message::new(Family::V4, after_ipv4_header(&packet).unwrap()).unwrap();
    assert_eq!(message.kind(), Kind::EchoReply);
    assert!(message.checksum_is_right());
    assert_eq!(message.echo(), Ok(echo(THEM_V4)));
    assert_eq!(message.sequence(), 0x2345);
}

#[test]
fn a_v6_reply_is_parsed() {
    let packet = fixture!("reply-v6.hex");
    let message = Message::new(Family::V6, &packet).unwrap();
    assert_eq!(message.kind(), Kind::EchoReply);
    assert_eq!(message.echo(), Ok(echo(THEM_V6)));
}

#[test]
fn a_quote_tells_whose_request_it_is() {
    let Echo { identifier, number, tag, mark, .. } = echo(THEM_V4);
    let whole = Quote { identifier, sequence: 0x2345, secrets: Some((number, tag)), mark: Some(mark) };
    let quoted = |packet: &[u8]| Quote::new(Family::V4, &packet[20 + 8 + 20..]);
    assert_eq!(quoted(&fixture!("unreachable-v4.hex")), Some(whole));
    let short = Quote { secrets: None, mark: None, ..whole };
    assert_eq!(quoted(&fixture!("unreachable-v4-short.hex")), Some(short));

    let Echo { tag, .. } = echo(THEM_V6);
    let whole = Quote { secrets: Some((number, tag)), ..whole };
    let packet = fixture!("time-exceeded-v6.hex");
    assert_eq!(Quote::new(Family::V6, &packet[8 + 40..]), Some(whole));
    assert_eq!(Quote::new(Family::V4, &packet[8 + 40..]), None, "the other family's request");
}

/// The words of RFC 792 and RFC 4443, which `ping` uses too; what nobody knows is told by its numbers.
#[test]
fn an_error_is_told_in_words() {
    use Family::{V4, V6};
    for (family, kind, code, words) in [
        (V4, 3, 1, "host unreachable"),
        (V4, 3, 3, "port unreachable"),
        (V4, 3, 4, "packet too big"),
        (V4, 3, 5, "source route failed"),
        (V4, 3, 6, "destination network unknown"),
        (V4, 3, 7, "destination host unknown"),
        (V4, 3, 8, "source host isolated"),
        (V4, 3, 11, "network unreachable for this type of service"),
        (V4, 3, 12, "host unreachable for this type of service"),
        (V4, 3, 77, "destination unreachable (code 77)"),
        (V4, 4, 0, "source quench"),
        (V4, 11, 0, "time to live exceeded"),
        (V4, 11, 1, "fragment reassembly time exceeded"),
        (V4, 12, 0, "parameter problem"),
        (V4, 77, 7, "ICMP error of type 77, code 7"),
        (V6, 1, 2, "beyond scope of source address"),
        (V6, 1, 4, "port unreachable"),
        (V6, 2, 0, "packet too big"),
        (V6, 3, 0, "time to live exceeded"),
        (V6, 3, 1, "fragment reassembly time exceeded"),
        (V6, 4, 0, "parameter problem"),
        (V6, 4, 1, "parameter problem: unrecognized next header"),
        (V6, 4, 2, "parameter problem: unrecognized option"),
    ] {
        assert_eq!(Reason { family, kind, code }.to_string(), words);
    }
}

#[test]
fn every_truncated_reply_is_refused_or_says_how_long_it_is() {
    let check = |length: usize, left: usize, parsed: Result<Echo, Malformed>| match parsed {
        Ok(echo) => assert_eq!(usize::from(echo.payload), left - 8, "{length} bytes: {echo:?}"),
        Err(_) => assert!(left < HEAD_LEN, "{length} bytes: {parsed:?}"),
    };
    let packet = fixture!("reply-v4-options.hex");
    for length in 0..packet.len() {
        let parsed = after_ipv4_header(&packet[..length])
            .and_then(|bytes| Message::new(Family::V4, bytes))
            .and_then(|message| message.echo());
        check(length, length.saturating_sub(32), parsed);
    }
    let packet = fixture!("reply-v6.hex");
    for length in 0..packet.len() {
        let parsed = Message::new(Family::V6, &packet[..length]).and_then(|message| message.echo());
        check(length, length, parsed);
    }
}

#[test]
fn a_quote_that_ends_before_the_sequence_is_none() {
    let packet = fixture!("request-v6.hex");
    for length in 0..packet.len() {
        let quote = Quote::new(Family::V6, &packet[..length]);
        let known = quote.map(|quote| (quote.secrets.is_some(), quote.mark.is_some()));
        assert_eq!(known, (length >= 8).then_some((length >= 24, length >= 28)), "{length} bytes");
    }
}

#[test]
fn what_is_shorter_or_longer_than_any_echo_of_ours_is_refused() {
    let parsed = |length: usize| {
        let mut packet = request(&Echo { payload: MOST_PAYLOAD, ..echo(THEM_V6) }, Family::V6);
        packet.resize(length, 0);
        Message::new(Family::V6, &packet).unwrap().echo()
    };
    let longest = 8 + usize::from(MOST_PAYLOAD);
    assert_eq!(parsed(longest), Ok(Echo { payload: MOST_PAYLOAD, ..echo(THEM_V6) }));
    for length in [27, longest + 1, 70_000] {
        assert_eq!(parsed(length), Err(Malformed::Length { found: length }));
    }
}

#[test]
fn what_the_ipv4_header_excludes_is_cut_off_or_refused() {
    let packet = fixture!("reply-v4-options.hex");
    let mut padded = packet.clone();
    padded.extend([0; 6]);
    assert_eq!(after_ipv4_header(&padded), after_ipv4_header(&packet), "as an Ethernet frame is padded");
    let damaged = |offset: usize, value: u8| {
        let mut packet = packet.clone();
        packet[offset] = value;
        after_ipv4_header(&packet).map(<[u8]>::len)
    };
    assert_eq!(damaged(0, 0x64), Err(Malformed::Ipv4Header), "IPv6's version");
    assert_eq!(damaged(0, 0x44), Err(Malformed::Ipv4Header), "a header of 16 bytes");
    assert_eq!(damaged(3, 0x08), Err(Malformed::Ipv4Header), "a packet that is shorter than its header");
    assert_eq!(damaged(6, 0x20), Err(Malformed::Ipv4Header), "a fragment");
    assert_eq!(damaged(9, 17), Err(Malformed::Ipv4Header), "UDP");
}

#[test]
fn a_changed_sequence_or_payload_is_found_even_where_the_checksum_fits() {
    let mut packet = fixture!("request-v4.hex");
    packet[7] ^= 1;
    sum_up(&mut packet);
    let message = Message::new(Family::V4, &packet).unwrap();
    assert!(message.checksum_is_right());
    assert_eq!(message.echo(), Err(Malformed::Sequence { found: 0x2344, wanted: 0x2345 }));
    let mut packet = fixture!("request-v4.hex");
    packet[63] ^= 1;
    sum_up(&mut packet);
    assert_eq!(Message::new(Family::V4, &packet).unwrap().echo(), Err(Malformed::Payload));
}

#[test]
fn kinds_go_by_type_and_code() {
    let kind = |family, kind, code| Message::new(family, &[kind, code, 0, 0, 0, 0, 0, 0]).unwrap().kind();
    assert_eq!(kind(Family::V4, 0, 0), Kind::EchoReply);
    assert_eq!(kind(Family::V4, 0, 1), Kind::Other(0), "an echo has code 0");
    assert_eq!(kind(Family::V4, 8, 0), Kind::EchoRequest);
    assert_eq!(kind(Family::V4, 129, 0), Kind::Other(129), "the other family's");
    assert_eq!(kind(Family::V6, 129, 0), Kind::EchoReply);
    assert_eq!(kind(Family::V6, 0, 0), Kind::Other(0));
    assert_eq!(kind(Family::V6, 2, 0), Kind::Other(2));
}

#[test]
fn the_tag_depends_on_everything_it_proves() {
    let to = |text: &str| text.parse().unwrap();
    let secret = Secret::new([7; 16]);
    let tag = secret.tag(NUMBER, to(THEM_V4));
    assert_ne!(tag, secret.tag(NUMBER + 1, to(THEM_V4)));
    assert_ne!(tag, secret.tag(NUMBER, to("198.18.0.3")));
    assert_ne!(tag, Secret::new([8; 16]).tag(NUMBER, to(THEM_V4)));
}

proptest! {
    /// One flipped bit anywhere in a reply behind its IP header is noticed, by the checksum if by nothing else.
    #[test]
    fn no_flipped_bit_passes(bit in 0usize..64 * 8) {
        let packet = fixture!("reply-v4-options.hex");
        let mut bytes = after_ipv4_header(&packet).unwrap().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!Message::new(Family::V4, &bytes).unwrap().checksum_is_right());
    }

    #[test]
    fn what_is_emitted_is_parsed(
        identifier: u16, number: u64, tag: u64, mark: u32, payload in LEAST_PAYLOAD..=MOST_PAYLOAD, v6: bool
    ) {
        let family = if v6 { Family::V6 } else { Family::V4 };
        let echo = Echo { identifier, number, tag, mark, payload };
        let request = request(&echo, family);
        prop_assert_eq!(request.len(), 8 + usize::from(payload));
        let message = Message::new(family, &request).unwrap();
        prop_assert!(message.checksum_is_right());
        prop_assert_eq!((message.kind(), message.echo()), (Kind::EchoRequest, Ok(echo)));
    }
}
