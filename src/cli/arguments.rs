//! What was typed, where the kernel put it.
#![allow(unsafe_code)] // The standard library only hands out copies; the use says what keeps it sound.

/// The arguments, the program's name first, without a copy of each: a hundred thousand of them, which an update may have,
/// take longer to copy than to be read. `None` where the kernel does not tell where they are.
#[cfg(target_os = "linux")]
pub(super) fn lent() -> Option<Vec<&'static [u8]>> {
    let (start, end) = range_of(&std::fs::read("/proc/self/stat").ok()?)?;
    // SAFETY: the kernel says that it put the arguments there. That memory belongs to the process from its first
    // instruction to its last, nothing gives it back, and nothing in here writes to it.
    let bytes = unsafe { std::slice::from_raw_parts(std::ptr::with_exposed_provenance(start), end - start) };
    // Each ends with a NUL, the last one too.
    let bytes = bytes.strip_suffix(b"\0")?;
    let ends = || memchr::memchr_iter(0, bytes).chain([bytes.len()]);
    let mut words = Vec::with_capacity(ends().count());
    let mut start = 0;
    words.extend(ends().map(|end| {
        let word = &bytes[start..end];
        start = end + 1;
        word
    }));
    Some(words)
}

/// The kernel does not tell.
#[cfg(not(target_os = "linux"))]
pub(super) fn lent() -> Option<Vec<&'static [u8]>> {
    None
}

/// Where they begin and where they end, as `/proc/PID/stat` has it: fields 48 and 49, of which the second, the program's
/// name in parentheses, can be anything.
#[cfg(target_os = "linux")]
fn range_of(stat: &[u8]) -> Option<(usize, usize)> {
    const BEHIND_THE_NAME: usize = 3;
    const START: usize = 48;
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = std::str::from_utf8(&stat[name_end + 1..]).ok()?.split_ascii_whitespace();
    let mut numbers = fields.skip(START - BEHIND_THE_NAME).map_while(|field| field.parse().ok());
    let (start, end) = (numbers.next()?, numbers.next()?);
    (0 < start && start < end).then_some((start, end))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn they_are_those_that_the_standard_library_copies() {
        let copied: Vec<_> = std::env::args_os().collect();
        let copied: Vec<&[u8]> = copied.iter().map(|word| word.as_bytes()).collect();
        assert_eq!(lent(), Some(copied));
    }

    #[test]
    fn a_name_may_look_like_fields_and_where_nothing_is_told_nothing_is_read() {
        let stat = |start: &str| format!("7 (a) b) R{} {start} 4711 0", " 1".repeat(44));
        assert_eq!(range_of(stat("4700").as_bytes()), Some((4700, 4711)));
        for start in ["0", "4711", "-1", "x", "99999999999999999999"] {
            assert_eq!(range_of(stat(start).as_bytes()), None, "{start}");
        }
        assert_eq!(range_of(b""), None);
        assert_eq!(range_of(b"7 (a) R 1 2 3"), None);
    }
}
