//! One JSON POST over HTTPS for each posting. The line is the one that mail goes over, with the same roots to trust.
//!
//! No redirect is followed: what is posted is for the address in the settings alone. The URL is a secret, since for most
//! services whoever has it may post: it is shown without its path, and no reply is shown that repeats a part of it.

mod fault;

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE, HOST, HeaderMap, HeaderName,
    HeaderValue, RETRY_AFTER, TRANSFER_ENCODING, USER_AGENT,
};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Runtime;
use tokio::time::timeout;

pub(super) use self::fault::PostFault;
use super::Secret;
use super::fault::{Fault, Step};
use super::payload::Service;
use super::stream;
use super::template::{Telling, Template, TemplateError};

/// What the settings say of a webhook.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// Where to post.
    pub url: Secret,
    /// Whether `http://` is meant: everybody on the way can read it then.
    pub in_clear: bool,
    /// What is posted.
    pub form: Form,
    /// Headers of its own; `{{token}}` stands for the token in them.
    pub headers: Vec<(String, Secret)>,
    /// The token that `{{token}}` stands for, or else the `Authorization` is made of.
    pub token: Option<Secret>,
}

/// The form of what is posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// For Slack's incoming webhooks.
    Slack,
    /// For ntfy; the topic is the path of the URL.
    Ntfy,
    /// For the webhook of a Teams workflow.
    Teams,
    /// For Prometheus Alertmanager.
    Alertmanager,
    /// All there is to say, for a program of one's own.
    Plain,
    /// This JSON, with its placeholders filled in.
    Own(String),
}

/// Why settings make no webhook. None of it shows what stands in them.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The URL.
    #[error("{0}")]
    Url(&'static str),
    /// A header.
    #[error("the header '{name}' {why}")]
    Header {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The body.
    #[error("{0}")]
    Body(TemplateError),
    /// The token.
    #[error("the token has characters that no header may have")]
    Token,
}

/// A webhook that can be posted to.
#[derive(Clone)]
pub struct Webhook {
    in_clear: bool,
    host: String,
    port: u16,
    /// The path and what follows.
    target: Uri,
    headers: HeaderMap,
    body: Body,
    token: Option<Secret>,
    /// What no reply that is shown may repeat.
    secrets: Vec<String>,
}

#[derive(Clone, Debug)]
enum Body {
    Known(Service),
    Own(Template),
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Webhook").field(&self.shown()).finish()
    }
}

impl Webhook {
    /// Checks the settings.
    pub fn new(settings: &WebhookSettings) -> Result<Self, WebhookError> {
        let uri = checked_url(settings)?;
        let authority = uri.authority().ok_or(WebhookError::Url(NO_URL))?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = authority.port_u16().unwrap_or(if settings.in_clear { 80 } else { 443 });
        let body = match &settings.form {
            Form::Slack => Body::Known(Service::Slack),
            Form::Teams => Body::Known(Service::Teams),
            Form::Plain => Body::Known(Service::Plain),
            Form::Alertmanager => Body::Known(Service::Alertmanager),
            Form::Ntfy => Body::Known(Service::Ntfy { topic: topic(&uri)?.to_owned() }),
            Form::Own(text) => Body::Own(Template::json(text).map_err(WebhookError::Body)?),
        };
        let target = target(&uri, &settings.form)?;
        let headers = headers(settings, &body, authority.as_str())?;
        Ok(Self {
            in_clear: settings.in_clear,
            host,
            port,
            target,
            secrets: secrets(&uri, settings),
            headers,
            body,
            token: settings.token.clone(),
        })
    }

