//! The commands around `serve`: the demonstration, and what wrong usage says.

use std::{
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::Path,
};

use sluicegate::{
    shell::ring_file::{NewRing, RingFile},
    store::{Record, geometry::Layout, inspect::Inspection, layout::Superblock},
};

use super::*;

#[test]
fn the_demonstration_plays_and_leaves_nothing_behind() {
    let folder = Folder::new();
    let [http, rtmp] = free_ports();
    let address = |port: u16| format!("127.0.0.1:{port}");
    let mut demo = Watched::start(
        sluicegate()
            .args(["demo", "--http", &address(http), "--rtmp", &address(rtmp)])
            .env("TMPDIR", folder.path()),
    );
    let printed = wait_for("the addresses", SOON, || {
        Some(demo.stdout()).filter(|text| text.contains("rtmp://"))
    });
    let url = |part: &str| {
        let is_url = |word: &&str| word.contains("://") && word.contains(part);
        let mut words = printed.split([' ', '\n', '\'', '"']).filter(is_url);
        words.next().unwrap_or_else(|| panic!("no {part} in {printed}")).to_owned()
    };
    let base = format!("http://{}", address(http));
    let play = url("playlist.m3u8?");
    let page = url("/-/play?src=");
    wait_for("the stream", SOON, || {
        (get(http, play.strip_prefix(&base).unwrap()).status == 200).then_some(())
    });
    Watched::run(ffmpeg().args(["-i", &play, "-t", "4", "-f", "null", "-"])).expect_silence();
    assert_eq!(get(http, page.strip_prefix(&base).unwrap()).status, 200);
    demo.signal("INT");
    assert!(demo.wait(SOON).success(), "{}", demo.stderr());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "files are left behind");
}

#[test]
fn exit_codes_and_messages_tell_what_happened() {
    let folder = Folder::new();
    let bad = folder.path().join("bad.toml");
    fs::write(&bad, "[listen]\nhtttp = []\n").unwrap();
    let bad = bad.to_str().unwrap();
    let latin = folder.path().join("latin.toml");
    fs::write(&latin, b"# \xc3\xbc\nregion = \"M\xfcnchen\"\n").unwrap();
    let latin = latin.to_str().unwrap();
    let table: [(&[&str], i32, &str, &str); 8] = [
        (&["--version"], 0, env!("CARGO_PKG_VERSION"), ""),
        (&["--help"], 0, "sluicegate serve", ""),
        (&[], 2, "", "--help"),
        (&["fly"], 2, "", "fly"),
        (&["serve", "--config", "/does/not/exist.toml"], 2, "", "/does/not/exist.toml"),
        (&["serve", "--config", bad], 2, "", "htttp"),
        (&["check", "--config", bad], 2, "", "htttp"),
        (
            &["check", "--config", latin],
            2,
            "",
            "latin.toml:2:12: is not UTF-8: save the file as UTF-8\n",
        ),
    ];
    for (arguments, code, stdout, stderr) in table {
        let done = Watched::run(sluicegate().args(arguments));
        assert_eq!(done.status.code(), Some(code), "{arguments:?}: {done:?}");
        assert!(
            done.stdout.contains(stdout) && done.stderr.contains(stderr),
            "{arguments:?}: {done:?}"
        );
    }
    // What could be listed is printed, and the error is one sentence.
    let config = common::write_config(&folder, CAMS, 1, 2);
    let listed = Watched::run(sluicegate().args(["store", "ls", "--config"]).arg(&config));
    assert_eq!(listed.status.code(), Some(1), "{listed:?}");
    assert!(listed.stdout.contains("cams/door"), "{listed:?}");
    assert_eq!(listed.stderr.lines().count(), 1, "{listed:?}");
    let daemon = Daemon::start(CAMS);
    Watched::run(sluicegate().arg("check").arg("--config").arg(daemon.config()));
    let second = Watched::run(sluicegate().arg("serve").arg("--config").arg(daemon.config()));
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert!(
        second.stderr.contains(&daemon.http.to_string()),
        "it says which address is taken: {}",
        second.stderr
    );
    assert!(TcpStream::connect(("127.0.0.1", daemon.http)).is_ok(), "the first one goes on");
}

