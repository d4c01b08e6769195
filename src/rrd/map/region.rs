//! A file in memory.
#![allow(unsafe_code)] // A map of a file can only be made so; each use says what keeps it sound.

use std::io;

use memmap2::{Mmap, MmapMut, MmapOptions};
use nix::errno::Errno;

use crate::rrd::map::Access;

#[derive(Debug)]
pub(super) enum Map {
    Read(Mmap),
    Write(MmapMut),
}

impl Map {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Read(map) => map,
            Self::Write(map) => map,
        }
    }
}

pub(super) fn map(file: &std::fs::File, access: Access, len: u64) -> io::Result<Map> {
    let len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    if len == 0 {
        return Err(Errno::EINVAL.into());
    }
    let mut options = MmapOptions::new();
    options.len(len);
    // SAFETY: the map is of a regular file's whole length. Others who write it take its lock, which is held whenever the
    // bytes are looked at; against those who do not, no byte is relied on without bounds. Before each use the length is
    // compared under the lock.
    unsafe {
        match access {
            Access::Read => options.map(file).map(Map::Read),
            Access::Write => options.map_mut(file).map(Map::Write),
        }
    }
}
