//! Writing to people: a closed pipe ends the program quietly, where `println!` would panic.

use std::io::{self, Write};

use super::Exit;

/// Writes `text` to standard output.
pub(crate) fn print(text: &str) -> Exit {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Exit::Done,
        Err(error) => ended(&error),
    }
}

/// How the program ends after standard output failed: a reader that went away (`latmon check | head`) is no failure.
pub(crate) fn ended(error: &io::Error) -> Exit {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Exit::Done;
    }
    error_line(&format!("standard output: {error}"));
    Exit::Failed
}

/// Writes the one line of an error to standard error.
pub(crate) fn error_line(line: &str) {
    error_text(&format!("latmon: {line}\n"));
}

/// Writes `text` to standard error as it is; with standard error closed there is nobody left to tell.
pub(crate) fn error_text(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
