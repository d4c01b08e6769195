//! Real programs, as somebody may write them.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::super::posting::Posting;
use super::*;

/// Long enough for a shell on a busy machine.
const LONG: Duration = Duration::from_secs(60);
/// Short enough to be waited for.
const SHORT: Duration = Duration::from_millis(300);

fn run(script: &str, arguments: &[&str], limit: Duration, posting: &Posting) -> Result<(), CommandFault> {
    let words = [&["/bin/sh", "-c", script], arguments].concat();
    let telling = Telling { posting, held_up: None, token: None };
    Command::new(&words, limit).unwrap().run(&telling, &|| None)
}

fn shell(script: &str, file: &Path, limit: Duration) -> Result<(), CommandFault> {
    run(script, &[file.to_str().unwrap()], limit, &Posting::trial())
}

/// A place for a script to write to, by `"$0"`.
fn file() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("written");
    (folder, file)
}

/// Waits until the process is gone whose number stands in `file`.
fn is_gone(file: &Path) {
    let number: i32 = fs::read_to_string(file).unwrap().trim().parse().unwrap();
    let end = Instant::now() + LONG;
    // A zombie whose parent is gone waits for init, which may not care in a container.
    let is_alive = || {
        let status = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
        status.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    };
    while is_alive() {
        assert!(Instant::now() < end, "{number} is still there");
        thread::sleep(LOOK);
    }
}

#[test]
fn arguments_reach_it_as_they_are() {
    let (_folder, file) = file();
    let mut posting = Posting::trial();
    posting.alerts[0].target = "-rf $(touch x) `y` \"*\" 'ü'\n;|&".into();
    let script = r#"for word; do printf '<%s>' "$word"; done > "$0""#;
    let name = file.to_str().unwrap();
    run(script, &[name, "--", "{{target}}", "", "a {{ median_ms }}%"], LONG, &posting).unwrap();
    let written = fs::read_to_string(&file).unwrap();
    assert_eq!(written, "<--><-rf $(touch x) `y` \"*\" 'ü'\n;|&><><a 12.5%>");
}

