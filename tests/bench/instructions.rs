//! The hot paths, one after the other, for `tests/bench/instructions` to count the instructions of.
//!
//! It does what the shell does around them, without sockets, files and threads, so that a count repeats to the digit.
//! Without an argument it lists the paths; with the number of one it takes that, and what [`measured`] calls is to be counted.

#![allow(
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark stops where its input is not as it must be"
)]

#[path = "../common/flv.rs"]
mod flv;

use std::{cell::RefCell, hint::black_box, io, rc::Rc, sync::LazyLock};

use sluicegate::{
    access::{GateTime, Origin},
    api::World,
    channel::{
        Channel, Channels, SharedChannel, ingest::VideoFragment, live::PublisherId, recorder::Job,
    },
    config::{Config, catalogue::Catalogue},
    console::Vitals,
    http::{request, response::RequestId},
    publish::publish,
    respond::{Reply, respond},
    rtmp::{Event, Fragment, Session},
    store::{
        Ahead, Flash,
        buffer::BufferPool,
        geometry::Geometry,
        layout::Superblock,
        ring::{Listing, Ring},
        segment::Body,
        writer::{self, RingWriter},
    },
    units::{Millis, Now, Ticks90k, UnixMillis, UnixSecs},
};

/// The clock of the signed URLs in `data/vectors`.
const NOW: Now = Now { mono: Millis(1), wall: UnixMillis(1_700_000_000_000) };

/// What a publisher is read from at once, where the socket has that much, and what one packet of Ethernet carries.
const READ: usize = 32 << 10;
const PACKET: usize = 1448;

fn main() {
    let wanted = std::env::args().nth(1);
    let mut paths = Paths { wanted, next: 0 };
    for (chunk, read) in [(128, READ), (4096, READ), (60_000, READ), (4096, PACKET)] {
        paths.path(
            &format!("RTMP to write buffers, chunk {chunk}, reads of {read}, 2.4 MB"),
            || {
                let mut camera = Camera::new(chunk);
                let (warm_up, bytes) = camera.halves();
                camera.feed(&warm_up, read);
                move || camera.feed(&bytes, read)
            },
        );
    }
    let newest = format!("/open/test-channel/{}.ts", NOW.wall.0);
    for (path, target) in [
        ("playlist", PLAYLIST.to_owned()),
        ("playlist, signed in version 1 like its 6 segments", vector("v1_url", "v1u-seed-fixed")),
        ("playlist, signed in version 4 like its 6 segments", vector("v4_url", "v4u-process")),
        ("head of a segment", newest.clone()),
        ("head of a segment, signed in version 1", vector("v1_url", "v1u-plain-slash-safe")),
        ("head of a segment, signed in version 4", vector("v4_url", "v4u-plain")),
        ("refusal of a wrong signature", vector("v1_url", "v1u-neg-sig-byte")),
    ] {
        paths.path(path, || {
            let gateway = Gateway::new(ring(1 << 30));
            gateway.get(&target);
            move || gateway.get(&target)
        });
    }
    paths.path("playlist, the first after a segment", || {
        let gateway = Gateway::new(ring(1 << 30));
        gateway.get(PLAYLIST);
        gateway.forget_playlist();
        move || gateway.get(PLAYLIST)
    });
    for ring_mib in [64, 256, 1024, 4096] {
        for (what, target) in [("playlist", PLAYLIST), ("head of a segment", &newest)] {
            paths.path(&format!("{what}, ring of {ring_mib} MiB"), || {
                let gateway = Gateway::new(ring(ring_mib << 20));
                gateway.get(target);
                let target = target.to_owned();
                move || gateway.get(&target)
            });
        }
    }
    for ring_mib in [64, 256, 1024, 4096] {
        paths.path(&format!("opening a full ring of {ring_mib} MiB"), || {
            let geometry = geometry(ring_mib << 20);
            let mut flash = Some(recorded(geometry));
            move || {
                let flash = flash.take().unwrap();
                let (_, recovered) =
                    RingWriter::open(flash, geometry, "ring", Ahead::Nothing).unwrap();
                assert!(recovered.records.len() as u64 > ring_mib * 7);
                black_box(Ring::new(geometry, recovered));
            }
        });
    }
}

const PLAYLIST: &str = "/open/test-channel/playlist.m3u8";