#[test]
fn a_command_whose_output_is_lost_says_so_and_one_whose_reader_has_gone_does_not() {
    let daemon = Daemon::start(CAMS);
    let config = daemon.config();
    let config = config.to_str().unwrap();
    let run = |script: &str, arguments: &[&str]| {
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]).args(common::program()).args(arguments);
        Watched::run(&mut shell)
    };
    let commands: [&[&str]; 8] = [
        &["--version"],
        &["--help"],
        &["check", "--config", config],
        &["sign", "publish", "cams", "door", "--config", config],
        &["status", "--config", config],
        &["status", "--watch", "--config", config],
        &["store", "ls", "--config", config],
        &["store", "verify", "--config", config],
    ];
    for command in commands {
        let lost = run("exec \"$@\" > /dev/full", command);
        assert_eq!(lost.status.code(), Some(1), "{command:?}: {lost:?}");
        assert_eq!(lost.stderr.lines().count(), 1, "{command:?}: {lost:?}");
        assert!(lost.stderr.contains("No space left"), "{command:?}: {lost:?}");
        let left = run("{ sleep 0.2; \"$@\"; echo \"rc $?\" >&2; } | true", command);
        assert_eq!(left.stderr, "rc 0\n", "{command:?}");
    }
}

/// What a ring lists, where a segment's bytes begin, and where an index page lies that is still blank.
fn places(ring: &Path) -> (Vec<Record>, impl Fn(&Record) -> u64, u64) {
    let found = Inspection::new(RingFile::open_read_only(ring).unwrap()).unwrap();
    let layout = *found.layout();
    let body = move |record: &Record| layout.extent(record.position, 1).offset;
    (found.records, body, layout.page_offset(layout.pairs - 1, 0))
}

fn flip(ring: &Path, at: u64) {
    let mut bytes = fs::read(ring).unwrap();
    bytes[at as usize] ^= 1;
    fs::write(ring, bytes).unwrap();
}

#[test]
fn the_store_s_commands_say_all_that_is_not_whole_in_a_ring() {
    let mut daemon = Daemon::start(CAMS);
    let _camera = daemon.publish("cams/live/door", 20);
    wait_for("four segments", SOON, || {
        let reply = get(daemon.http, "/cams/door/playlist.m3u8");
        (reply.text().matches("#EXTINF").count() >= 4).then_some(())
    });
    daemon.process.kill();
    let ring = daemon.folder.path().join("store/cams/door.ring");
    let store = |verb| {
        let done =
            Watched::run(sluicegate().args(["store", verb, "--config"]).arg(daemon.config()));
        (done.status.code(), done.stdout, done.stderr)
    };
    let (records, body, blank_page) = places(&ring);
    assert_eq!(store("verify").0, Some(0));

    flip(&ring, body(records.last().unwrap()));
    flip(&ring, blank_page);
    let torn = "  1 index page is torn or damaged";
    let dropped = "  1 segment at the end never reached the flash whole";
    for verb in ["ls", "verify"] {
        // Both are what a power cut may leave.
        let (code, stdout, stderr) = store(verb);
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
        assert!(stdout.contains(torn) && stdout.contains(dropped), "{stdout}");
    }

    flip(&ring, body(&records[1]));
    let (code, stdout, stderr) = store("verify");
    assert_eq!(code, Some(1), "{stdout}");
    assert!(stderr.contains(&format!("1 of {} segments", records.len() - 1)), "{stderr}");
    let damaged = stdout.lines().find(|line| line.contains("DAMAGED")).unwrap();
    assert!(damaged.contains(&format!("{:013}.ts", records[1].start.0)), "{damaged}");
    assert!(damaged.contains("its bytes are not the ones that were sealed: CRC"), "{damaged}");
}