    /// Where it goes, without the secret part: `https://hooks.slack.com/***`.
    pub fn shown(&self) -> String {
        let scheme = if self.in_clear { "http" } else { "https" };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.in_clear, self.port) {
            (true, 80) | (false, 443) => format!("{scheme}://{host}/***"),
            (_, port) => format!("{scheme}://{host}:{port}/***"),
        }
    }

    /// Posts, and returns once the server said that it has it.
    pub(super) fn post(&self, telling: &Telling<'_>, limits: Limits) -> Result<(), PostFault> {
        let telling = Telling { token: self.token.as_ref(), ..*telling };
        let body = match &self.body {
            Body::Known(service) => service.body(&telling),
            Body::Own(template) => template.fill(&telling),
        };
        let tcp = stream::connect(&self.host, self.port, limits.connect).map_err(PostFault::Line)?;
        let reply = runtime()?.block_on(async {
            if self.in_clear {
                let line = stream::in_clear(&tcp).map_err(PostFault::Line)?;
                self.exchange(line, body, limits).await
            } else {
                let line = stream::under_tls(&tcp, &self.host, limits.connect).await;
                self.exchange(line.map_err(PostFault::Line)?, body, limits).await
            }
        })?;
        self.judge(&reply)
    }

    /// Opens the line that a post takes, has the server prove who it is, and asks it nothing.
    pub(super) fn reach(&self, limits: Limits) -> Result<(), PostFault> {
        let tcp = stream::connect(&self.host, self.port, limits.connect).map_err(PostFault::Line)?;
        if self.in_clear {
            return Ok(());
        }
        let line = runtime()?.block_on(stream::under_tls(&tcp, &self.host, limits.connect));
        line.map(drop).map_err(PostFault::Line)
    }

    /// Sends the request and reads the reply.
    async fn exchange<S>(&self, line: S, body: String, limits: Limits) -> Result<Reply, PostFault>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut request = Request::post(self.target.clone()).body(body).expect("its parts were checked");
        *request.headers_mut() = self.headers.clone();
        let asked = async {
            let mut builder = http1::Builder::new();
            builder.max_buf_size(MOST_HEAD_BYTES);
            let (mut sender, connection) =
                builder.handshake(TokioIo::new(line)).await.map_err(PostFault::of_http)?;
            // It ends with the runtime, which ends with this post.
            tokio::spawn(connection);
            let response = sender.send_request(request).await.map_err(PostFault::of_http)?;
            Ok(Reply::read(response, limits.text).await)
        };
        timeout(limits.reply, asked).await.map_err(|_| PostFault::TimedOut)?
    }

    fn judge(&self, reply: &Reply) -> Result<(), PostFault> {
        let status = reply.status;
        if status.is_success() {
            return Ok(());
        }
        if status.is_redirection() {
            return Err(PostFault::Redirect(status.as_u16()));
        }
        Err(PostFault::Status {
            code: status.as_u16(),
            text: self.shown_text(reply),
            after: reply.retry_after(),
        })
    }

    /// What a reply says, in printable ASCII, bounded, and without any secret of ours.
    fn shown_text(&self, reply: &Reply) -> String {
        let mut text = String::from_utf8_lossy(&reply.body).into_owned();
        for secret in &self.secrets {
            text = text.replace(secret.as_str(), "***");
        }
        let shown: String = text.bytes().map(|byte| char::from(stream::printable(byte))).collect();
        let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut text = words.chars().take(SHOWN_CHARS).collect::<String>();
        if !text.is_empty() {
            text.insert_str(0, ": ");
        }
        text
    }
}

/// How long each part may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// A connection to one address, and the TLS handshake.
    pub(super) connect: Duration,
    /// The request and its reply, all of it.
    pub(super) reply: Duration,
    /// What follows the head of the reply: by then it is settled.
    pub(super) text: Duration,
}

impl Limits {
    pub(super) const USUAL: Self = Self {
        connect: Duration::from_secs(10),
        reply: Duration::from_secs(30),
        text: Duration::from_secs(3),
    };
}

/// What a server answered.
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    /// Its beginning.
    body: Vec<u8>,
}

impl Reply {
    /// Reads what comes within the bounds of size and time; the rest is not waited for.
    async fn read(response: Response<Incoming>, limit: Duration) -> Self {
        let (head, incoming) = response.into_parts();
        let mut body = Vec::new();
        let _ = timeout(limit, async {
            let mut incoming = pin!(incoming);
            while let Some(Ok(frame)) = poll_fn(|context| incoming.as_mut().poll_frame(context)).await {
                let Ok(bytes) = frame.into_data() else { continue };
                body.extend_from_slice(&bytes[..bytes.len().min(MOST_REPLY_BYTES - body.len())]);
                if body.len() == MOST_REPLY_BYTES {
                    break;
                }
            }
        })
        .await;
        Self { status: head.status, headers: head.headers, body }
    }

    /// How long it asks us to wait. A date is told by the server's own clock.
    fn retry_after(&self) -> Option<Duration> {
        let text = |name| self.headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let asked = text(RETRY_AFTER)?;
        if let Ok(secs) = asked.parse() {
            return Some(Duration::from_secs(secs));
        }
        let date = |text| chrono::DateTime::parse_from_rfc2822(text).ok();
        (date(asked)? - date(text(DATE)?)?).to_std().ok()
    }
}

/// For one line, and for as long as it is open.
fn runtime() -> Result<Runtime, PostFault> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    runtime.map_err(|error| PostFault::Line(Fault::of_line(&Step::Connect, &error)))
}

fn checked_url(settings: &WebhookSettings) -> Result<Uri, WebhookError> {
    let uri: Uri = settings.url.reveal().trim().parse().map_err(|_| WebhookError::Url(NO_URL))?;
    match (uri.scheme_str(), settings.in_clear) {
        (Some("https"), false) | (Some("http"), true) => {}
        (Some("http"), false) => {
            return Err(WebhookError::Url(
                "http:// lets everybody on the way read it: write https://, or tls = \"none\" where you mean it",
            ));
        }
        (Some("https"), true) => {
            return Err(WebhookError::Url("it is https://, and tls = \"none\": keep one of them"));
        }
        _ => return Err(WebhookError::Url(NO_URL)),
    }
    let authority = uri.authority().filter(|authority| !authority.host().is_empty());
    let authority = authority.ok_or(WebhookError::Url(NO_URL))?;
    if authority.as_str().contains('@') {
        return Err(WebhookError::Url("it has a name and a password: write them as a header, by token_file"));
    }
    // A port that is none would be taken for the usual one.
    let is_port_missing = authority.port_u16().is_none();
    let has_colon = authority.as_str().rsplit(']').next().is_some_and(|rest| rest.contains(':'));
    if is_port_missing && has_colon {
        return Err(WebhookError::Url(NO_URL));
    }
    Ok(uri)
}

