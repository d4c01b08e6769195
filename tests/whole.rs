//! Files that are there whole, or as they were before. Needs root, for disks of its own.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use latmon::whole::{write, write_unsynced};
use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Uid, setfsuid};

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

/// Whatever is refused, the file is as it was and nothing else is left.
#[track_caller]
fn refused(path: &Path, bytes: &[u8], why: &str) {
    let folder = path.parent().unwrap();
    let (before, names_before) = (fs::read(path).ok(), names(folder));
    for write in [write, write_unsynced] {
        let error = write(path, bytes).unwrap_err().to_string();
        assert!(error.contains(&*folder.to_string_lossy()) && error.contains(why), "{error}");
        assert_eq!(fs::read(path).ok(), before);
        assert_eq!(names(folder), names_before);
    }
}

/// A mount of its own, seen by this thread only.
fn with_disk(work: impl FnOnce(&Path) + Send) {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).unwrap_or_else(|errno| {
                panic!("cannot make a mount namespace ({errno}): run this test as root")
            });
            let none: Option<&str> = None;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::empty(), Some("size=64k")).unwrap();
            work(place);
            umount(place).unwrap();
        });
    });
}

#[test]
fn a_file_is_made_and_replaced_and_what_a_crash_left_of_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.json");
    write(&path, b"one").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"one");
    // Killed while it wrote, with more than there will be.
    fs::write(folder.path().join(".state.json.tmp"), [0; 5000]).unwrap();
    write(&path, b"two").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
    write_unsynced(&path, b"three").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"three");
    assert_eq!(names(folder.path()), ["state.json"]);
}

/// Whoever has the file open reads on in the old one: the rename gives its name to another.
#[test]
fn a_reader_never_sees_half_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.json");
    write(&path, b"the old one").unwrap();
    let old = File::open(&path).unwrap();
    write(&path, b"new").unwrap();
    assert_eq!(io::read_to_string(old).unwrap(), "the old one");
}

#[test]
fn on_a_full_disk_the_file_stays_as_it_is_and_nothing_else_stays() {
    with_disk(|disk| {
        let path = disk.join("state.json");
        write(&path, b"small").unwrap();
        refused(&path, &[b'x'; 100_000], "No space left on device");
        // The room is there again.
        write(&path, &[b'y'; 20_000]).unwrap();
    });
}

#[test]
fn a_disk_that_may_not_be_written_is_told() {
    with_disk(|disk| {
        let path = disk.join("state.json");
        write(&path, b"small").unwrap();
        let none: Option<&str> = None;
        mount(none, disk, none, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, none).unwrap();
        refused(&path, b"other", "Read-only file system");
    });
}

#[test]
fn a_folder_of_somebody_else_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.json");
    write(&path, b"small").unwrap();
    // Its mode lets others look, not write.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Of this thread alone.
            setfsuid(Uid::from_raw(65_534));
            refused(&path, b"other", "Permission denied");
        });
    });
}

#[test]
fn a_folder_that_is_gone_and_a_folder_in_its_place_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone").join("state.json");
    let error = write(&gone, b"one").unwrap_err().to_string();
    assert!(error.contains("/gone/.state.json.tmp: cannot make: No such file"), "{error}");
    let place = folder.path().join("state.json");
    fs::create_dir(&place).unwrap();
    refused(&place, b"one", "cannot rename a file to: ");
    assert!(write(Path::new("/"), b"one").unwrap_err().to_string().contains("cannot make"));
}

/// A link is replaced by the file, as with every rename: what it leads to is left alone.
#[test]
fn a_link_leads_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let (other, path) = (folder.path().join("other"), folder.path().join("state.json"));
    fs::write(&other, "theirs").unwrap();
    symlink(&other, &path).unwrap();
    write(&path, b"ours").unwrap();
    assert_eq!((fs::read(&other).unwrap(), fs::read(&path).unwrap()), (b"theirs".into(), b"ours".into()));
}