#[test]
fn nothing_of_ours_reaches_it_but_what_is_told() {
    // A file that is left open for whatever is started, as whoever started us may have done.
    let leak = fs::File::open("/dev/null").unwrap();
    fcntl(&leak, nix::fcntl::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let (_folder, file) = file();
    shell(r#"/usr/bin/env -0 > "$0"; pwd > "$0.pwd"; exec ls -l /proc/self/fd/ > "$0.fd""#, &file, LONG)
        .unwrap();
    let environment = fs::read_to_string(&file).unwrap();
    for variable in environment.split_terminator('\0') {
        let name = variable.split('=').next().unwrap();
        let is_shells = ["PWD", "OLDPWD", "SHLVL", "_"].contains(&name);
        assert!(name.starts_with("LATMON_") || KEPT_VARIABLES.contains(&name) || is_shells, "{variable}");
    }
    for told in
        ["LATMON_STATE=raised\0", "LATMON_MEDIAN_MS=12.5\0", "LATMON_USUAL_MS=\0", "LATMON_SINCE=2023"]
    {
        assert!(environment.contains(told), "'{told}' is not in {environment}");
    }
    assert!(!environment.contains("LATMON_TOKEN"), "{environment}");
    let files = fs::read_to_string(file.with_extension("fd")).unwrap();
    // The fourth is the folder that ls reads.
    let is_its_own = |line: &&str| !line.contains("/proc/");
    let numbers: Vec<&str> =
        files.lines().filter(is_its_own).filter_map(|line| line.split_whitespace().nth(8)).collect();
    assert_eq!(numbers, ["0", "1", "2"], "{files}");
    assert!(files.contains("0 -> /dev/null"), "{files}");
    assert_eq!(fs::read_to_string(file.with_extension("pwd")).unwrap(), "/\n");
}

#[test]
fn what_fails_is_told_with_the_end_of_what_it_printed() {
    let (_folder, file) = file();
    let error =
        shell("echo on the way; echo 'no such\n pager \u{1b}[31m' >&2; exit 3", &file, LONG).unwrap_err();
    assert_eq!(error.to_string(), "/bin/sh: exit status: 3: on the way no such pager [31m");
    let error = shell("kill -9 $$", &file, LONG).unwrap_err();
    assert_eq!(error.to_string(), "/bin/sh: signal: 9 (SIGKILL)");
    let missing = Command::new(&["/nowhere/pager"], LONG).unwrap();
    let posting = Posting::trial();
    let error =
        missing.run(&Telling { posting: &posting, held_up: None, token: None }, &|| None).unwrap_err();
    assert!(error.to_string().starts_with("cannot run /nowhere/pager: No such file"), "{error}");
}

#[test]
fn one_that_hangs_is_killed_with_all_it_started() {
    let (_folder, file) = file();
    let script = r#"trap "" TERM INT HUP; (trap "" TERM; exec sleep 1000) & echo $! > "$0"; while :; do sleep 1000; done"#;
    let error = shell(script, &file, Duration::from_secs(2)).unwrap_err();
    assert_eq!(error.to_string(), "/bin/sh: not done within 2s, killed with all it started");
    is_gone(&file);
}

#[test]
fn what_it_leaves_behind_is_given_its_time_and_then_ended() {
    let (_folder, file) = file();
    // It prints on: somebody may be sending the message there.
    let began = Instant::now();
    shell(r#"sleep 1000 & echo $! > "$0""#, &file, Duration::from_secs(2)).unwrap();
    assert!(began.elapsed() >= Duration::from_secs(2));
    is_gone(&file);
    // It does not.
    shell(r#"sleep 1000 > /dev/null 2>&1 & echo $! > "$0""#, &file, LONG).unwrap();
    is_gone(&file);
}

#[test]
fn one_that_prints_without_end_is_heard_and_held_to_its_time() {
    let (_folder, file) = file();
    let error = shell("yes nonsense", &file, SHORT).unwrap_err().to_string();
    assert!(error.starts_with("/bin/sh: not done within 300ms") && error.len() < 600, "{error}");
    let error = shell("head -c 5000000 /dev/zero | tr '\\0' x; echo the end; exit 4", &file, LONG);
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with("/bin/sh: exit status: 4: xxx") && error.ends_with("xthe end"), "{error}");
    assert!(error.len() < 600, "{error}");
}

#[test]
fn one_that_reads_finds_nothing_to_read() {
    let (_folder, file) = file();
    shell("cat", &file, LONG).unwrap();
}

#[test]
fn one_that_closes_its_output_is_waited_for() {
    let (_folder, file) = file();
    let error = shell("exec >&- 2>&-; sleep 0.2; exit 7", &file, LONG).unwrap_err();
    assert_eq!(error.to_string(), "/bin/sh: exit status: 7");
}

#[test]
fn a_stop_does_not_wait_for_its_end() {
    let command = Command::new(&["/bin/sleep", "1000"], LONG).unwrap();
    let posting = Posting::trial();
    let until = Instant::now() + SHORT;
    let telling = Telling { posting: &posting, held_up: None, token: None };
    let error = command.run(&telling, &|| Some(until)).unwrap_err();
    assert_eq!(error.to_string(), "/bin/sleep: killed, because latmon stops");
}

#[test]
fn what_is_too_long_is_cut() {
    let (_folder, file) = file();
    let mut posting = Posting::trial();
    posting.text = "ü".repeat(1 << 20);
    let script = r#"printf %s "$1" | wc -c > "$0""#;
    run(script, &[file.to_str().unwrap(), "{{text}}"], LONG, &posting).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap().trim(), ARGUMENT_BYTES.to_string());
}

#[test]
fn what_is_no_command_is_told() {
    let error = |words: &[&str]| Command::new(words, LONG).unwrap_err().to_string();
    let path = "begin with the whole path of the program, as \"/usr/local/bin/pager\"";
    assert_eq!(error(&[]), path);
    assert_eq!(error(&["pager"]), path);
    assert_eq!(error(&["/bin/{{target}}"]), path);
    assert_eq!(error(&["/bin/x", "a\0"]), "no argument may have a zero byte");
    assert_eq!(
        error(&["/bin/x", "{{tarjet}}"]),
        "'{{tarjet}}' unknown placeholder '{{tarjet}}' in line 1 of it"
    );
    assert!(error(&["/bin/x", "{{token}}"]).contains("unknown placeholder"));
}

#[test]
fn an_argument_that_may_become_an_option_is_found() {
    let option_like = |words: &[&str]| Command::new(words, LONG).unwrap().option_like().map(str::to_owned);
    assert_eq!(option_like(&["/bin/x", "-t", "{{target}}"]), Some("{{target}}".to_owned()));
    assert_eq!(option_like(&["/bin/x", "--to={{target}}", "about {{rule}}"]), None);
    assert_eq!(option_like(&["/bin/x", "--", "{{target}}"]), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Whatever a target is called, the program gets just that, in its place.
    #[test]
    fn no_text_leaves_its_argument(said in "\\PC{0,20}[\u{1}-\u{1f}'\"$`\\\\;-]{0,4}\\PC{0,20}") {
        let (_folder, file) = file();
        let mut posting = Posting::trial();
        posting.alerts[0].target = said.clone();
        let script = r#"printf '%s\n%s' "$#" "$1" > "$0"; printf %s "$LATMON_TARGET" > "$0.env""#;
        run(script, &[file.to_str().unwrap(), "{{target}}", "last"], LONG, &posting).unwrap();
        prop_assert_eq!(fs::read_to_string(&file).unwrap(), format!("2\n{said}"));
        prop_assert_eq!(fs::read_to_string(file.with_extension("env")).unwrap(), said);
    }
}