/// What is asked for on the server.
fn target(uri: &Uri, form: &Form) -> Result<Uri, WebhookError> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let path = match form {
        Form::Ntfy => "/".to_owned(),
        Form::Alertmanager if !uri.path().ends_with(ALERTS) => {
            format!("{}{ALERTS}", uri.path().trim_end_matches('/'))
        }
        _ => path.to_owned(),
    };
    path.parse().map_err(|_| WebhookError::Url(NO_URL))
}

/// ntfy takes JSON at its root only, with the topic in it; people have the URL with the topic.
fn topic(uri: &Uri) -> Result<&str, WebhookError> {
    let topic = uri.path().trim_matches('/');
    let is_topic = (1..=64).contains(&topic.len())
        && topic.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    is_topic
        .then_some(topic)
        .ok_or(WebhookError::Url("write the URL with the topic, as https://ntfy.sh/TOPIC"))
}

fn headers(settings: &WebhookSettings, body: &Body, authority: &str) -> Result<HeaderMap, WebhookError> {
    let mut headers = HeaderMap::new();
    let mut set = |name, value: &str| {
        let mut value = HeaderValue::from_str(value)?;
        value.set_sensitive(name == AUTHORIZATION);
        headers.insert(name, value);
        Ok::<_, hyper::header::InvalidHeaderValue>(())
    };
    set(HOST, authority).map_err(|_| WebhookError::Url(NO_URL))?;
    for (name, value) in [
        (USER_AGENT, concat!("latmon/", env!("CARGO_PKG_VERSION"))),
        (CONTENT_TYPE, "application/json"),
        (ACCEPT, "*/*"),
        (CONNECTION, "close"),
    ] {
        set(name, value).expect("it is ASCII");
    }
    let mut is_token_named = matches!(body, Body::Own(template) if template.names_the_token());
    for (name, value) in &settings.headers {
        let fault = |why| WebhookError::Header { name: name.escape_debug().to_string(), why };
        let header: HeaderName = name.parse().map_err(|_| fault("has no name that a header may have"))?;
        if [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING].contains(&header) {
            return Err(fault("is latmon's own to write"));
        }
        let mut value = value.reveal().to_owned();
        if value.contains(TOKEN) {
            let token = settings.token.as_ref().ok_or(fault("names a token, and there is no token_file"))?;
            value = value.replace(TOKEN, token.reveal());
            is_token_named = true;
        }
        if value.contains("{{") {
            return Err(fault("may have no placeholder but {{token}}"));
        }
        let value = HeaderValue::from_str(&value);
        headers.insert(header, value.map_err(|_| fault("has a value that no header may have"))?);
    }
    match &settings.token {
        Some(token) if !is_token_named => {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.reveal()))
                .map_err(|_| WebhookError::Token)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        None if is_token_named => {
            return Err(WebhookError::Url("the body names a token, and there is no token_file"));
        }
        _ => {}
    }
    Ok(headers)
}

/// Longest first, so that a part does not spoil the whole.
fn secrets(uri: &Uri, settings: &WebhookSettings) -> Vec<String> {
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    let pieces = path.split(['/', '?', '&', '=', '%', '.', ':']).filter(|piece| piece.len() >= SECRET_BYTES);
    let values = settings.headers.iter().map(|(_, value)| value.reveal());
    let words = values.clone().flat_map(str::split_whitespace).filter(|word| word.len() >= SECRET_BYTES);
    let token = settings.token.iter().map(Secret::reveal);
    let topic = (settings.form == Form::Ntfy).then(|| uri.path().trim_matches('/'));
    let all = [settings.url.reveal().trim(), path].into_iter().chain(pieces).chain(values).chain(words);
    let mut secrets: Vec<String> =
        all.chain(token).chain(topic).filter(|secret| secret.len() > 1).map(str::to_owned).collect();
    secrets.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.dedup();
    secrets
}

const NO_URL: &str = "write a URL, as https://hooks.example.org/services/SECRET";
const TOKEN: &str = "{{token}}";
const ALERTS: &str = "/api/v2/alerts";
/// A shorter piece of a path is a word, as `hooks`.
const SECRET_BYTES: usize = 6;
const MOST_REPLY_BYTES: usize = 64 << 10;
const MOST_HEAD_BYTES: usize = 64 << 10;
const SHOWN_CHARS: usize = 200;

#[cfg(test)]
mod tests;
