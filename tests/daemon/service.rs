//! What the units in `systemd/` count on, judged by systemd's own tools: passed sockets, readiness, the watchdog, the sandbox.

use std::{io::ErrorKind, os::unix::net::UnixDatagram, path::Path};

use super::*;

const UNITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd");

/// What `systemd-analyze security` may score, times ten: 15 is 1.5 of 10.
const EXPOSURE_MAX: &str = "--threshold=15";

#[test]
fn sockets_that_systemd_opened_come_before_those_of_the_file() {
    let [http, rtmp, file_http, file_rtmp] = free_ports();
    let folder = Folder::new();
    let config = common::write_config(&folder, CAMS, file_http, file_rtmp);
    let mut program = Command::new("systemd-socket-activate");
    for port in [http, rtmp] {
        program.arg("-l").arg(format!("127.0.0.1:{port}"));
    }
    program.arg("--fdname=http:rtmp").args(common::program()).arg("serve").arg("--config");
    // The first connection starts the daemon, and is answered by it.
    let mut daemon = Watched::start(program.arg(&config));
    wait_for("the port", SOON, || daemon.stderr().contains("Listening").then_some(()));
    assert_eq!(get(http, "/cams/nothing.ts").status, 404);
    let url = format!("rtmp://127.0.0.1:{rtmp}/cams/live/door");
    publish_to(&url, 3, &[]).finish(SOON).expect_silence();
    assert_eq!(get(http, DOOR).status, 200);
    for port in [file_http, file_rtmp] {
        let refused = TcpStream::connect(("127.0.0.1", port));
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
    let log = daemon.stderr();
    assert!(log.contains(&format!("systemd passed 127.0.0.1:{http} for Http")), "{log}");
    assert!(log.contains("listen.http of the configuration is not opened"), "{log}");
    daemon.signal("TERM");
    assert!(daemon.wait(SOON).success());
}

#[test]
fn a_stalled_engine_is_silent_to_the_watchdog() {
    let [http, rtmp] = free_ports();
    let folder = Folder::new();
    let config = common::write_config(&folder, CAMS, http, rtmp);
    let line = UnixDatagram::bind(folder.path().join("notify")).unwrap();
    let mut program = sluicegate();
    program.env("NOTIFY_SOCKET", folder.path().join("notify")).env("WATCHDOG_USEC", "500000");
    let mut daemon = Watched::start(program.arg("serve").arg("--config").arg(&config));
    assert_eq!(heard(&line, SOON).unwrap(), "READY=1");
    assert!(get(http, DOOR).status > 0, "ready, but nobody listens");
    for _ in 0..3 {
        assert_eq!(heard(&line, SOON).unwrap(), "WATCHDOG=1");
    }

    // The engine's thread reads the configuration; from a pipe that nobody writes to, it waits for ever.
    let text = fs::read(&config).unwrap();
    fs::remove_file(&config).unwrap();
    assert!(Command::new("mkfifo").arg(&config).status().unwrap().success());
    daemon.signal("HUP");
    while heard(&line, SOON).unwrap() != "RELOADING=1" {}
    assert_eq!(heard(&line, Duration::from_secs(3)), None, "a stalled engine feeds the watchdog");
    assert!(daemon.is_running());

    fs::write(&config, text).unwrap();
    assert_eq!(heard(&line, SOON).unwrap(), "READY=1");
    assert_eq!(heard(&line, SOON).unwrap(), "WATCHDOG=1");
    daemon.signal("TERM");
    while heard(&line, SOON).unwrap() != "STOPPING=1" {}
    assert!(daemon.wait(SOON).success());
}

/// What the daemon says to systemd next, if it says anything within `limit`.
fn heard(line: &UnixDatagram, limit: Duration) -> Option<String> {
    line.set_read_timeout(Some(limit)).unwrap();
    let mut bytes = [0; 256];
    let count = line.recv(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes[..count]).into_owned())
}

#[test]
fn systemd_finds_nothing_to_say_about_the_units() {
    let folder = Folder::new();
    let mut units = Vec::new();
    for entry in fs::read_dir(UNITS).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".service") || name.ends_with(".socket") {
            let text = fs::read_to_string(&path).unwrap();
            // The program is not installed here, which systemd would remark on.
            let text = text.replace("ExecStart=/usr/bin/sluicegate", "ExecStart=/bin/true");
            fs::write(folder.path().join(&name), text).unwrap();
            units.push(name);
        }
    }
    assert_eq!(verified(folder.path(), &units), "");
    // It ends well in spite of a key that it does not know: what it says is what counts.
    let socket = folder.path().join("sluicegate-rtmp.socket");
    let planted = fs::read_to_string(&socket).unwrap().replace("NoDelay", "NoDelaay");
    fs::write(&socket, planted).unwrap();
    assert!(verified(folder.path(), &units).contains("NoDelaay"));
}

fn verified(folder: &Path, units: &[String]) -> String {
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(["verify", "--man=no"]).args(units.iter().map(|unit| folder.join(unit)));
    // The empty last part stands for the system's own units.
    analyze.env("SYSTEMD_UNIT_PATH", format!("{}:", folder.display()));
    let done = Watched::run(&mut analyze);
    done.stdout + &done.stderr
}

#[test]
fn the_services_are_shut_in() {
    for unit in ["sluicegate.service", "sluicegate-key.service"] {
        let mut analyze = Command::new("systemd-analyze");
        analyze.args(["security", "--offline=true", "--no-pager", EXPOSURE_MAX]);
        let done = Watched::run(analyze.arg(Path::new(UNITS).join(unit)));
        assert!(done.status.success(), "{unit}:\n{}", done.stdout);
    }
}