#[test]
fn check_warns_of_what_the_daemon_could_not_use_in_the_daemon_s_words() {
    let make_folder = |path: &Path| fs::create_dir_all(path).unwrap();
    let make_file = |path: &Path, text: &[u8]| {
        make_folder(path.parent().unwrap());
        fs::write(path, text).unwrap();
    };
    let make_ring = |path: &Path, name: &str, bytes| {
        make_folder(path.parent().unwrap());
        let superblock = Superblock::new(Layout::new(bytes).unwrap(), name).unwrap();
        let mut ring = NewRing::begin(path, superblock).unwrap();
        while ring.step().unwrap() {}
        ring.finish().unwrap();
    };
    type Mishap<'a> = &'a dyn Fn(&Path);
    let ring = "cams/door.ring";
    // What happened to the store; where, and what is wrong there: "" for nothing.
    let table: [(Mishap<'_>, &str, &str); 8] = [
        (&|_| {}, "", ""),
        (&|store| make_folder(&store.join("cams")), "", ""),
        (&|store| make_ring(&store.join(ring), "cams/door", 16 << 20), "", ""),
        (
            &|store| make_file(store, b""),
            "",
            ": opening it failed: Not a directory (os error 20); a file stands where a folder belongs: move it away",
        ),
        (
            &|store| make_file(&store.join("cams"), b""),
            "/cams",
            ": opening it failed: Not a directory (os error 20); a file stands where a folder belongs: move it away",
        ),
        (
            &|store| make_folder(&store.join(ring)),
            "/cams/door.ring",
            ": opening it failed: Is a directory (os error 21); a folder stands where the file belongs: move it away",
        ),
        (
            &|store| make_file(&store.join(ring), &[7; 20_000]),
            "/cams/door.ring",
            ": not a ring of Sluicegate, or both of its superblocks are damaged: remove the file to begin a new ring",
        ),
        (
            &|store| make_ring(&store.join(ring), "cams/door", 32 << 20),
            "/cams/door.ring",
            ": it was made with 33554432 bytes, the configuration wants 16777216: give it its old size back, or remove the file to \
             begin a new ring",
        ),
    ];
    for (mishap, place, trouble) in table {
        let folder = Folder::new();
        let [http, rtmp] = free_ports();
        let config = common::write_config(&folder, CAMS, http, rtmp);
        let store = folder.path().join("store");
        mishap(&store);
        let checked = Watched::run(sluicegate().args(["check", "--config"]).arg(&config));
        assert_eq!(checked.status.code(), Some(0), "{checked:?}");
        if trouble.is_empty() {
            assert!(!checked.stdout.contains(store.join("cams").to_str().unwrap()), "{checked:?}");
            continue;
        }
        let said = format!("{}{place}{trouble}", store.display());
        assert_eq!(checked.stdout.matches(trouble).count(), 1, "{checked:?}");
        assert!(checked.stdout.contains(&said), "{said} is not in {checked:?}");
        let daemon = Watched::start(sluicegate().args(["serve", "--config"]).arg(&config));
        let words = format!("{}/cams/door.ring{trouble}", store.display());
        wait_for(&words, SOON, || daemon.stderr().contains(&words).then_some(()));
    }
}

#[test]
fn check_warns_of_a_folder_in_which_nothing_can_be_made() {
    let folder = Folder::new();
    let config = common::write_config(&folder, CAMS, 1, 2);
    let store = folder.path().join("store");
    let set_mode = |mode| {
        Watched::run(Command::new("chmod").arg(mode).arg(&store).arg(store.join("cams")))
            .expect_silence()
    };
    fs::create_dir_all(store.join("cams")).unwrap();
    set_mode("555");
    let mut check = sluicegate();
    check.args(["check", "--config"]).arg(&config);
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        // Nothing keeps root from writing.
        check.uid(65_534).gid(65_534);
    }
    let checked = Watched::run(&mut check);
    set_mode("755");
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    for place in [&store, &store.join("cams")] {
        let said = format!(
            "{}: nothing can be made in it: Permission denied (os error 13); let the user that runs the daemon read and write there",
            place.display()
        );
        assert!(checked.stdout.contains(&said), "{said} is not in {checked:?}");
    }
}
