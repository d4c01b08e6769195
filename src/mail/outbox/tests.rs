//! The folders themselves; `tests/mail.rs` sends from them.

use super::*;

fn message(key: &str, secs: i64) -> Message {
    Message {
        key: key.into(),
        in_reply_to: None,
        to: Vec::new(),
        subject: String::new(),
        text: String::new(),
        html: None,
        attachments: Vec::new(),
        is_urgent: false,
        date: UnixTime::from_secs(secs),
    }
}

fn names(mails: &[Waiting]) -> Vec<String> {
    mails.iter().map(|mail| mail.path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn mails_lie_in_the_order_they_were_decided_on() {
    let data = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(data.path()).unwrap();
    // The clock was set back before the second, and the third was decided on together with it.
    for (key, secs) in [("z", 1_700_000_000), ("b", 1_600_000_000), ("a", 1_600_000_000)] {
        outbox.put(&message(key, secs), key.as_bytes()).unwrap();
    }
    let waiting = outbox.all().unwrap();
    assert_eq!(
        names(&waiting),
        ["1700000000.000000-z.eml", "1700000000.000001-b.eml", "1700000000.000002-a.eml"]
    );
    assert_eq!(waiting[0].since, UnixTime::from_secs(1_700_000_000));
    assert_eq!(outbox.read(&waiting[1]).unwrap(), b"b");
    let later = outbox.keep(Kind::Post, "a", UnixTime::from_secs(1), b"{}").unwrap().path;
    assert!(later.ends_with("1700000000.000003-a.post.json"), "a way of its own, in the same order");
    assert_eq!(outbox.waiting(Kind::Mail).unwrap(), waiting);
    assert_eq!(outbox.waiting(Kind::Post).unwrap()[0].path, later);
}

#[test]
fn the_same_key_is_the_same_mail_also_once_it_is_sent() {
    let data = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(data.path()).unwrap();
    let path = outbox.put(&message("a", 1), b"first").unwrap().path;
    outbox.put(&message("b-a", 1), b"another whose name ends alike").unwrap();
    assert_eq!(outbox.put(&message("a", 2), b"second").unwrap().path, path);
    assert_eq!(fs::read(&path).unwrap(), b"second");
    let waiting = outbox.all().unwrap();
    assert_eq!(waiting.len(), 2);
    outbox.delivered(&waiting[0]).unwrap();
    assert!(outbox.put(&message("a", 3), b"third").unwrap().path.starts_with(data.path().join("sent")));
    assert_eq!(names(&outbox.all().unwrap()), ["0000000001.000001-b-a.eml"]);
}

#[test]
fn what_a_crash_left_half_written_is_cleared_away() {
    let data = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(data.path()).unwrap();
    let path = outbox.put(&message("a", 1), b"whole").unwrap().path;
    let half = path.with_file_name(".0000000002.000000-b.eml.tmp");
    let foreign = path.with_file_name(".swap.tmp");
    fs::write(&half, b"ha").unwrap();
    fs::write(&foreign, b"of others").unwrap();
    let half_sent = data.path().join("sent/.0000000003.000000-c.eml.tmp");
    fs::write(&half_sent, b"ha").unwrap();
    assert_eq!(outbox.all().unwrap().len(), 1);
    Outbox::open(data.path()).unwrap();
    assert!(!half.exists() && !half_sent.exists() && foreign.exists() && path.exists());
}

#[test]
fn only_the_newest_sent_mails_are_kept() {
    let data = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(data.path()).unwrap();
    for secs in 0..SENT_KEPT {
        fs::write(data.path().join(format!("sent/{secs:010}.000000-x.eml")), b"").unwrap();
    }
    let foreign = data.path().join("sent/notes.txt");
    fs::write(&foreign, b"").unwrap();
    outbox.put(&message("new", 1_700_000_000), b"").unwrap();
    outbox.delivered(&outbox.all().unwrap()[0]).unwrap();
    let sent = list(&data.path().join("sent")).unwrap();
    assert_eq!(sent.len(), SENT_KEPT);
    assert_eq!(sent[0].since, UnixTime::from_secs(1), "the oldest went");
    assert_eq!(names(&sent)[SENT_KEPT - 1], "1700000000.000000-new.eml");
    assert!(foreign.exists());
}

#[test]
fn links_and_folders_are_no_mails() {
    let data = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(data.path()).unwrap();
    let folder = data.path().join("outbox");
    std::os::unix::fs::symlink("/etc/passwd", folder.join("0000000001.000000-x.eml")).unwrap();
    fs::create_dir(folder.join("0000000002.000000-x.eml")).unwrap();
    assert_eq!(outbox.all().unwrap(), []);
}

#[test]
fn what_the_disk_refuses_is_told_with_its_place() {
    let data = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(data.path()).unwrap();
    let folder = data.path().join("outbox");
    fs::remove_dir(&folder).unwrap();
    fs::write(&folder, b"a file").unwrap();
    let error = outbox.claim(Kind::Mail).unwrap_err().to_string();
    assert!(error.contains(folder.to_str().unwrap()), "{error}");
    assert!(Outbox::open(data.path()).unwrap_err().to_string().contains("cannot make the folder"));
}

#[test]
fn a_mail_over_the_bound_is_refused_both_ways() {
    let data = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(data.path()).unwrap();
    let bytes = vec![b'x'; MAX_MAIL_BYTES as usize + 1];
    assert!(matches!(outbox.put(&message("a", 1), &bytes), Err(Error::TooLarge { .. })));
    File::create(data.path().join("outbox/0000000001.000000-x.eml")).unwrap().set_len(1 << 33).unwrap();
    let waiting = outbox.all().unwrap();
    assert!(matches!(outbox.read(&waiting[0]), Err(Error::TooLarge { bytes, .. }) if bytes == 1 << 33));
}

#[test]
fn of_each_kind_one_sends_at_a_time() {
    let data = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(data.path()).unwrap();
    let mails = outbox.claim(Kind::Mail).unwrap().unwrap();
    let other = Outbox::open(data.path()).unwrap();
    assert!(other.claim(Kind::Mail).unwrap().is_none());
    assert!(other.claim(Kind::Post).unwrap().is_some());
    drop(mails);
    assert!(other.claim(Kind::Mail).unwrap().is_some());
}

/// Whatever is wrong with the disk, a mail that was decided on is sent.
#[test]
fn what_the_disk_does_not_take_is_kept_in_memory() {
    let data = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(data.path()).unwrap();
    let folder = data.path().join("outbox");
    outbox.put(&message("before", 1), b"before").unwrap();
    fs::rename(&folder, data.path().join("away")).unwrap();
    fs::write(&folder, b"in the way").unwrap();
    let kept = outbox.put(&message("a", 2), b"first").unwrap();
    assert!(!kept.on_disk && !outbox.is_safe(&kept.path));
    assert_eq!(outbox.put(&message("a", 3), b"second").unwrap(), kept, "the same key is the same mail");
    outbox.put(&message("b", 1), b"b").unwrap();
    let trouble = outbox.trouble().unwrap();
    assert!(trouble.starts_with("not on the disk, lost if the monitor ends: "), "{trouble}");
    let waiting = outbox.all().unwrap();
    assert_eq!(names(&waiting), ["0000000002.000000-a.eml", "0000000002.000001-b.eml"]);
    assert_eq!(outbox.read(&waiting[0]).unwrap(), b"second");
    // It was sent from there, into a folder that works.
    outbox.delivered(&waiting[0]).unwrap();
    assert_eq!(fs::read(data.path().join("sent/0000000002.000000-a.eml")).unwrap(), b"second");
    outbox.write_down();
    assert!(outbox.trouble().is_some(), "it is still in the way");

    fs::remove_file(&folder).unwrap();
    outbox.write_down();
    assert_eq!((outbox.trouble(), outbox.is_safe(&waiting[1].path)), (None, true));
    assert_eq!(fs::read(&waiting[1].path).unwrap(), b"b", "in a folder that was made anew");
    assert_eq!(outbox.all().unwrap(), waiting[1..]);
}

#[test]
fn what_was_sent_from_memory_is_not_put_again() {
    let data = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(data.path()).unwrap();
    for folder in ["outbox", "sent"] {
        fs::remove_dir(data.path().join(folder)).unwrap();
        fs::write(data.path().join(folder), b"in the way").unwrap();
    }
    assert!(outbox.all().is_err());
    outbox.put(&message("a", 1), b"a").unwrap();
    outbox.delivered(&outbox.all().unwrap()[0]).unwrap();
    outbox.put(&message("a", 1), b"a").unwrap();
    outbox.put(&message("b", 1), b"b").unwrap();
    assert_eq!(names(&outbox.all().unwrap()), ["0000000001.000000-b.eml"]);
}

#[test]
fn what_was_taken_out_stays_out() {
    let data = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(data.path()).unwrap();
    outbox.put(&message("a", 1), b"a").unwrap();
    let waiting = outbox.all().unwrap();
    outbox.discard(&waiting[0]).unwrap();
    outbox.rewrite(&waiting[0], b"noted").unwrap();
    outbox.delivered(&waiting[0]).unwrap();
    assert_eq!(outbox.all().unwrap(), []);
    outbox.discard(&waiting[0]).unwrap();
}

#[test]
fn sent_mails_have_a_bound_of_bytes_too() {
    let data = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(data.path()).unwrap();
    for secs in 1..=3 {
        let path = data.path().join(format!("sent/{secs:010}.000000-x.eml"));
        File::create(path).unwrap().set_len(SENT_BYTES_KEPT / 2).unwrap();
    }
    outbox.put(&message("new", 10), b"").unwrap();
    outbox.delivered(&outbox.all().unwrap()[0]).unwrap();
    let kept = ["0000000002.000000-x.eml", "0000000003.000000-x.eml", "0000000010.000000-new.eml"];
    assert_eq!(names(&list(&data.path().join("sent")).unwrap()), kept);
}
