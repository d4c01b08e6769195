//! The conversation with servers that misbehave in ways a real one cannot be made to; `tests/mail.rs` has a real one.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::thread;
use std::time::Instant;

use super::*;
use crate::mail::fault::Reply;
use crate::mail::{Secret, Settings};

/// Longer than a busy machine takes for anything here: nothing but the end of a wait may end it.
const PATIENT: Limits = Limits { connect: AGES, command: AGES, transfer: AGES };
const AGES: Duration = Duration::from_secs(120);

/// A server whose one conversation `talk` holds, and the settings that lead to it.
fn server(tls: Tls, talk: impl FnOnce(TcpStream) + Send + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || talk(listener.accept().unwrap().0));
    Server { host: "127.0.0.1".into(), port, tls, login: None }
}

/// A server that says `replies` one after the other, each but the first after a line from us.
fn script(tls: Tls, replies: &'static [&'static str]) -> Server {
    server(tls, move |stream| {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        for (number, reply) in replies.iter().enumerate() {
            if number > 0 && lines.next().is_none_or(|line| line.is_err()) {
                return;
            }
            (&stream).write_all(reply.as_bytes()).unwrap();
        }
        // The line stays open until we close it.
        while lines.next().is_some_and(|line| line.is_ok()) {}
    })
}

fn refusal(server: &Server) -> Fault {
    refusal_within(PATIENT, server)
}

fn refusal_within(limits: Limits, server: &Server) -> Fault {
    match Session::open(server, limits) {
        Ok(_) => panic!("the session opened"),
        Err(error) => error.fault,
    }
}

fn with_login(mut server: Server, password: &str) -> Server {
    server.login = Some(Login { username: "user".into(), password: Secret::new(password) });
    server
}

fn settings(server: Server) -> Settings {
    Settings {
        from: "latmon@example.org".parse().unwrap(),
        to: vec!["noc@example.org".parse().unwrap()],
        server,
        fallback: None,
        limits: Limits::USUAL,
    }
}

fn give(session: &mut Session, settings: &Settings, mail: &[u8]) -> Result<Handed, SendError> {
    session.send(&settings.from, &settings.to, mail)
}