/// Lists the paths, or takes the one that is wanted.
struct Paths {
    wanted: Option<String>,
    next: usize,
}

impl Paths {
    fn path<W: FnMut()>(&mut self, path: &str, prepare: impl FnOnce() -> W) {
        match &self.wanted {
            None => println!("{path}"),
            Some(wanted) if *wanted == self.next.to_string() => measured(&mut prepare()),
            Some(_) => {}
        }
        self.next += 1;
    }
}

/// What runs in here is counted.
#[inline(never)]
fn measured(work: &mut dyn FnMut()) {
    work();
    black_box(());
}

/// The target of a request that an SDK signed.
fn vector(file: &str, id: &str) -> String {
    let text = match file {
        "v1_url" => include_str!("../data/vectors/v1_url.json"),
        _ => include_str!("../data/vectors/v4_url.json"),
    };
    let json: serde_json::Value = serde_json::from_str(text).unwrap();
    let case = json["cases"].as_array().unwrap().iter().find(|case| case["id"] == id).unwrap();
    case["target"].as_str().unwrap().to_owned()
}

fn config() -> Config {
    let text = r#"
        [[access_key]]
        id = "LTAI5tVectorKey000001"
        secret = "VectorSecret0123456789abcdefABCD"
        [[bucket]]
        name = "cam-bucket"
        live_channel = [
            { name = "test-channel", frag_duration = 2, frag_count = 6 },
            { name = "test_rtmp_live", frag_duration = 2, frag_count = 6, playlist_name = "test.m3u8" },
        ]
        [[bucket]]
        name = "open"
        acl = "public-read-write"
        live_channel = [{ name = "test-channel", frag_duration = 2, frag_count = 6 }]
    "#;
    Config::parse(text, "x", &|_| Ok(String::new())).unwrap().0
}

const GATE_TIME: GateTime = GateTime { now: UnixSecs(1_700_000_000), plausible_min: UnixSecs(0) };

// ---- Viewers ----

/// All channels of the configuration, each with the same ring.
struct Gateway {
    config: Config,
    channels: Channels,
}

impl Gateway {
    fn new(mut ring: impl FnMut() -> Ring) -> Self {
        let config = config();
        let mut channels = Channels::default();
        for (bucket, channel) in config.live_channels() {
            let mut channel = Channel::new(1, bucket.name.clone(), channel.clone());
            channel.opened(ring(), NOW);
            channels.push(Rc::new(RefCell::new(channel)));
        }
        Self { config, channels }
    }

    fn channel(&self) -> &SharedChannel {
        self.channels.find("open", "test-channel").unwrap()
    }

    fn forget_playlist(&self) {
        let mut channel = self.channel().borrow_mut();
        let config = channel.config.clone();
        channel.configure(config);
    }

