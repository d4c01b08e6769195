//! Any bytes as messages of rtnetlink: nothing panics, no message and no attribute reaches beyond what came, and what is
//! made of them stands in them. What we ask ourselves is one message.
#![no_main]

use std::net::{IpAddr, SocketAddr};

use latmon::probe::netlink::{LINK_NAME_LEN, LinkNews, Way, messages, request, route_question};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut length = 0;
    for message in messages(bytes) {
        length += 16 + message.body.len();
        assert!(length <= bytes.len());
        let _ = message.error();
        if let Some((_, LinkNews::There { name, .. })) = message.link() {
            // A byte that is no letter becomes a sign of three.
            assert!(name.len() <= 3 * LINK_NAME_LEN && !name.contains('\0'));
        }
        match message.route() {
            Some(Way::Gateway { gateway, interface }) => {
                assert!(holds(message.body, &octets(gateway.ip())));
                assert!(holds(message.body, &interface.to_ne_bytes()));
            }
            Some(Way::Link { interface }) => assert!(holds(message.body, &interface.to_ne_bytes())),
            Some(Way::Own | Way::Nowhere) => assert!(message.body.len() >= 8),
            None => {}
        }
        let again = request(message.kind, 1, message.sequence, message.body);
        assert_eq!(messages(&again).collect::<Vec<_>>(), [message]);
    }
    if let Some((to, rest)) = bytes.split_first_chunk::<16>() {
        let source = rest.first_chunk::<4>().map(|octets| IpAddr::from(*octets));
        let question = route_question(SocketAddr::new(IpAddr::from(*to), 0), source, Some(1));
        let question = request(26, 1, 1, &question);
        assert_eq!(messages(&question).count(), 1);
    }
});

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn holds(body: &[u8], wanted: &[u8]) -> bool {
    body.windows(wanted.len()).any(|part| part == wanted)
}
