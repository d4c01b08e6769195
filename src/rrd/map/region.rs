//! A file in memory.
#![allow(unsafe_code)] // A map of a file can only be made so; each use says what keeps it sound.

use std::io;

use memmap2::{Mmap, MmapMut, MmapOptions};
use nix::errno::Errno;

use crate::rrd::map::Access;
use crate::rrd::map::sigbus::{Saved, Watch};

/// The whole of a regular file.
#[derive(Debug)]
pub(super) struct Region {
    // Before the map: it is not watched any more when it is given back.
    watch: Watch,
    saved: Saved,
    map: Map,
}

#[derive(Debug)]
enum Map {
    Read(Mmap),
    Write(MmapMut),
}

impl Region {
    /// Maps the first `len` bytes of the file, which should be all.
    pub(super) fn new(file: &std::fs::File, access: Access, len: u64) -> io::Result<Self> {
        let len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        if len == 0 {
            return Err(Errno::EINVAL.into());
        }
        let mut options = MmapOptions::new();
        options.len(len);
        // SAFETY: the map is of a regular file's whole length. Others who write it take its lock, which is held
        // whenever the bytes are looked at; against those who do not, no byte is relied on without bounds. Before each
        // use the length is compared under the lock, and what is cut off later is watched for.
        let map = unsafe {
            match access {
                Access::Read => Map::Read(options.map(file)?),
                Access::Write => Map::Write(options.map_mut(file)?),
            }
        };
        let start = map.bytes().as_ptr() as usize;
        Ok(Self { watch: Watch::new(start..start + len)?, saved: Saved::default(), map })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.map.bytes()
    }

    /// The bytes to be changed: none where the file was opened for reading.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.map {
            Map::Read(_) => &mut [],
            Map::Write(map) => map,
        }
    }

    /// Copies the first `len` bytes, and returns the copy: nobody can change it while it is in use.
    pub(super) fn save(&mut self, len: usize) -> &[u8] {
        self.saved.save(&self.watch, &self.map.bytes()[..len]);
        self.saved()
    }

    /// The copy that was made last.
    pub(super) fn saved(&self) -> &[u8] {
        self.saved.bytes()
    }

    /// Stores bytes at an offset that the check has bounded.
    pub(super) fn store(&mut self, offset: u64, bytes: &[u8]) {
        self.bytes_mut()[offset as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    pub(super) fn access(&self) -> Access {
        match self.map {
            Map::Read(_) => Access::Read,
            Map::Write(_) => Access::Write,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Whether some of it was not there when it was touched: what was read from it, and what was stored in it, is void.
    pub(super) fn is_torn(&self) -> bool {
        self.watch.is_torn()
    }
}

impl Map {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Read(map) => map,
            Self::Write(map) => map,
        }
    }
}
