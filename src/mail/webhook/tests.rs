use super::super::posting::Posting;
use super::*;
use crate::mail::way::Next;

fn settings(url: &str, form: Form) -> WebhookSettings {
    WebhookSettings {
        url: Secret::new(url),
        in_clear: url.starts_with("http:"),
        form,
        headers: Vec::new(),
        token: None,
    }
}

fn webhook(url: &str, form: Form) -> Webhook {
    Webhook::new(&settings(url, form)).unwrap()
}

fn error(settings: &WebhookSettings) -> String {
    Webhook::new(settings).unwrap_err().to_string()
}

#[test]
fn a_url_is_taken_apart_and_shown_without_its_secret() {
    let slack = webhook("https://hooks.slack.com/services/T0/B0/hush?x=1", Form::Slack);
    assert_eq!((slack.host.as_str(), slack.port), ("hooks.slack.com", 443));
    assert_eq!(slack.target, "/services/T0/B0/hush?x=1");
    assert_eq!(slack.shown(), "https://hooks.slack.com/***");
    assert!(!format!("{slack:?}").contains("hush"));
    let v6 = webhook("http://[2001:db8::1]:8080", Form::Plain);
    assert_eq!((v6.host.as_str(), v6.port), ("2001:db8::1", 8080));
    assert_eq!(v6.headers[HOST], "[2001:db8::1]:8080");
    assert_eq!(v6.shown(), "http://[2001:db8::1]:8080/***");
}

#[test]
fn alertmanager_and_ntfy_have_places_of_their_own() {
    let target = |url, form| webhook(url, form).target.to_string();
    assert_eq!(target("https://am:9093", Form::Alertmanager), "/api/v2/alerts");
    assert_eq!(target("https://am/prefix/", Form::Alertmanager), "/prefix/api/v2/alerts");
    assert_eq!(target("https://am/api/v2/alerts", Form::Alertmanager), "/api/v2/alerts");
    assert_eq!(target("https://ntfy.sh/my-topic", Form::Ntfy), "/");
    let wanted = "write the URL with the topic, as https://ntfy.sh/TOPIC";
    for url in ["https://ntfy.sh", "https://ntfy.sh/a/b", "https://ntfy.sh/a%20b"] {
        assert_eq!(error(&settings(url, Form::Ntfy)), wanted);
    }
}

#[test]
fn what_is_no_url_is_told_without_it() {
    for url in
        ["", "hush", "https://", "https:///hush", "ftp://hush/", "https://a b/hush", "https://a:99999/hush"]
    {
        let error = error(&settings(url, Form::Slack));
        assert!(error.starts_with("write a URL") && !error.contains("hush"), "{url}: {error}");
    }
    let error_of = |url: &str, in_clear| error(&WebhookSettings { in_clear, ..settings(url, Form::Slack) });
    assert!(error_of("http://a/b", false).contains("tls = \"none\" where you mean it"));
    assert!(error_of("https://a/b", true).contains("keep one of them"));
    assert!(error_of("https://me:hush@a/b", false).contains("as a header"));
}

#[test]
fn a_token_goes_where_it_is_named_and_else_into_the_authorization() {
    let with = |form, headers: &[(&str, &str)], token: Option<&str>| {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect();
        let token = token.map(Secret::new);
        Webhook::new(&WebhookSettings { headers, token, ..settings("https://a/", form) })
    };
    assert_eq!(
        with(Form::Ntfy, &[], None).unwrap_err().to_string(),
        "write the URL with the topic, as https://ntfy.sh/TOPIC"
    );
    assert_eq!(with(Form::Slack, &[], Some("abc")).unwrap().headers[AUTHORIZATION], "Bearer abc");
    let named = with(Form::Slack, &[("X-Key", "k {{token}}")], Some("abc")).unwrap();
    assert_eq!(named.headers["x-key"], "k abc");
    assert!(!named.headers.contains_key(AUTHORIZATION));
    let body = Form::Own("{\"routing_key\": {{token}}}".into());
    assert!(!with(body.clone(), &[], Some("abc")).unwrap().headers.contains_key(AUTHORIZATION));
    let error = |form, headers: &[_], token| with(form, headers, token).unwrap_err().to_string();
    assert!(error(body, &[], None).contains("there is no token_file"));
    assert!(error(Form::Slack, &[("X", "{{token}}")], None).contains("there is no token_file"));
    assert!(error(Form::Slack, &[("X", "{{target}}")], None).contains("may have no placeholder"));
    assert!(error(Form::Slack, &[("X", "hush\r\nY: z")], None).contains("a value that no header may have"));
    assert!(error(Form::Slack, &[("X: y", "z")], None).contains("no name that a header may have"));
    assert!(error(Form::Slack, &[("Content-Length", "1")], None).contains("latmon's own"));
    assert_eq!(error(Form::Slack, &[], Some("a\nb")), "the token has characters that no header may have");
}

