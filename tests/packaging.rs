//! What brings the program onto gateways: the Yocto layer, and cards.
//!
//! Needs Python, sfdisk, e2fsprogs, dosfstools and oelint-adv; `tests/run` installs them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A folder that is removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("sluicegate-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs a line of shell in `folder`, where it must succeed.
fn shell(folder: &Path, line: &str) -> String {
    let done = Command::new("sh").arg("-ec").arg(line).current_dir(folder).output().unwrap();
    assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn the_recipe_has_the_crates_of_the_lock_file() {
    let update = Path::new(ROOT).join("yocto/update-crates");
    let done = Command::new(update).arg("--check").output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn the_layer_is_written_as_openembedded_wants_it() {
    let layer = Path::new(ROOT).join("yocto/meta-sluicegate");
    let files = shell(&layer, "find . -name '*.bb' -o -name '*.inc' -o -name '*.conf'");
    let mut lint = Command::new(Path::new(ROOT).join("target/clients/bin/oelint-adv"));
    // It would ask the home page whether it is there; tests ask nobody outside.
    lint.args(["--quiet", "--release=wrynose", "--suppress=oelint.vars.homepageping"]);
    let done = lint.args(files.lines()).current_dir(&layer).output();
    let done = done.expect("oelint-adv is missing: tests/run installs it");
    let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && files.lines().count() == 4, "{said}");
}

/// The system's partition in the image that [`image`] makes, in sectors: where it begins.
const SYSTEM_START: u32 = 10_240;

/// An image of a card with a system that looks like Debian for ARM, as far as a card's maker looks.
fn image(folder: &Path, mebibytes: u32) {
    let elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0";
    for name in ["root/usr/bin", "root/etc/systemd", "root/var/cache"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    fs::write(folder.join("root/usr/bin/dpkg"), elf).unwrap();
    fs::write(folder.join("package.deb"), "a package").unwrap();
    shell(
        folder,
        &format!(
            "truncate -s {mebibytes}M card
             printf 'label: dos\\nstart=2048, size=8192, type=c\\nstart={SYSTEM_START}, size=81920, type=83\\n' | sfdisk -q card
             mkfs.ext4 -q -d root -E offset=$(({SYSTEM_START} * 512)) card 40960k 2>&1"
        ),
    );
}

fn prepare(folder: &Path, disk: &str, more: &[&str]) -> Output {
    let mut prepare = Command::new(Path::new(ROOT).join("board/prepare-card"));
    prepare.args(["armv7-128m", disk, "--package", "package.deb"]).args(more);
    prepare.current_dir(folder).output().unwrap()
}

#[test]
fn a_card_is_shown_first_and_then_prepared() {
    let folder = Folder::new("card");
    let folder = folder.0.as_path();
    image(folder, 400);
    let before = shell(folder, "sha256sum card");
    let shown = prepare(folder, "card", &[]);
    let plan = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.status.success() && plan.contains("Nothing was done"), "{shown:?}");
    assert!(
        plan.contains("partition 3 is made") && plan.contains("/etc/sluicegate/sluicegate.toml"),
        "{plan}"
    );
    assert_eq!(shell(folder, "sha256sum card"), before, "it was to show, and wrote");

    let done = prepare(folder, "card", &["--write"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let table =
        shell(folder, "sfdisk --verify card 2>&1; sfdisk -q -l -o start,sectors card | tail -1");
    let rings_start: u64 =
        table.lines().last().unwrap().split_whitespace().next().unwrap().parse().unwrap();
    assert_eq!(rings_start * 512 % (4 << 20), 0, "not aligned to the erase block: {table}");
    // Both file systems are whole, and hold what was said, for root alone.
    let system = format!("'card?offset={}'", SYSTEM_START * 512);
    shell(
        folder,
        &format!("e2fsck -fn {system} && e2fsck -fn 'card?offset={}'", rings_start * 512),
    );
    shell(folder, &format!("debugfs -R 'rdump /etc /var .' {system} 2>&1"));
    let profile = Path::new(ROOT).join("board/armv7-128m");
    for (there, here) in [
        ("etc/sluicegate/sluicegate.toml", profile.join("sluicegate.toml")),
        ("etc/systemd/system/sluicegate.service.d/board.conf", profile.join("service.conf")),
        ("etc/sysctl.d/90-sluicegate.conf", profile.join("sysctl.conf")),
        ("var/cache/sluicegate.deb", folder.join("package.deb")),
    ] {
        assert_eq!(fs::read(folder.join(there)).unwrap(), fs::read(here).unwrap(), "{there}");
    }
    let wanted =
        folder.join("etc/systemd/system/multi-user.target.wants/sluicegate-install.service");
    assert_eq!(fs::read_link(wanted).unwrap(), Path::new("../sluicegate-install.service"));
    let owner =
        shell(folder, &format!("debugfs -R 'stat /etc/sluicegate/sluicegate.toml' {system} 2>&1"));
    assert!(
        owner.contains("Mode:  0644") && owner.contains("User:     0   Group:     0"),
        "{owner}"
    );

    let again = prepare(folder, "card", &["--write"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("already"), "{again:?}");
}

#[test]
fn a_disk_that_is_in_use_or_too_small_is_refused() {
    let folder = Folder::new("refused");
    let folder = folder.0.as_path();
    image(folder, 200);
    let system_disk = "/dev/$(lsblk -nso NAME,TYPE \"$(findmnt -no SOURCE /)\" | awk '$2 == \"disk\" {print $1}' | tr -d '└─ ')";
    let system_disk = shell(folder, &format!("echo {system_disk}"));
    for (disk, why) in [
        (system_disk.trim(), "is mounted"),
        ("/dev/null", "neither a disk nor an image"),
        ("nowhere", "is not there"),
        ("card", "too small"),
        ("package.deb", "sfdisk"),
    ] {
        let refused = prepare(folder, disk, &["--write"]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains(why), "{disk}: {said}");
    }
}
