//! The mail server.

use std::time::SystemTime;

use latmon::config::Config;
use latmon::mail::{self, Message, Tls};
use latmon::time::UnixTime;

use super::Finding;

/// Connects and logs in as the mailer would; sends a mail only where that is asked for.
pub(super) fn mail(config: &Config, send: bool) -> Finding {
    let about = "mail";
    let Some(settings) = &config.mail else {
        let ways: Vec<&str> = config.ways.iter().map(|way| way.way.name.as_str()).collect();
        let who =
            if ways.is_empty() { "nobody is told".to_owned() } else { format!("only {} told", is(&ways)) };
        return Finding::warn(about, format!("{who}: set EMAIL_SENDER, or write [mail] in latmon.toml"));
    };
    try_out(about, settings, send)
}

/// The same for the fallback server, where there is one; it is given no mail.
pub(super) fn fallback(config: &Config) -> Option<Finding> {
    let settings = config.mail.as_ref()?;
    let server = settings.fallback.clone()?;
    Some(try_out("fallback", &mail::Settings { server, ..settings.clone() }, false))
}

fn try_out(about: &'static str, settings: &mail::Settings, send: bool) -> Finding {
    let host = super::super::run::host_name();
    let message = send.then(|| test_mail(&host));
    if let Err(error) = mail::try_out(settings, message.as_ref(), &host) {
        return Finding::fail(about, error.to_string());
    }
    let server = &settings.server;
    let place = format!("{}:{}", server.host, server.port);
    let to: Vec<String> = settings.to.iter().map(ToString::to_string).collect();
    let line = match server.tls {
        Tls::Implicit => "TLS",
        Tls::StartTls => "STARTTLS",
        Tls::None => "no TLS",
    };
    let login = if server.login.is_some() { "logged in" } else { "without a login" };
    let sent = if send { "a mail was sent to" } else { "mails go to" };
    let text = format!("{place}, {line}, {login}, {sent} {}", to.join(", "));
    if server.tls == Tls::None && server.login.is_some() {
        return Finding::warn(about, format!("{text}: everybody on the way can read the password"));
    }
    Finding::ok(about, text)
}

/// `webhook:duty is`, `webhook:duty and command:pager are`.
fn is(ways: &[&str]) -> String {
    format!("{} {}", ways.join(" and "), if ways.len() == 1 { "is" } else { "are" })
}

/// What somebody is told who shall see that a way leads to them.
pub(super) fn test_mail(host: &str) -> Message {
    let date = UnixTime::from(SystemTime::now());
    Message {
        key: format!("doctor-{}-{}", std::process::id(), date.micros()),
        in_reply_to: None,
        to: Vec::new(),
        subject: format!("[latmon] TEST: latmon on {host} can reach you"),
        text: format!(
            "Somebody typed 'latmon doctor --send-mail' on {host}.\n\nAlerts from there will reach you by this way, and \
             nothing is wrong.\n"
        ),
        html: None,
        attachments: Vec::new(),
        is_urgent: false,
        date,
    }
}