#[test]
fn a_reply_is_shown_without_any_of_our_secrets() {
    let mut settings = settings("https://h/services/T0HUSH/B0HUSH/hushhush?key=quiet-quiet", Form::Slack);
    settings.headers = vec![("Authorization".to_owned(), Secret::new("Basic c2lsZW5jZQ=="))];
    settings.token = Some(Secret::new("tk_hush"));
    let text = "no {\"path\":\"\\/services\\/T0HUSH\\/B0HUSH\\/hushhush\"} /services/T0HUSH/B0HUSH/hushhush?key=quiet-quiet \
                T0HUSH quiet-quiet c2lsZW5jZQ== tk_hush \u{1b}[31m\r\n red";
    let webhook = Webhook::new(&settings).unwrap();
    let reply = Reply { status: StatusCode::BAD_REQUEST, headers: HeaderMap::new(), body: text.into() };
    let fault = webhook.judge(&reply).unwrap_err();
    let shown = fault.to_string();
    assert!(
        shown.starts_with("400 Bad Request: no {\"path\":\"\\/***\\/***\\/***\\/***\"} *** ***"),
        "{shown}"
    );
    for secret in ["HUSH", "hush", "quiet", "c2ls", "\u{1b}", "\n"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert_eq!(fault.next(), Next::Refused);
}

#[test]
fn what_an_answer_means() {
    let webhook = webhook("https://h/x", Form::Slack);
    let next = |code: u16, headers: &[(HeaderName, &'static str)]| {
        let headers = headers.iter().map(|(n, v)| (n.clone(), HeaderValue::from_static(v))).collect();
        let reply = Reply { status: StatusCode::from_u16(code).unwrap(), headers, body: Vec::new() };
        webhook.judge(&reply).map_err(|fault| fault.next())
    };
    assert_eq!([200, 201, 202, 204].map(|code| next(code, &[])), [Ok(()); 4]);
    assert_eq!([301, 302, 307, 304].map(|code| next(code, &[])), [Err(Next::WayRefuses); 4]);
    assert_eq!([400, 409, 413, 422].map(|code| next(code, &[])), [Err(Next::Refused); 4]);
    assert_eq!([401, 403, 404, 410].map(|code| next(code, &[])), [Err(Next::WayRefuses); 4]);
    assert_eq!([408, 429, 500, 503].map(|code| next(code, &[])), [Err(Next::Again(None)); 4]);
    let again = |secs| Err(Next::Again(Some(Duration::from_secs(secs))));
    assert_eq!(next(429, &[(RETRY_AFTER, " 30 ")]), again(30));
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let dated = [(RETRY_AFTER, "Sun, 06 Nov 1994 08:50:37 GMT"), (DATE, date)];
    assert_eq!(next(503, &dated), again(60));
    assert_eq!(next(503, &[(RETRY_AFTER, date)]), Err(Next::Again(None)), "by which clock?");
    assert_eq!(next(503, &[(RETRY_AFTER, "-1")]), Err(Next::Again(None)));
}

/// A line on which nobody speaks HTTP: what comes is bounded, and told.
#[test]
fn what_is_no_http_is_told() {
    use std::io::{Read as _, Write as _};

    let posted = |answer: &'static [u8]| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut line, _) = listener.accept().unwrap();
            let mut request = [0; 1 << 14];
            let _ = line.read(&mut request);
            // Until the other side has had enough.
            if answer.is_empty() || line.write_all(answer).is_err() {
                return;
            }
            if answer.ends_with(b"...") {
                while line.write_all(&[b'x'; 1 << 12]).is_ok() {}
            }
        });
        let webhook = webhook(&format!("http://127.0.0.1:{port}/x"), Form::Plain);
        let posting = Posting::trial();
        let telling = Telling { posting: &posting, held_up: None, token: None };
        let done = webhook.post(&telling, Limits::USUAL);
        server.join().unwrap();
        done.map_err(|fault| fault.to_string())
    };
    let garbled = || Err("what it answered is no HTTP".to_owned());
    assert_eq!(posted(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), Ok(()));
    assert_eq!(posted(b"SSH-2.0-OpenSSH_9.2\r\n"), garbled());
    assert_eq!(posted(b"HTTP/1.1 200 OK\r\nX: ..."), garbled());
    assert_eq!(posted(b"HTTP/1.1 200 OK\r\n\r\n..."), Ok(()), "it was done before the endless text");
    assert_eq!(posted(b""), Err("closed the connection without an answer".to_owned()));
}