/// A time limit for each read would never end this: every byte comes within it.
#[test]
fn a_server_that_drips_bytes_holds_nobody() {
    const MOMENT: Duration = Duration::from_millis(500);
    let short = Limits { connect: AGES, command: MOMENT, transfer: MOMENT };
    let dripping = server(Tls::None, |mut stream| {
        while stream.write_all(b"2").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    let started = Instant::now();
    assert!(matches!(refusal_within(short, &dripping), Fault::Silent));
    let dripping = server(Tls::Implicit, |mut stream| {
        // A TLS record that is announced and comes byte by byte.
        let record = [&[22, 3, 3, 0x3f, 0xff, 2, 0, 0x3f, 0xfb][..], &[0; 16_000]].concat();
        for byte in record {
            if stream.write_all(&[byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    });
    let fault = refusal_within(short, &dripping);
    assert!(matches!(fault, Fault::TimedOut(Step::Handshake)), "{fault}");
    // The record takes five minutes, and the line never ends.
    assert!(started.elapsed() < AGES);
}

#[test]
fn replies_have_bounds() {
    let endless_line = server(Tls::None, |mut stream| while stream.write_all(&[b'2'; 4096]).is_ok() {});
    let fault = refusal(&endless_line);
    assert!(matches!(fault, Fault::Garbled(Step::Greeting)), "{fault}");
    let endless_reply = server(Tls::None, |mut stream| while stream.write_all(b"220-x\r\n").is_ok() {});
    let fault = refusal(&endless_reply);
    assert!(matches!(fault, Fault::Garbled(Step::Greeting)), "{fault}");
}

/// What a hostile server may say at each step of a conversation: no more than fits into the buffers on the way is read,
/// and no longer than the limit.
#[test]
fn a_hostile_server_is_bounded_at_every_step() {
    const REPLIES: [&str; 6] = ["220 me", "250 me", "250 ok", "250 ok", "354 go on", "250 have it"];
    // Generous: what the kernel takes over before anybody reads.
    const MOST: usize = 32 << 20;
    let floods: [(&str, fn(&str) -> Vec<u8>); 4] = [
        ("endless line", |_| vec![b'2'; 1 << 16]),
        ("endless reply", |code| format!("{code}-x\r\n").repeat(1 << 12).into_bytes()),
        ("endless bad UTF-8", |_| vec![0xff; 1 << 16]),
        ("endless empty lines", |_| b"\r\n".repeat(1 << 15)),
    ];
    for step in 0..REPLIES.len() {
        for (name, flood) in floods {
            let (tell, told) = std::sync::mpsc::channel();
            let hostile = server(Tls::None, move |mut stream| {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                for (number, reply) in REPLIES[..step].iter().enumerate() {
                    if number > 0 {
                        lines.next();
                    }
                    stream.write_all(format!("{reply}\r\n").as_bytes()).unwrap();
                }
                let flood = flood(&REPLIES[step][..3]);
                let mut written = 0;
                while written < 2 * MOST && stream.write_all(&flood).is_ok() {
                    written += flood.len();
                }
                tell.send(written).unwrap();
            });
            let settings = settings(hostile);
            let done = Session::open(&settings.server, PATIENT)
                .and_then(|mut session| give(&mut session, &settings, b"A: b\r\n\r\nc\r\n"));
            assert!(matches!(done.unwrap_err().fault, Fault::Garbled(_)), "{name} at step {step}");
            let written = told.recv().unwrap();
            assert!(written < MOST, "{name} at step {step}: {written} bytes");
        }
    }
}

/// Bytes that no text has are shown as question marks, and a reply that takes its time has no more of it than any other.
#[test]
fn an_odd_reply_is_understood_and_a_slow_one_is_not_waited_for() {
    const MOMENT: Duration = Duration::from_millis(500);
    let replies = |verdict: &'static [u8]| {
        server(Tls::None, move |mut stream| {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            for reply in ["220 me", "250 me", "250 ok", "250 ok", "354 go on"] {
                stream.write_all(format!("{reply}\r\n").as_bytes()).unwrap();
                lines.next();
            }
            while lines.next().is_some_and(|line| line.unwrap() != ".") {}
            while stream.write_all(verdict).is_ok() && verdict.starts_with(b"250-") {
                thread::sleep(Duration::from_millis(20));
            }
        })
    };
    let send = |server, transfer| {
        let settings = settings(server);
        let mut session = Session::open(&settings.server, Limits { transfer, ..PATIENT }).unwrap();
        give(&mut session, &settings, b"A: b\r\n\r\nc\r\n")
    };
    let refused = send(replies(b"554 \xff\xfe\xe2\x28 no\r\n"), AGES).unwrap_err();
    assert!(refused.to_string().ends_with("refused the end of the mail: 554 ???( no"), "{refused}");
    assert_eq!(send(replies(b"250 \xff\r\n"), AGES).unwrap().taken.len(), 1);
    let slow = send(replies(b"250-wait\r\n"), MOMENT).unwrap_err();
    assert!(matches!(slow.fault, Fault::TimedOut(Step::Verdict)), "{slow}");
}

/// CVE-2011-0411: what an attacker adds in clear behind the reply to STARTTLS must not count as said under TLS.
#[test]
fn bytes_behind_the_reply_to_starttls_end_the_session() {
    let replies = &[
        "220 hello\r\n",
        "250-me\r\n250 STARTTLS\r\n",
        "220 go on\r\n250-me\r\n250 AUTH PLAIN\r\n235 welcome\r\n",
    ];
    assert!(matches!(refusal(&script(Tls::StartTls, replies)), Fault::EarlyBytes));
}

#[test]
fn what_servers_may_say_is_understood() {
    // A greeting of several lines, lower case, a bare code, LF alone.
    let replies =
        &["220-hello\r\n220 there\r\n", "250-me\r\n250-8bitmime\r\n250 auth login plain\r\n", "235\n"];
    let session = Session::open(&with_login(script(Tls::None, replies), "secret"), PATIENT).unwrap();
    let connection = session.dialogue.unwrap().lettre;
    assert!(connection.server_info().supports_feature(Extension::EightBitMime));
    assert!(!connection.server_info().supports_feature(Extension::SmtpUtfEight));
    // Prompts in words of their own, or in none.
    let replies = &["220 hello\r\n", "250-me\r\n250 AUTH LOGIN\r\n", "334 who?\r\n", "334\r\n", "235 in\r\n"];
    Session::open(&with_login(script(Tls::None, replies), "secret"), PATIENT).unwrap();
}

#[test]
fn what_is_no_smtp_is_told_so() {
    for greeting in ["SSH-2.0-OpenSSH_9.2\r\n", "22\r\n", "220-a\r\n250 b\r\n", "220?\r\n", "é20\r\n"] {
        let talking = server(Tls::None, move |mut stream| stream.write_all(greeting.as_bytes()).unwrap());
        let fault = refusal(&talking);
        assert!(matches!(fault, Fault::Garbled(Step::Greeting)), "{greeting}: {fault}");
    }
    // A refusal is told at once, also by a server that then says no more.
    let refused = script(Tls::None, &["220 hello\r\n", "554 not you\r\n"]);
    assert_eq!(refusal(&refused).to_string(), "refused the greeting: 554 not you");
    let hasty = server(Tls::None, drop);
    assert!(matches!(refusal(&hasty), Fault::Closed(Step::Greeting)));
}

/// Only 2xx says that a server has the mail, and only 3xx that it waits for it.
#[test]
fn another_success_than_the_one_wanted_delivers_nothing() {
    let start = ["220 hello\r\n", "250 me\r\n", "250 ok\r\n", "250 ok\r\n"];
    let settings_for = |end: &[&'static str]| {
        settings(script(Tls::None, Box::leak([&start, end].concat().into_boxed_slice())))
    };
    let fault = |end| {
        let settings = settings_for(end);
        let mut session = Session::open(&settings.server, PATIENT).unwrap();
        let fault = give(&mut session, &settings, b"A: b\r\n\r\n").unwrap_err().fault;
        assert!(!session.is_open() && !fault.is_of_mail(), "{fault}");
        fault
    };
    // What is sent is read by lines: two of the mail, one for the blank, one for the dot.
    assert!(matches!(fault(&["250 ok\r\n"]), Fault::Garbled(Step::Data)));
    assert!(matches!(fault(&["354 go on\r\n", "354 go on\r\n"]), Fault::Garbled(Step::Verdict)));
}

/// Servers that do not know a command repeat it, and after AUTH that is the password.
#[test]
fn a_reply_that_repeats_the_login_is_not_told() {
    // printf '\0user\0p4ssw0rd' | base64; printf p4ssw0rd | base64
    let plain = "AHVzZXIAcDRzc3cwcmQ=";
    let replies = &[
        "220 hello\r\n",
        "250-me\r\n250 AUTH PLAIN\r\n",
        "500-AUTH PLAIN AHVzZXIAcDRzc3cwcmQ= unknown\r\n500 nor p4ssw0rd\r\n",
    ];
    let error = Session::open(&with_login(script(Tls::None, replies), "p4ssw0rd"), PATIENT).err().unwrap();
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(text.contains("***") && !text.contains("p4ssw0rd") && !text.contains(plain), "{text}");
    }
    let replies = &[
        "220 hello\r\n",
        "250-me\r\n250 AUTH LOGIN\r\n",
        "334 VXNlcm5hbWU6\r\n",
        "334 UGFzc3dvcmQ6\r\n",
        "454 cannot check cDRzc3cwcmQ= now\r\n",
    ];
    let error = Session::open(&with_login(script(Tls::None, replies), "p4ssw0rd"), PATIENT).err().unwrap();
    assert!(matches!(error.fault, Fault::Deferred { step: Step::Login, .. }), "{error}");
    assert!(!format!("{error} {error:?}").contains("cDRzc3cwcmQ"), "{error}");
    let replies = &["220 hello\r\n", "250-me\r\n250 AUTH PLAIN\r\n", "535 wrong: pässwörd\r\n"];
    let error = Session::open(&with_login(script(Tls::None, replies), "pässwörd"), PATIENT).err().unwrap();
    assert!(error.to_string().contains("login refused: 535 wrong: ***: "), "{error}");
}

#[test]
fn an_unusual_reply_is_one_clean_line() {
    let long: &'static str =
        Box::leak(format!("554-{}\r\n554 \x1b[31mred\r\n", "x".repeat(1000)).into_boxed_str());
    let error =
        Session::open(&script(Tls::None, Box::leak(Box::new([long]))), PATIENT).err().unwrap().to_string();
    assert!(error.len() < 500 && !error.chars().any(char::is_control), "{error}");
    let red = server(Tls::None, |mut stream| stream.write_all(b"554 \x1b[31mred\x07\r\n").unwrap());
    let fault = refusal(&red).to_string();
    assert_eq!(fault, "refused the greeting: 554 [31mred");
}

#[test]
fn a_google_login_wants_an_app_password() {
    let reply = Reply { code: 535, text: "5.7.8 Username and Password not accepted.".into() };
    let fault = Fault::Login { reply, hint: login_hint("smtp.gmail.com") };
    assert!(fault.to_string().contains("myaccount.google.com/apppasswords"), "{fault}");
    assert!(!login_hint("smtp.example.org").contains("google"));
}

#[test]
fn who_is_refused_does_not_keep_the_others_from_it() {
    let replies = &[
        "220 hello\r\n",
        "250 me\r\n",
        "250 ok\r\n",
        "550 no such user\r\n",
        "250 ok\r\n",
        "451 try later\r\n",
        "354 go on\r\n",
        // What is sent is read by lines: header, blank, text, dot.
        "",
        "",
        "",
        "250 have it\r\n",
    ];
    let mut settings = settings(script(Tls::None, replies));
    settings.to = ["anna@a.org", "bob@b.org", "carl@c.org"].map(|address| address.parse().unwrap()).into();
    let mut session = Session::open(&settings.server, PATIENT).unwrap();
    let handed = give(&mut session, &settings, b"A: b\r\n\r\nc\r\n").unwrap();
    assert_eq!(handed.taken, [settings.to[1].clone()]);
    let [(anna, refused), (carl, deferred)] = &handed.left[..] else { panic!("{:?}", handed.left) };
    assert_eq!((anna, carl), (&settings.to[0], &settings.to[2]));
    assert!(refused.to_string().ends_with("refused the recipient anna@a.org: 550 no such user"), "{refused}");
    assert!(refused.fault.is_for_good() && !deferred.fault.is_for_good(), "{deferred}");
    assert!(session.is_open());
}

#[test]
fn after_a_refused_mail_the_session_goes_on() {
    let replies = &[
        "220 hello\r\n",
        "250 me\r\n",
        "250 ok\r\n",
        "550 no such user\r\n",
        "250 reset\r\n",
        "452 full\r\n",
        "250 reset\r\n",
        "421 good night\r\n",
    ];
    let settings = settings(script(Tls::None, replies));
    let mut session = Session::open(&settings.server, PATIENT).unwrap();
    let nobody = give(&mut session, &settings, b"A: b\r\n\r\nc\r\n").unwrap();
    assert!(nobody.taken.is_empty() && nobody.left[0].1.fault.is_for_good() && session.is_open());
    let deferred = give(&mut session, &settings, b"A: b\r\n\r\nc\r\n").unwrap_err();
    assert!(deferred.fault.is_of_mail() && !deferred.fault.is_for_good() && session.is_open(), "{deferred}");
    let leaving = give(&mut session, &settings, b"A: b\r\n\r\nc\r\n").unwrap_err();
    assert!(!leaving.fault.is_of_mail() && !session.is_open(), "{leaving}");
}

/// The texts of replies carry counters; the log tells a trouble once.
#[test]
fn the_reason_is_the_same_while_only_the_words_change() {
    let error = |code, step, text: &str| SendError {
        server: "s:25".into(),
        fault: Fault::Deferred { step, reply: Reply { code, text: text.into() } },
    };
    let first = error(451, Step::Verdict, "later a640c23a62f3a").reason();
    assert_eq!(first, error(451, Step::Verdict, "later 5e6b1f").reason());
    assert_ne!(first, error(452, Step::Verdict, "later").reason());
    assert_ne!(first, error(451, Step::Sender, "later").reason());
}

#[test]
fn addresses_outside_ascii_need_a_server_that_takes_them() {
    let mut settings =
        settings(script(Tls::None, &["220 hello\r\n", "250 me\r\n", "250 ok\r\n", "250 reset\r\n"]));
    settings.to = vec!["größe@example.org".parse().unwrap()];
    let mut session = Session::open(&settings.server, PATIENT).unwrap();
    let handed = give(&mut session, &settings, b"A: b\r\n\r\n").unwrap();
    assert!(matches!(handed.left[0].1.fault, Fault::NoUtf8));
}

/// The mail as it goes over the line, up to the dot that ends it.
#[test]
fn dots_are_doubled_at_the_start_of_lines_only() {
    for (mail, expected) in [
        (&b".\r\na.b\r\n..c\r\n"[..], "..\r\na.b\r\n...c\r\n.\r\n"),
        (b"no end", "no end\r\n.\r\n"),
        (b"A: b\r\n\r\n", "A: b\r\n\r\n.\r\n"),
    ] {
        let (tell, told) = std::sync::mpsc::channel();
        let listening = server(Tls::None, move |stream| {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            for reply in ["220 hello", "250 me", "250 ok", "250 ok", "354 go on"] {
                (&stream).write_all(format!("{reply}\r\n").as_bytes()).unwrap();
                line.clear();
                reader.read_line(&mut line).unwrap();
            }
            while !line.ends_with("\r\n.\r\n") && reader.read_line(&mut line).unwrap() > 0 {}
            (&stream).write_all(b"250 have it\r\n").unwrap();
            tell.send(line).unwrap();
        });
        let settings = settings(listening);
        give(&mut Session::open(&settings.server, PATIENT).unwrap(), &settings, mail).unwrap();
        assert_eq!(told.recv().unwrap(), expected);
    }
}
