//! Who this process is, and how it gives up what it needs no longer: the sockets are open, and from there on nobody who
//! gets into the monitor is to get more than the monitor has.
//!
//! Capabilities belong to a thread: all of this is for a process that has only one yet.

use nix::errno::Errno;
use nix::unistd::{self, Gid, Uid};

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The login name.
    pub name: String,
    /// The number.
    pub uid: u32,
    /// The number of the user's own group.
    pub gid: u32,
}

/// Why privileges could not be given up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody has this name.
    #[error(
        "there is no user '{0}': make it with `useradd --system --no-create-home {0}`, or name another one"
    )]
    NoSuchUser(String),
    /// The tables of users cannot be read.
    #[error("cannot look up the user '{name}': {errno}")]
    Lookup {
        /// The name.
        name: String,
        /// What the system says.
        errno: Errno,
    },
    /// This process may not become another user.
    #[error("cannot become the user '{name}' ({errno}): start it as root, or as '{name}'")]
    Become {
        /// The user's name.
        name: String,
        /// What the system says.
        errno: Errno,
    },
    /// The kernel keeps us what we have.
    #[error("cannot give up capabilities: {0}")]
    Capabilities(String),
}

impl User {
    /// The user of this name.
    pub fn named(name: &str) -> Result<Self, Error> {
        match unistd::User::from_name(name) {
            Ok(Some(user)) => Ok(Self::from(user)),
            Ok(None) => Err(Error::NoSuchUser(name.to_owned())),
            Err(errno) => Err(Error::Lookup { name: name.to_owned(), errno }),
        }
    }

    /// The user of this number; one without a name is called by the number.
    pub fn numbered(uid: u32) -> Self {
        match unistd::User::from_uid(Uid::from_raw(uid)) {
            Ok(Some(user)) => Self::from(user),
            // A container may run as a number that no table has.
            Ok(None) | Err(_) => Self { name: uid.to_string(), uid, gid: unistd::getegid().as_raw() },
        }
    }

    /// Who this process acts as.
    pub fn current() -> Self {
        Self::numbered(unistd::geteuid().as_raw())
    }

    /// True for the one who may do anything.
    pub fn is_root(&self) -> bool {
        self.uid == 0
    }
}

impl From<unistd::User> for User {
    fn from(user: unistd::User) -> Self {
        Self { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() }
    }
}

/// Makes this process, which has one thread, one of `user` with that user's groups and without any capability; for one
/// that is `user` already, only the capabilities go.
pub fn become_user(user: &User) -> Result<(), Error> {
    if unistd::geteuid().as_raw() != user.uid {
        let refused = |errno| Error::Become { name: user.name.clone(), errno };
        let gid = Gid::from_raw(user.gid);
        set_groups(&user.name, gid).map_err(refused)?;
        unistd::setgid(gid).map_err(refused)?;
        // All three numbers of the user at once, and with them the capabilities in use.
        unistd::setuid(Uid::from_raw(user.uid)).map_err(refused)?;
    }
    if user.is_root() { Ok(()) } else { drop_capabilities() }
}

/// Gives up every capability of this process, which has one thread, also those that programs it starts would inherit.
/// Root keeps what makes it root.
#[cfg(target_os = "linux")]
pub fn drop_capabilities() -> Result<(), Error> {
    use caps::CapSet;

    if unistd::geteuid().is_root() {
        return Ok(());
    }
    // An old kernel may lack ambient ones, and then there is none to give up.
    let _ = caps::clear(None, CapSet::Ambient);
    for set in [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable] {
        caps::clear(None, set).map_err(|error| Error::Capabilities(error.to_string()))?;
    }
    Ok(())
}

/// Elsewhere there are none.
#[cfg(not(target_os = "linux"))]
pub fn drop_capabilities() -> Result<(), Error> {
    Ok(())
}

#[cfg(not(target_vendor = "apple"))]
fn set_groups(name: &str, gid: Gid) -> nix::Result<()> {
    let name = std::ffi::CString::new(name).map_err(|_| Errno::EINVAL)?;
    unistd::initgroups(&name, gid)
}

/// Apple's groups are no list that a process may set for good.
#[cfg(target_vendor = "apple")]
fn set_groups(_: &str, _: Gid) -> nix::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        let root = User::named("root").unwrap();
        assert_eq!((root.uid, root.is_root()), (0, true));
        assert_eq!(User::numbered(0), root);
        assert_eq!(User::numbered(3_999_999_999).name, "3999999999");
    }

    #[test]
    fn a_user_that_is_not_there_is_told_with_what_to_do() {
        let error = User::named("no-such-user").unwrap_err();
        assert_eq!(error, Error::NoSuchUser("no-such-user".into()));
        assert!(error.to_string().contains("useradd --system"), "{error}");
    }
}
