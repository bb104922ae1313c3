//! Peers that mean harm, on real sockets and in numbers: a camera and a viewer get through, and the daemon does not grow.
//!
//! They come from other addresses of the loopback network than the camera and the viewer, as they would on a LAN.

use std::{
    io::{Read, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::*;
use common::{
    machine,
    playlist_recorder::Recorded,
    publisher::{Publisher, connect_from},
};

/// Where the attackers come from.
const ATTACKER: [u8; 4] = [127, 6, 6, 6];

/// Lines about strangers that the log may have a minute.
const LOG_LINES_MAX: usize = 30;

fn door(daemon: &Daemon) -> String {
    format!("rtmp://127.0.0.1:{}/cams/live/door", daemon.rtmp)
}

/// A camera publishes and a viewer gets its playlist, each at the first attempt.
fn a_camera_and_a_viewer_get_through(daemon: &Daemon) {
    let before = playlist(daemon, DOOR).map_or(0, |list| newest(&list));
    let mut camera = Publisher::open(&door(daemon)).unwrap();
    camera.send_ms(3_000).unwrap();
    wait_for("the camera's segments", SOON, || {
        playlist(daemon, DOOR).filter(|list| newest(list) > before)
    });
    camera.stop();
}

/// The log has no more lines about the attacker than it may have after `since`.
fn the_log_is_bounded(daemon: &Daemon, since: Instant) {
    let log = daemon.process.stderr();
    let lines = log.lines().filter(|line| line.contains("127.6.6.6")).count();
    let minutes = usize::try_from(since.elapsed().as_secs()).unwrap() / 60 + 1;
    assert!((1..=LOG_LINES_MAX * minutes).contains(&lines), "{lines} lines:\n{log}");
}

/// Whether the daemon closes the connection before [`SOON`].
fn is_closed(mut stream: TcpStream) -> bool {
    let mut bytes = [0; 65_536];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

#[test]
fn connections_that_say_nothing_or_a_little_keep_nobody_out() {
    machine::take_alone();
    let daemon = Daemon::start(CAMS);
    let start = Instant::now();
    a_camera_and_a_viewer_get_through(&daemon);
    let beginnings: [(u16, &[u8]); 5] = [
        (daemon.rtmp, b""),
        (daemon.rtmp, b"\x03"),
        (daemon.rtmp, &[3; 1537]),
        (daemon.http, b""),
        (daemon.http, b"GET /cams/door/playlist.m3u8 HT"),
    ];
    for (port, beginning) in beginnings {
        // More than there are places of either kind.
        let mut held: Vec<TcpStream> = (0..200)
            .map(|_| {
                let mut stream = connect_from(ATTACKER, port).unwrap();
                // The daemon may have closed it already, to make room for the next one.
                let _ = stream.write_all(beginning);
                stream
            })
            .collect();
        a_camera_and_a_viewer_get_through(&daemon);
        // One more byte now and then does not help: a head, a handshake has its time.
        for _ in 0..6 {
            thread::sleep(Duration::from_millis(500));
            for stream in &mut held {
                let _ = stream.write_all(b"\x03");
            }
        }
        assert!(held.into_iter().all(is_closed), "{beginning:?} on {port}");
    }
    the_log_is_bounded(&daemon, start);
}

#[test]
fn slow_readers_of_segments_keep_no_viewer_out() {
    machine::take_alone();
    let daemon = Daemon::start(CAMS);
    a_camera_and_a_viewer_get_through(&daemon);
    let segment = playlist(&daemon, DOOR).unwrap().segments[0].uri.clone();
    let request = format!("GET /cams/door/{segment} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(100);
    let mut slow: Vec<TcpStream> = (0..300)
        .map(|_| {
            let mut stream = connect_from(ATTACKER, daemon.http).unwrap();
            let _ = stream.write_all(request.as_bytes());
            stream
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(get(daemon.http, DOOR).status, 200);
        // They read, so that none stalls for good.
        for stream in &mut slow {
            let _ = stream.read(&mut [0; 100]);
        }
    }
    assert!(get(daemon.http, &format!("/cams/door/{segment}")).status == 200);
}

#[test]
fn ten_thousand_connections_a_minute_leave_no_trace() {
    machine::take_alone();
    let daemon = Daemon::start(CAMS);
    // In real time, as cameras are: what comes faster than the flash takes it is lost without any attacker.
    let mut camera = daemon.publish("cams/live/door", 600);
    wait_for("a playlist", SOON, || playlist(&daemon, DOOR));
    let viewer = Recording::start(daemon.http, DOOR);
    let flood = |connections: u32| {
        for n in 0..connections {
            let port = if n % 2 == 0 { daemon.rtmp } else { daemon.http };
            let Ok(mut stream) = connect_from(ATTACKER, port) else { continue };
            let hello: &[u8] = match n % 6 {
                0 => &[3; 1 + 2 * 1536],
                1 => b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
                2 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
                3 => b"\x00\x01\x02",
                _ => b"",
            };
            let _ = stream.write_all(hello);
        }
    };
    flood(1_000);
    let before = daemon.resident_kib();
    let start = Instant::now();
    flood(10_000);
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    let seen = viewer.finish();
    let is_whole = |segment: &Recorded| !segment.entry.is_discontinuity && !segment.entry.is_gap;
    assert!(seen.segments.values().all(is_whole), "the log:\n{}", daemon.process.stderr());
    assert!(camera.is_running(), "{}", camera.stderr());
    let after = daemon.resident_kib();
    assert!(after < before + 512, "{before} KiB before, {after} KiB after");
    the_log_is_bounded(&daemon, start);
}

#[test]
fn publishers_that_are_refused_again_and_again_fill_no_log() {
    let daemon = Daemon::start(&format!("{CAMS}{VAULT}"));
    let url = format!("rtmp://127.0.0.1:{}/vault/live/safe?Signature=%0A%1b[31m", daemon.rtmp);
    let start = Instant::now();
    for _ in 0..200 {
        assert!(Publisher::open_from(ATTACKER, &url).is_err());
    }
    a_camera_and_a_viewer_get_through(&daemon);
    let log = daemon.process.stderr();
    the_log_is_bounded(&daemon, start);
    assert!(log.lines().filter(|line| line.contains("publish refused")).count() >= 20, "{log}");
    assert!(!log.contains("Signature=") && !log.contains("[31m"), "{log}");
}

#[test]
fn answers_that_nobody_reads_are_not_piled_up() {
    machine::take_alone();
    let daemon = Daemon::start(CAMS);
    a_camera_and_a_viewer_get_through(&daemon);
    let before = daemon.resident_kib();
    let segment = playlist(&daemon, DOOR).unwrap().segments[0].uri.clone();
    // 40 MB of segments, a million lists, and ten thousand RTMP answers.
    let get = |tail: &str| format!("GET /cams/{tail} HTTP/1.1\r\nHost: a\r\n\r\n");
    let requests = [get(&format!("door/{segment}")), get("door/playlist.m3u8"), get("nothing")];
    let mut floods: Vec<TcpStream> = Vec::new();
    for request in &requests {
        for _ in 0..20 {
            let stream = connect_from(ATTACKER, daemon.http).unwrap();
            stream.set_nonblocking(true).unwrap();
            let many = request.repeat(2_000);
            // As much as the sockets take.
            let _ = (&stream).write(many.as_bytes());
            floods.push(stream);
        }
    }
    let mut commands = vec![3; 1 + 2 * 1536];
    commands.extend(CONNECT);
    let create_stream = b"\x43\0\0\0\0\0\x19\x14\x02\0\x0ccreateStream\0\x40\0\0\0\0\0\0\0\x05";
    commands.extend(create_stream.repeat(10_000));
    for _ in 0..20 {
        let stream = connect_from(ATTACKER, daemon.rtmp).unwrap();
        stream.set_nonblocking(true).unwrap();
        let _ = (&stream).write(&commands);
        floods.push(stream);
    }
    a_camera_and_a_viewer_get_through(&daemon);
    let during = daemon.resident_kib();
    assert!(during < before + (6 << 10), "{before} KiB before, {during} KiB during");
    // They are given up when their time is over, without having read a byte.
    let mut open: Vec<usize> = (0..floods.len()).collect();
    let start = Instant::now();
    while !open.is_empty() {
        open.retain(|n| (&floods[*n]).write(b"\r\n").is_ok());
        assert!(start.elapsed() < Duration::from_secs(40), "{open:?} are still open");
        thread::sleep(Duration::from_millis(100));
    }
}

/// `connect` to the app `live`, in one chunk.
const CONNECT: &[u8] = b"\x03\0\0\0\0\0\x24\x14\0\0\0\0\x02\0\x07connect\0\x3f\xf0\0\0\0\0\0\0\x03\0\x03app\x02\0\x04live\0\0\x09";

#[test]
fn a_client_that_never_waits_for_its_answers_does_not_keep_the_others_waiting() {
    machine::take_alone();
    let daemon = Daemon::start(CAMS);
    let mut greedy = TcpStream::connect(("127.0.0.1", daemon.http)).unwrap();
    let mut answers = greedy.try_clone().unwrap();
    let is_done = Arc::new(AtomicBool::new(false));
    let asks = thread::spawn({
        let is_done = Arc::clone(&is_done);
        let many = b"GET /-/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".repeat(500);
        move || {
            while !is_done.load(Ordering::Relaxed) {
                greedy.write_all(&many).unwrap();
            }
            greedy.shutdown(std::net::Shutdown::Write).unwrap();
        }
    });
    let reads = thread::spawn(move || std::io::copy(&mut answers, &mut std::io::sink()).unwrap());
    thread::sleep(Duration::from_millis(300));
    // Each takes some turns of the engine: a connection, a request, an answer.
    (0..20).for_each(|_| assert_eq!(get(daemon.http, "/-/health").status, 200));
    is_done.store(true, Ordering::Relaxed);
    asks.join().unwrap();
    assert!(reads.join().unwrap() > 1_000_000, "it was not served either");
}
