//! A file that one process at a time holds, with its process id in it. It is free again when the process ends, however
//! that ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

/// Why the file is not ours.
#[derive(Debug)]
pub(super) enum NotHeld {
    /// Another process has it, and may have said which one.
    Taken(Option<u32>),
    /// The system refused it.
    System(io::Error),
}

impl From<io::Error> for NotHeld {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// A file that this process holds, until this is dropped.
#[derive(Debug)]
pub(super) struct Held(File);

impl Held {
    pub(super) fn file(&self) -> &File {
        &self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Closing the file is not enough: a process that was forked in this moment has it too, until it runs its program.
        // Where that fails, its end gives the lock back.
        let _ = self.0.unlock();
    }
}

/// Locks the file, which is made where it is missing, for as long as what is returned lives.
pub(super) fn hold(path: &Path) -> Result<Held, NotHeld> {
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            // What the other one wrote is told where it can be read; the lock alone decides.
            let _ = file.take(20).read_to_string(&mut text);
            return Err(NotHeld::Taken(text.trim().parse().ok()));
        }
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes())?;
    Ok(Held(file))
}