    /// Everything between the socket's read and its write.
    fn get(&self, target: &str) {
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: x\r\nAccept: */*\r\n\r\n"
        );
        let (request, _) = request::parse(head.as_bytes()).unwrap().unwrap();
        let world = World {
            config: &self.config,
            config_read: UnixSecs(0),
            catalogue: &Catalogue::default(),
            vitals: &Vitals::default(),
            channels: &self.channels,
            now: NOW,
            gate_time: GATE_TIME,
            request_id: RequestId { run: 1, number: 1 },
            may_wait: false,
        };
        let origin = Origin { peer: [192, 168, 1, 9].into(), local: [192, 168, 1, 5].into() };
        let Reply::Answer(response) = respond(&request, None, origin, &world) else {
            panic!("{head}")
        };
        let is_refused = head.contains("Signature=N4S1");
        assert_eq!(response.status, if is_refused { 403 } else { 200 }, "{head}");
        let mut text = String::with_capacity(512);
        response.write_head(NOW.wall.as_secs(), true, &mut text);
        black_box(text);
    }
}

// ---- Rings ----

fn geometry(ring_bytes: u64) -> Geometry {
    Geometry::new(ring_bytes, 6, 4 << 20).unwrap()
}

/// Opens rings of this size, full of segments of 128 KiB, the last of which starts at [`NOW`].
fn ring(ring_bytes: u64) -> impl FnMut() -> Ring {
    move || {
        let geometry = geometry(ring_bytes);
        let flash = Blank::new(geometry);
        let (_, recovered) = RingWriter::open(flash, geometry, "ring", Ahead::Nothing).unwrap();
        let mut ring = Ring::new(geometry, recovered);
        for n in (0..ring_bytes / SEGMENT.len() as u64).rev() {
            let seal = record(&mut ring, n);
            ring.sealed(seal.record.sequence).unwrap();
        }
        ring
    }
}

/// The flash of such a ring.
fn recorded(geometry: Geometry) -> Blank {
    let (mut writer, recovered) =
        RingWriter::open(Blank::new(geometry), geometry, "ring", Ahead::Nothing).unwrap();
    let mut ring = Ring::new(geometry, recovered);
    for n in (0..geometry.layout.file_bytes / SEGMENT.len() as u64).rev() {
        let seal = record(&mut ring, n);
        writer.write(seal.epoch, seal.record.position, &SEGMENT).unwrap();
        assert!(writer.seal(&seal, NOW.mono).unwrap());
        ring.sealed(seal.record.sequence).unwrap();
    }
    writer.flash().clone()
}

static SEGMENT: [u8; 128 << 10] = [0; 128 << 10];

/// Seals a segment that starts `n` segments of two seconds before [`NOW`].
fn record(ring: &mut Ring, n: u64) -> sluicegate::store::Seal {
    static CRC: LazyLock<u32> = LazyLock::new(|| crc32fast::hash(&SEGMENT));
    let open = ring.open_segment().unwrap();
    let bytes = SEGMENT.len() as u32;
    let body = Body { epoch: open.epoch, position: open.position, bytes, crc: *CRC };
    let listing = Listing {
        start: UnixMillis(NOW.wall.0 - n * 2000),
        duration: Ticks90k(180_000),
        target_duration_s: 2,
        is_discontinuity: false,
        is_independent: true,
    };
    ring.seal(body, listing).unwrap()
}

/// Flash whose segments are zeros, whatever is written to them.
#[derive(Clone, Debug)]
struct Blank {
    file_bytes: u64,
    /// What stands before the segments.
    index: Vec<u8>,
}

impl Blank {
    fn new(geometry: Geometry) -> Self {
        let layout = geometry.layout;
        let index = vec![0; layout.data_offset() as usize];
        let mut flash = Self { file_bytes: layout.file_bytes, index };
        writer::format(&mut flash, &Superblock::new(layout, "ring").unwrap()).unwrap();
        flash
    }
}

impl Flash for Blank {
    fn file_bytes(&mut self) -> io::Result<u64> {
        Ok(self.file_bytes)
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> io::Result<()> {
        match self.index.get(at as usize..at as usize + into.len()) {
            Some(bytes) => into.copy_from_slice(bytes),
            None => into.fill(0),
        }
        Ok(())
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        if let Some(place) = self.index.get_mut(at as usize..at as usize + bytes.len()) {
            place.copy_from_slice(bytes);
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn refresh(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// ---- A camera ----

/// A publisher of 4 Mbit/s at 25 fps with a key frame every two seconds, and the channel it publishes to.
struct Camera {
    session: Session,
    channel: SharedChannel,
    id: Option<PublisherId>,
    pool: BufferPool,
    config: Config,
    channels: Channels,
    chunk_bytes: usize,
}

impl Camera {
    /// One that has been let in.
    fn new(chunk_bytes: usize) -> Self {
        let Gateway { config, channels } = Gateway::new(ring(64 << 20));
        let channel = Rc::clone(channels.find("open", "test-channel").unwrap());
        let mut pool = BufferPool::new(4);
        pool.allow(4);
        let session = Session::new();
        let mut camera = Self { session, channel, id: None, pool, config, channels, chunk_bytes };
        let mut hello = [&[3][..], &[0; 2 * 1536]].concat();
        write_message(&mut hello, 128, 2, 1, 0, &(chunk_bytes as u32).to_be_bytes());
        let name = |text: &str| [&[2, 0, text.len() as u8], text.as_bytes()].concat();
        let number = |number: f64| [&[0], &number.to_be_bytes()[..]].concat();
        let app = [&[3, 0, 3][..], b"app", &name("open/live"), &[0, 0, 9]].concat();
        let connect = [name("connect"), number(1.0), app].concat();
        let create = [name("createStream"), number(2.0), vec![5]].concat();
        let publish =
            [name("publish"), number(3.0), vec![5], name("test-channel"), name("live")].concat();
        for command in [connect, create, publish] {
            write_message(&mut hello, chunk_bytes, 3, 20, 0, &command);
        }
        camera.feed(&hello, READ);
        assert!(camera.id.is_some(), "it was not let in");
        camera
    }

    /// Two times five seconds of its stream, the sequence headers in front.
    fn halves(&self) -> (Vec<u8>, Vec<u8>) {
        let tags = flv::tags(include_bytes!("../data/flv/b_frames.flv"));
        let headers = tags.iter().filter(|tag| tag.body[1] == 0).take(2);
        let mut halves = [Vec::new(), Vec::new()];
        for header in headers {
            self.write(&mut halves[0], header.is_video, 0, &header.body);
        }
        for ms in (0..10_000_u32).step_by(20) {
            let half = &mut halves[(ms / 5000) as usize];
            match (ms % 40 == 0, ms % 2000 == 0) {
                (true, true) => self.write(half, true, ms, &picture(0x17, 0x65, 60_000)),
                (true, false) => self.write(half, true, ms, &picture(0x27, 0x41, 18_000)),
                (false, _) => self.write(half, false, ms, &[&[0xaf, 1], &[0x21; 340][..]].concat()),
            }
        }
        halves.into()
    }

    fn write(&self, out: &mut Vec<u8>, is_video: bool, ms: u32, body: &[u8]) {
        let (stream, kind) = if is_video { (6, 9) } else { (4, 8) };
        write_message(out, self.chunk_bytes, stream, kind, ms, body);
    }

    /// Everything between the socket's read and the flash thread, in reads of this size.
    fn feed(&mut self, bytes: &[u8], read: usize) {
        for mut input in bytes.chunks(read) {
            while let Some(event) = self.session.next(&mut input).unwrap() {
                match (event, self.id) {
                    (Event::Publish(request), _) => {
                        let peer = ([127, 0, 0, 1], 1).into();
                        let admitted = publish(
                            &request,
                            peer,
                            &self.config,
                            &self.channels,
                            &mut self.pool,
                            GATE_TIME,
                            NOW,
                        );
                        self.id = Some(admitted.unwrap().1);
                        self.session.accept_publish();
                    }
                    (
                        Event::Video(Fragment { timestamp_ms, message_bytes, offset, bytes }),
                        Some(id),
                    ) => {
                        let fragment = VideoFragment { timestamp_ms, message_bytes, offset, bytes };
                        self.channel.borrow_mut().video(id, fragment, &mut self.pool, NOW).unwrap();
                    }
                    (Event::Audio { timestamp_ms, payload }, Some(id)) => {
                        self.channel.borrow_mut().audio(
                            id,
                            timestamp_ms,
                            payload,
                            &mut self.pool,
                            NOW,
                        );
                    }
                    _ => {}
                }
            }
            let mut channel = self.channel.borrow_mut();
            for job in channel.take_jobs() {
                match job {
                    Job::Write(write) => self.pool.give(write.buffer),
                    Job::Seal(seal) => drop(channel.sealed(seal.record.sequence, 0, NOW)),
                }
            }
            let waiting = self.session.output().len();
            self.session.consume_output(waiting);
        }
    }
}

/// An access unit of one slice.
fn picture(frame_type: u8, nal_header: u8, nal_bytes: u32) -> Vec<u8> {
    let mut body = vec![frame_type, 1, 0, 0, 0];
    body.extend(nal_bytes.to_be_bytes());
    body.push(nal_header);
    body.resize(9 + nal_bytes as usize, 0x9a);
    body
}

/// A message in chunks (RTMP 1.0 §5.3.1), its header whole.
fn write_message(
    out: &mut Vec<u8>,
    chunk_bytes: usize,
    stream: u8,
    kind: u8,
    ms: u32,
    body: &[u8],
) {
    out.push(stream);
    out.extend(&ms.to_be_bytes()[1..]);
    out.extend(&(body.len() as u32).to_be_bytes()[1..]);
    out.extend([kind, 1, 0, 0, 0]);
    for (n, chunk) in body.chunks(chunk_bytes).enumerate() {
        if n > 0 {
            out.push(0xC0 | stream);
        }
        out.extend(chunk);
    }
}
