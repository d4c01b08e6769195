//! Mails about the path: `latmon run` behind the kernel's own routers, in a chain of network namespaces, with a real SMTP
//! server. Needs root, for the networks, and python3-aiosmtpd, for the server.

mod support {
    pub(crate) mod chain;
    pub(crate) mod latmon;
    pub(crate) mod net;
    pub(crate) mod smtp;
}

use std::process::Command;
use std::time::Duration;

use support::chain::Chain;
use support::latmon::Desk;
use support::net::namespace::write_sysctl;
use support::net::{Net, answer, ms, silence};
use support::smtp::{Mode, Received, Smtp};

const LIMIT: Duration = Duration::from_secs(90);

/// `latmon run` on the last host of a chain of four links, and its mails to `smtp`.
fn settings(desk: &Desk, smtp: &Smtp) -> Command {
    desk.write(
        "latmon.toml",
        &format!(
            "[defaults]\nstep = '1s'\npings = 4\n\n[mail]\nfrom = 'latmon@example.org'\nto = ['noc@example.org']\n\
             server = 'localhost'\nport = {}\ntls = 'none'\n\n[targets]\nfar = '{}'\nnear = '{}'\n",
            smtp.port,
            Chain::ipv4(4),
            Chain::ipv4(1)
        ),
    );
    desk.latmon("run")
}

#[track_caller]
fn says(mail: &Received, words: &str) {
    // A text breaks its lines where they are full, and HTML says the same.
    let flat = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat(mail.text()).contains(words), "'{words}' is not in\n{}", mail.text());
    assert!(flat(mail.html()).contains(words), "'{words}' is not in\n{}", mail.html());
}

#[test]
fn the_mail_names_the_hop_that_changed() {
    let chain = Chain::new(4);
    let smtp = Smtp::start(Mode::Plain);
    let desk = Desk::new();
    let mut monitor = desk.start(&mut settings(&desk, &smtp));
    monitor.until(LIMIT, "a good path of the far target", |desk| {
        let paths = std::fs::read_to_string(desk.path("paths.json")).unwrap_or_default();
        paths.contains("\"far\"").then_some(())
    });

    // The third router is another one now, and the target behind it answers no more.
    chain.at(4, || write_sysctl("net/ipv4/icmp_echo_ignore_all", "1"));
    chain.ip(
        3,
        "addr del 198.18.3.2/24 dev far3\naddr add 198.18.3.99/24 dev far3\n\
         route add 198.18.1.0/24 via 198.18.3.1\nroute add 198.18.2.0/24 via 198.18.3.1",
    );
    chain.ip(2, "route replace 198.18.4.0/24 via 198.18.3.99");
    let mail = &smtp.wait_for(1, LIMIT)[0];
    assert_eq!(mail.header("Subject"), "[latmon] DOWN: far (198.18.4.2) does not answer");
    says(mail, "the path: hop 3 is 198.18.3.99 now, not 198.18.3.2, and does not reach the target");
    says(mail, "the only other target answers as usual");
    let text = mail.text();
    let hop = text.lines().find(|line| line.contains(" 3  198.18.3.99 ")).expect("the third hop");
    assert!(hop.starts_with('>') && hop.contains("  was 198.18.3.2, "), "{hop}");
    assert_eq!(mail.structure, "mixed(alternative(text/plain related(text/html image/png)) image/png)");

    // Mended: the recovery looks for no path, and answers the first mail.
    chain.at(4, || write_sysctl("net/ipv4/icmp_echo_ignore_all", "0"));
    let mails = smtp.wait_for(2, LIMIT);
    assert_eq!(mails[1].header("In-Reply-To"), mail.header("Message-ID"));
    assert!(!mails[1].text().contains("The path at"), "{}", mails[1].text());
    monitor.stop();
}

/// Both are decided on at the same time, and the path that does not answer takes its second: the other mail does not wait
/// for it.
#[test]
fn a_path_that_is_looked_for_holds_up_no_other_mail() {
    let net = Net::new();
    let desk = Desk::new();
    // Without a server the mails stay in the outbox, in the order in which they came there.
    desk.write(
        "latmon.toml",
        "[defaults]\nstep = '1s'\npings = 3\ntimeout = '500ms'\n\n[alerts]\nsettle = '5m'\n\n[targets]\n\
         dark = '198.18.0.1'\nhome = '198.18.0.2'\n",
    );
    let well = || answer().delay(ms(5));
    net.host("198.18.0.1", well());
    net.host("198.18.0.2", silence());
    let mut monitor = desk.start(&mut desk.latmon("run"));
    let said = |what: &'static str| move |desk: &Desk| desk.read("log").contains(what).then_some(());
    monitor.until(LIMIT, "the outage of home", said("WARN home "));
    net.host("198.18.0.2", well());
    monitor.until(LIMIT, "its end", said("INFO home "));
    net.host("198.18.0.1", silence());
    monitor.until(LIMIT, "the outage of dark", said("WARN dark "));
    // What has not settled yet is told then, all at once, the troubles first.
    monitor.stop();
    let mails = desk.outbox();
    let [home, dark, exit] = &mails[..] else { panic!("{} mails", mails.len()) };
    assert!(home.contains("Subject: [latmon] OK: home (198.18.0.2)"), "{home}");
    assert!(dark.contains("Subject: [latmon] DOWN: dark (198.18.0.1)"), "{dark}");
    assert!(exit.contains("Subject: [latmon] STOPPED: "), "{exit}");
    // A machine that is busy enough has no path in time, and the mail goes without.
    let paths = ["1-30  no answer", "not known: it was not found in time"];
    assert!(paths.iter().any(|path| dark.contains(path)), "{dark}");
}
