use super::*;

#[test]
fn the_line_for_people_names_kinds_and_families() {
    let (datagram, raw) = (Some(SocketKind::Datagram), Some(SocketKind::Raw));
    let shown = |v4, v6| SocketKinds { v4, v6 }.to_string();
    assert_eq!(shown(raw, raw), "raw, IPv4 IPv6");
    assert_eq!(shown(datagram, raw), "datagram IPv4, raw IPv6");
    assert_eq!(shown(None, datagram), "datagram, IPv6");
}
