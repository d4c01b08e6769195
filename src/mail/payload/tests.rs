//! Each payload against what the documents of its service ask for.

use proptest::prelude::*;

use super::*;

fn alerted(ended: Option<i64>) -> Alerted {
    Alerted {
        rule: "down".into(),
        condition: "no ping answered".into(),
        target: "fra/core1".into(),
        host: "192.0.2.1".into(),
        severity: "critical".into(),
        since: UnixTime::from_secs(1_700_000_000),
        ended: ended.map(UnixTime::from_secs),
        median_ms: None,
        loss_percent: Some(100.0),
        usual_ms: Some(12.5),
    }
}

fn posting(alerts: Vec<Alerted>) -> Posting {
    Posting {
        key: "fra/core1-down-1700000000-raised".into(),
        answers: None,
        way: "webhook:x".into(),
        at: UnixTime::from_secs(1_700_000_060),
        state: "raised".into(),
        severity: "critical".into(),
        subject: "[latmon] DOWN: fra/core1 does not answer".into(),
        text: "fra/core1 does not answer.\n\nsince 14:00\n".into(),
        monitor: "mon1".into(),
        alerts,
    }
}

fn body(service: &Service, posting: &Posting, held_up: Option<u64>) -> Value {
    let held_up = held_up.map(Duration::from_secs);
    serde_json::from_str(&service.body(&Telling { posting, held_up, token: None })).unwrap()
}

#[test]
fn slack_gets_a_header_and_a_text_without_markup() {
    let mut posting = posting(vec![alerted(None)]);
    posting.subject = "<!channel> & *bold* DOWN".into();
    let body = body(&Service::Slack, &posting, Some(2820));
    assert_eq!(body["text"], "&lt;!channel&gt; &amp; *bold* DOWN");
    assert_eq!(body["blocks"][0]["text"]["type"], "plain_text");
    assert_eq!(body["blocks"][0]["text"]["text"], "<!channel> & *bold* DOWN");
    let text = &body["blocks"][1]["elements"][0];
    assert_eq!(text["type"], "rich_text_preformatted");
    assert_eq!(
        text["elements"][0]["text"],
        "held up 47 min: decided on at 2023-11-14T22:14:20Z\n\nfra/core1 does not answer.\n\nsince 14:00\n"
    );
}

#[test]
fn ntfy_gets_a_priority_by_what_happened() {
    let service = Service::Ntfy { topic: "noc".into() };
    let raised = body(&service, &posting(vec![alerted(None)]), None);
    assert_eq!(
        raised,
        json!({
            "topic": "noc",
            "title": "[latmon] DOWN: fra/core1 does not answer",
            "message": "fra/core1 does not answer.\n\nsince 14:00\n",
            "priority": 5,
            "tags": ["rotating_light"],
        })
    );
    let over = body(&service, &posting(vec![alerted(Some(1_700_000_060))]), None);
    assert_eq!((&over["priority"], &over["tags"]), (&json!(3), &json!(["white_check_mark"])));
}

#[test]
fn teams_gets_a_card_of_runs() {
    let body = body(&Service::Teams, &posting(vec![alerted(None)]), None);
    assert_eq!(body["type"], "message");
    let attachment = &body["attachments"][0];
    assert_eq!(attachment["contentType"], "application/vnd.microsoft.card.adaptive");
    let card = &attachment["content"];
    assert_eq!((&card["type"], &card["version"]), (&json!("AdaptiveCard"), &json!("1.4")));
    let blocks = card["body"].as_array().unwrap();
    assert_eq!(blocks.len(), 4, "{blocks:?}");
    assert!(blocks.iter().all(|block| block["type"] == "RichTextBlock"), "{blocks:?}");
    assert_eq!(blocks[0]["inlines"][0]["color"], "Attention");
    assert_eq!(blocks[1]["inlines"][0]["text"], "fra/core1 does not answer.");
}

#[test]
fn an_alert_of_alertmanager_keeps_its_labels_and_gets_its_end() {
    let raised = body(&Service::Alertmanager, &posting(vec![alerted(None)]), None);
    let over = body(&Service::Alertmanager, &posting(vec![alerted(Some(1_700_000_600))]), None);
    assert_eq!(
        raised[0]["labels"],
        json!({
            "alertname": "down", "target": "fra/core1", "host": "192.0.2.1", "severity": "critical", "monitor": "mon1",
        })
    );
    assert_eq!(raised[0]["labels"], over[0]["labels"]);
    assert_eq!(raised[0]["startsAt"], "2023-11-14T22:13:20Z");
    assert_eq!(raised[0]["endsAt"], "2023-11-21T22:14:20Z", "a week");
    assert_eq!(over[0]["endsAt"], "2023-11-14T22:23:20Z");
    let both = body(&Service::Alertmanager, &posting(vec![alerted(None), alerted(Some(1))]), None);
    assert_eq!(both.as_array().unwrap().len(), 2);
    assert_eq!(both[1]["endsAt"], "2023-11-14T22:13:21Z", "never before the start");
    let about_us = body(&Service::Alertmanager, &posting(Vec::new()), None);
    assert_eq!(about_us[0]["labels"]["alertname"], "latmon_raised");
    assert_eq!(about_us[0]["endsAt"], "2023-11-14T23:14:20Z");
}

#[test]
fn plain_says_all() {
    let body = body(&Service::Plain, &posting(vec![alerted(None)]), Some(5));
    assert_eq!(body["alerts"][0]["usual_ms"], 12.5);
    assert_eq!(body["alerts"][0]["ended"], Value::Null);
    assert_eq!((&body["held_up_secs"], &body["monitor"]), (&json!(5), &json!("mon1")));
}

proptest! {
    /// The services refuse, or cut at a place of their choice, what is too long.
    #[test]
    fn no_text_is_too_long_or_leaves_its_place(text in "\\PC{0,20}[\u{0}-\u{1f}\"\\\\<&]{0,5}", times in 1usize..2000) {
        let mut posting = posting(vec![alerted(None)]);
        posting.subject = text.repeat(times);
        posting.text = format!("{text}\n").repeat(times);
        posting.alerts[0].target = text.clone();
        let slack = body(&Service::Slack, &posting, None);
        let header = slack["blocks"][0]["text"]["text"].as_str().unwrap();
        prop_assert!(header.chars().count() <= 150 && !header.chars().any(char::is_control));
        let fallback = slack["text"].as_str().unwrap();
        prop_assert!(!fallback.contains(['<', '>']) && fallback.chars().count() < 4000);
        prop_assert!(slack["blocks"][1]["elements"][0]["elements"][0]["text"].as_str().unwrap().len() <= 4000);
        let ntfy = body(&Service::Ntfy { topic: "t".into() }, &posting, None);
        prop_assert!(ntfy["message"].as_str().unwrap().len() <= 4096);
        prop_assert!(body(&Service::Teams, &posting, None).to_string().len() < 28_000);
        let labels = &body(&Service::Alertmanager, &posting, None)[0]["labels"];
        prop_assert!(labels.as_object().unwrap().len() <= 5);
        prop_assert_eq!(labels["target"].as_str().unwrap_or_default(), one_line(&text));
    }
}
