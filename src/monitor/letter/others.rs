//! What the other targets do at the same time, and what that says.

use super::path::Finding;
use super::words::count;
use crate::alert::Trouble;
use crate::monitor::status::{Standing, State};

/// The sentence about the others: all targets but the one that the mail is about.
pub(super) fn sentence(others: &[Standing]) -> String {
    let of = |state: State| others.iter().filter(|other| other.state == state).count();
    let well = of(State::Ok);
    let down = of(State::Down) + of(State::Silent);
    match others.len() {
        0 => return "this monitor watches no other target".to_owned(),
        1 if well == 1 => return "the only other target answers as usual".to_owned(),
        all if well == all => return format!("the {all} others answer as usual"),
        _ => {}
    }
    let parts = [
        (down, "does not answer", "do not answer"),
        (of(State::Lossy), "loses pings", "lose pings"),
        (of(State::Slow), "is slow", "are slow"),
        (of(State::Unknown) + of(State::Waiting), "is unknown", "are unknown"),
        (well, "answers as usual", "answer as usual"),
    ];
    let told = parts.iter().filter(|(number, ..)| *number > 0);
    let told: Vec<String> = told.map(|(number, singular, plural)| count(*number, singular, plural)).collect();
    format!("of {}: {}", count(others.len(), "other", "others"), told.join(", "))
}

/// What it looks like: the target, the path or our own side; `None` where nothing points anywhere.
///
/// `shared` is the nearest router that all targets in the same trouble lie behind, and none that is well.
pub(super) fn suspect(
    trouble: Trouble,
    others: &[Standing],
    shared: Option<&str>,
    finding: Option<&Finding>,
) -> Option<String> {
    let alike = others.iter().filter(|other| is_alike(trouble, other.state)).count();
    let well = others.iter().filter(|other| other.state == State::Ok).count();
    if trouble == Trouble::Unknown {
        // What is known of the reason is told, and no path is to blame.
        return None;
    }
    if trouble == Trouble::Down && finding == Some(&Finding::Whole) {
        return Some("nothing that lasts: the target answered when its path was looked for".to_owned());
    }
    if alike > 0 && well == 0 && trouble == Trouble::Down {
        return Some("our own side: nobody answers this monitor".to_owned());
    }
    if let (Some(shared), true) = (shared, alike > 0) {
        let all = alike + 1;
        return Some(format!(
            "the path: all {all} in trouble lie behind {shared}, and none of the others does"
        ));
    }
    finding.and_then(Finding::suspect).or_else(|| {
        let told = alike == 0 && well > 1 && trouble == Trouble::Down;
        told.then(|| "the target or its path, not this monitor: the others answer".to_owned())
    })
}

/// True for a state in which a target suffers from the same.
pub(in crate::monitor) fn is_alike(trouble: Trouble, state: State) -> bool {
    match trouble {
        Trouble::Down => matches!(state, State::Down | State::Silent),
        Trouble::Slow => state == State::Slow,
        Trouble::Lossy => state == State::Lossy,
        Trouble::Unknown => state == State::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::round::Target;
    use std::sync::Arc;

    fn others(states: &[(State, usize)]) -> Vec<Standing> {
        let target = Arc::new(Target { name: "t".into(), host: "192.0.2.1".into() });
        let standing = |state| Standing { target: Arc::clone(&target), state };
        states.iter().flat_map(|(state, count)| vec![standing(*state); *count]).collect()
    }

    #[test]
    fn the_others_are_told_by_what_they_do() {
        let told = |states: &[(State, usize)]| sentence(&others(states));
        assert_eq!(told(&[]), "this monitor watches no other target");
        assert_eq!(told(&[(State::Ok, 1)]), "the only other target answers as usual");
        assert_eq!(told(&[(State::Ok, 39)]), "the 39 others answer as usual");
        assert_eq!(
            told(&[(State::Ok, 26), (State::Down, 10), (State::Silent, 2), (State::Slow, 1)]),
            "of 39 others: 12 do not answer, 1 is slow, 26 answer as usual"
        );
        assert_eq!(told(&[(State::Waiting, 1)]), "of 1 other: 1 is unknown");
    }

    #[test]
    fn what_it_looks_like_follows_from_who_suffers_alike() {
        let looks = |states: &[(State, usize)], shared| suspect(Trouble::Down, &others(states), shared, None);
        assert_eq!(looks(&[], None), None);
        assert_eq!(
            looks(&[(State::Ok, 5)], None).unwrap(),
            "the target or its path, not this monitor: the others answer"
        );
        assert_eq!(looks(&[(State::Down, 5)], None).unwrap(), "our own side: nobody answers this monitor");
        assert_eq!(
            looks(&[(State::Down, 5), (State::Ok, 2)], Some("192.0.2.254")).unwrap(),
            "the path: all 6 in trouble lie behind 192.0.2.254, and none of the others does"
        );
        assert_eq!(looks(&[(State::Down, 5), (State::Ok, 2)], None), None);
        assert_eq!(
            suspect(Trouble::Down, &others(&[(State::Ok, 5)]), None, Some(&Finding::Whole)).unwrap(),
            "nothing that lasts: the target answered when its path was looked for"
        );
        let ends = Finding::Ends { last: Some((3, "192.0.2.3".into())), missing: None };
        assert_eq!(
            suspect(Trouble::Down, &others(&[(State::Ok, 5)]), None, Some(&ends)).unwrap(),
            "the target, or the line to it: the path is whole up to the last router, hop 3, 192.0.2.3"
        );
    }
}
