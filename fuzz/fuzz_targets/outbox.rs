//! Any bytes as a file of the outbox: nothing panics, what goes out is clean, and what is noted in the file is read again
//! and changes nothing else.
#![no_main]

use latmon::mail::{Address, Limits, Server, Settings, Stored, Tls};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some(stored) = Stored::parse(bytes) else { return };
    let settings = settings();
    let (to, left) = (stored.to(&settings), stored.left(&settings));
    assert!(!to.is_empty() && left.iter().all(|address| to.contains(address)));
    assert!(!stored.subject().chars().any(char::is_control));
    let mail = stored.going_out(&settings, Some("held up 3 min: no route"));
    is_clean(&mail);

    let (taken, rest) = left.split_at(left.len() / 2);
    let refused: Vec<(Address, String)> =
        rest.iter().map(|address| (address.clone(), "550\r\nno".to_owned())).collect();
    let noted = stored.noted(taken, &refused);
    let again = Stored::parse(&noted);
    // A file with as many fields as any may have takes no more.
    let Some(again) = again else { return };
    assert_eq!((again.to(&settings), again.left(&settings)), (to, rest.to_vec()));
    assert_eq!(again.refused().len(), refused.len());
    assert_eq!(again.conversation(), stored.conversation());
    assert_eq!(again.going_out(&settings, Some("held up 3 min: no route")), mail);
});

/// Lines end in CRLF and none has a CR or LF alone, and no field of ours leaves the machine.
fn is_clean(mail: &[u8]) {
    let again = Stored::parse(mail).expect("it has a header");
    assert!(again.named().is_empty() && again.taken().is_empty() && again.refused().is_empty());
    for line in mail.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\r\n").unwrap_or(line);
        assert!(!text.contains(&b'\r') && !text.contains(&b'\n'));
    }
}

fn settings() -> Settings {
    Settings {
        from: "latmon@example.org".parse().expect("an address"),
        to: vec![
            "noc@example.org".parse().expect("an address"),
            "boss@example.net".parse().expect("an address"),
        ],
        server: Server { host: "localhost".into(), port: 25, tls: Tls::None, login: None },
        fallback: None,
        limits: Limits::USUAL,
    }
}
