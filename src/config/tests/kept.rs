//! Settings that another process of the same run reads once more.

use super::*;

/// Links, folders of lists, patterns, a password file and names that are no text: all of it is gone by then.
#[test]
fn what_was_read_once_is_read_again_from_memory() {
    let world = World::toml(
        "include = ['conf.d/*.toml', 'link.toml']\ntargets_file = 'lists'\n[mail]\nfrom = 'a@example.org'\nto = \
         ['b@example.org']\nserver = 'smtp.example.org'\nusername = 'me'\npassword_file = 'password'\nexit = \
         'unplanned'\n[targets]\nmain = '192.0.2.1'\n",
    )
    .file("password", "very secret\n")
    .file("conf.d/a.toml", "[targets]\na = '192.0.2.2'\n")
    .file("lists/x.txt", "x 192.0.2.3\n# \u{e4}\n")
    .file("lists/y.list", "192.0.2.4\n")
    .file(".env", b"LATENCY_STEP=5\nOTHER=\xff\n");
    let folder = &world.surroundings.working_dir;
    std::os::unix::fs::symlink("conf.d/a.toml", folder.join("link.toml")).unwrap();
    let (config, kept) = load_and_keep(&world.options, &world.surroundings);
    let config = config.unwrap();
    assert_eq!(config.targets.len(), 4, "a file is read once, whatever it is called");
    assert!(!config.mail_every_end.value);

    let bytes = kept.bytes();
    std::fs::remove_dir_all(folder).unwrap();
    let again = load_kept(&world.options, &world.surroundings, Kept::read(&bytes).unwrap()).unwrap();
    assert_eq!(format!("{again:?}"), format!("{config:?}"));
    let password = |config: Config| config.mail.unwrap().server.login.unwrap().password;
    assert_eq!(password(again).reveal(), "very secret");
    // It was for that one time.
    assert!(matches!(world.load(), Err(Error::NoTargets)));
    assert!(Kept::read(b"{").is_none());
}
