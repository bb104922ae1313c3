//! Viewers that hardly read, or stop: the ring moves on, nobody else notices, and what they get is what was sealed or a broken connection.

use std::{
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
};

use rustix::net::{
    AddressFamily, SocketType, connect, socket, sockopt::set_socket_recv_buffer_size,
};

use super::*;
use common::machine;

const SMALL: &str = r#"
[limits]
viewers = 400
[[bucket]]
name = "cams"
acl = "public-read-write"
  [[bucket.live_channel]]
  name = "door"
  frag_duration = 1
  frag_count = 6
  ring = "24MiB"
"#;

/// A connection whose window is so small that what is sent waits on the other side.
fn narrow(daemon: &Daemon, target: &str, header: &str) -> TcpStream {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    set_socket_recv_buffer_size(&socket, 4096).unwrap();
    connect(&socket, &SocketAddr::from(([127, 0, 0, 1], daemon.http))).unwrap();
    let mut stream = TcpStream::from(socket);
    let request = format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

/// What comes until the connection ends, or as many bytes as an answer with this body has.
fn rest(stream: &mut TcpStream, got: &mut Vec<u8>, body_bytes: usize) {
    let mut buffer = [0; 4096];
    loop {
        let head_bytes = got.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4);
        if head_bytes.is_some_and(|head| got.len() >= head + body_bytes) {
            return;
        }
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => got.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
            Err(error) => panic!("neither bytes nor an end: {error}"),
        }
    }
}

fn body(got: &[u8]) -> &[u8] {
    let head = got.windows(4).position(|end| end == b"\r\n\r\n").unwrap();
    &got[head + 4..]
}

/// A camera whose segments weigh a megabyte, at three times its speed: the ring is full again every few seconds.
fn heavy_camera(daemon: &Daemon) -> Watched {
    let clip = daemon.folder.path().join("heavy.flv");
    let noise = "nullsrc=size=640x360:rate=25,noise=alls=100:allf=t,format=yuv420p";
    let coded =
        "-c:v libx264 -preset ultrafast -g 25 -keyint_min 25 -b:v 8M -maxrate 8M -bufsize 8M -t 6";
    let mut encode = ffmpeg();
    encode.args(["-f", "lavfi", "-i", noise]).args(coded.split(' ')).arg(&clip);
    Watched::run(&mut encode).expect_silence();
    let url = format!("rtmp://127.0.0.1:{}/cams/live/door", daemon.rtmp);
    let input = ["-readrate", "3", "-stream_loop", "-1", "-i", clip.to_str().unwrap()];
    Watched::start(ffmpeg().args(input).args(["-t", "6000", "-c", "copy", "-f", "flv", &url]))
}

#[test]
fn hundreds_of_viewers_that_hardly_read_hold_up_nobody_and_get_no_other_bytes() {
    machine::take_alone();
    let daemon = Daemon::start(SMALL);
    let _camera = heavy_camera(&daemon);
    wait_for("segments", SOON, || playlist(&daemon, DOOR).filter(|playlist| newest(playlist) > 5));
    let before_kib = daemon.process.resident_kib();
    let mut viewers = Vec::new();
    for nth in 0..300 {
        let listed = playlist(&daemon, DOOR).unwrap();
        let target = format!("/cams/door/{}", listed.segments.last().unwrap().uri);
        let sealed = get(daemon.http, &target).body;
        let header = if nth % 2 == 0 { "" } else { "Connection: close\r\n" };
        viewers.push((nth, narrow(&daemon, &target, header), sealed, Vec::new()));
    }
    // A third reads about 1 KiB/s, a third stops, a third stops after the head; meanwhile the ring goes round.
    let first = newest(&playlist(&daemon, DOOR).unwrap());
    let mut most_kib = 0;
    let start = Instant::now();
    let lap = 24;
    while newest(&playlist(&daemon, DOOR).unwrap()) < first + 2 * lap {
        assert!(start.elapsed() < 6 * SOON, "the ring does not move on");
        for (nth, stream, _, got) in &mut viewers {
            let mut piece = [0; 256];
            if (*nth % 3 == 0 || (*nth % 3 == 1 && got.is_empty()))
                && let Ok(read) = stream.read(&mut piece)
            {
                got.extend_from_slice(&piece[..read]);
            }
        }
        most_kib = most_kib.max(daemon.process.resident_kib());
        // The others are served as ever.
        let listed = playlist(&daemon, DOOR).unwrap();
        let target = format!("/cams/door/{}", listed.segments.last().unwrap().uri);
        assert_eq!(get(daemon.http, &target).status, 200);
        thread::sleep(Duration::from_millis(250));
    }
    let (mut whole, mut cut) = (0, 0);
    for (nth, mut stream, sealed, mut got) in viewers {
        rest(&mut stream, &mut got, sealed.len());
        if got.is_empty() {
            cut += 1;
            continue;
        }
        let body = body(&got);
        let head = String::from_utf8_lossy(&got[..got.len() - body.len()]);
        let at = sealed.iter().zip(body).position(|(sealed, got)| sealed != got);
        assert!(
            sealed.starts_with(body),
            "viewer {nth} was sent other bytes at {at:?}, {} of {}: {head}",
            body.len(),
            sealed.len()
        );
        *if body.len() == sealed.len() { &mut whole } else { &mut cut } += 1;
    }
    println!(
        "{whole} had it all, {cut} were cut off; {before_kib} KiB before, at most {most_kib} KiB"
    );
    assert!(cut > 0, "nobody was slow enough");
    // 300 connections; the budget says 2 KiB each.
    assert!(most_kib < before_kib + 4096, "{before_kib} KiB before, at most {most_kib} KiB");
}
