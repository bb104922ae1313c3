//! Every bound of the daemon, with its reason and what happens when it is met.
//!
//! Two kinds: fixed ones are constants, the ones that the configuration sizes are summed by
//! [`memory_budget`], one line per owner. The daemon refuses to start above the configured sum.

mod budget;

pub use budget::{Budget, BudgetLine, Load, memory_budget};

// ---- The wire: RTMP ----

/// Chunk streams that one RTMP connection may use at a time.
///
/// Encoders use 3 to 8; ids may be anything up to 65,599. One more closes the connection.
pub const CHUNK_STREAMS_MAX: usize = 16;

/// Largest RTMP message that is not video (a command, metadata, an AAC frame), in bytes.
///
/// An ADTS frame cannot pass 8,191 bytes (ISO/IEC 13818-7 §6.2). A longer command closes the connection;
/// longer audio or data is read past.
pub const SMALL_MESSAGE_BYTES_MAX: usize = 8 << 10;
const _: () = assert!(SMALL_MESSAGE_BYTES_MAX < 1 << 24, "message length is 24 bits on the wire");

/// Small messages of one connection that may be half received at a time (RTMP 1.0 §5.3.1: interleaving).
///
/// One more closes the connection.
pub const SMALL_MESSAGES_HELD_MAX: usize = 4;

/// Depth of nested XML elements in a request body. LiveChannel configurations nest two deep. A deeper one is refused.
pub const XML_DEPTH_MAX: usize = 8;

/// XML elements in a request body. A LiveChannel configuration has eleven. More are refused.
pub const XML_ELEMENTS_MAX: usize = 64;

/// Depth of nested AMF0 values. Encoders nest two deep. A deeper one in a command closes the connection; metadata with one is ignored.
pub const AMF_DEPTH_MAX: usize = 8;

/// AMF0 values in one command or metadata message, nested ones counted. More have the same fate.
pub const AMF_VALUES_MAX: usize = 256;

/// Longest app, stream name or tcUrl, in bytes. ffmpeg cuts at 1,023. A longer one closes the connection.
pub const RTMP_URL_BYTES_MAX: usize = 2048;

/// Smallest acknowledgement window that an RTMP peer may set, in bytes. A smaller one is taken for this one:
/// else a peer could ask for more bytes of acknowledgements than it sends.
pub const RTMP_ACK_WINDOW_BYTES_MIN: u32 = 4 << 10;

/// Longest text that tells an encoder why it is refused, in characters. ffmpeg shows 255 bytes. The rest is cut off.
pub const RTMP_REASON_CHARS_MAX: usize = 250;

/// Longest encoder name that is kept, in characters. OBS's has 40. The rest is cut off.
pub const ENCODER_NAME_CHARS_MAX: usize = 64;

/// Bytes of replies that wait for an RTMP peer to read them: the handshake's 3,073 are the most at a time that an encoder
/// lets wait. A peer that lets more pile up is closed.
pub const RTMP_OUTPUT_BYTES_MAX: usize = 8 << 10;

/// How long an RTMP connection may take from its first byte to an accepted publish, in milliseconds.
pub const RTMP_SETUP_MS_MAX: u64 = 10_000;

/// How long a publisher may send nothing before it is taken for dead and its channel is freed, in milliseconds.
pub const RTMP_IDLE_MS_MAX: u64 = 10_000;

/// How long a refused encoder may take to read why before its connection is closed, in milliseconds.
pub const RTMP_LINGER_MS_MAX: u64 = 1_000;

/// Bytes that one connection may feed the engine in one turn before the others have theirs.
pub const TURN_BYTES_MAX: usize = 256 << 10;

/// Bytes read from a socket at once, into one buffer that all connections share.
pub const SCRATCH_BYTES: usize = 64 << 10;

// ---- Media ----

/// Longest AVCDecoderConfigurationRecord (ISO/IEC 14496-15 §5.3.3.1), in bytes.
///
/// Cameras send 30 to 60. A longer one is malformed: the track is not recorded and the log says so.
pub const AVC_CONFIG_BYTES_MAX: usize = 2048;

/// Longest AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1) that is looked at, in bytes.
pub const AUDIO_CONFIG_BYTES_MAX: usize = 64;

/// First bytes of an access unit that are gathered before it is muxed, to see whether it holds an IDR picture.
///
/// AUD, parameter sets and the usual SEI fit; where they do not, the FLV frame type decides.
pub const ACCESS_UNIT_PREFIX_BYTES_MAX: usize = 1024;

/// Audio gathered for one PES packet, in bytes; more starts the next packet.
pub const AUDIO_PES_BYTES_MAX: usize = 8 << 10;

/// Audio gathered for one PES packet, in 90 kHz ticks (0.2 s); more starts the next packet.
pub const AUDIO_PES_TICKS_MAX: i64 = 18_000;

/// Longest stretch without a PCR, in 90 kHz ticks (ISO/IEC 13818-1 §2.7.2: 100 ms).
pub const PCR_TICKS_MAX: i64 = 9_000;

/// How far a timestamp may lie from the one before it without being doubted, in milliseconds.
///
/// A lone one further away is stamped anew; [`TIMESTAMP_OUTLIERS_MAX`] in a row are a new timeline.
pub const TIMESTAMP_STEP_MS_MAX: i64 = 5_000;

/// Doubted timestamps in a row after which the camera's clock is believed to have jumped.
pub const TIMESTAMP_OUTLIERS_MAX: u32 = 3;

/// How far a timestamp may lie behind the track's last one without being doubted, in milliseconds.
///
/// Encoders that stamp on arrival step back by some tens of milliseconds: such a frame comes one tick after the one
/// before it. Further back it is doubted like one that lies too far ahead.
pub const TIMESTAMP_BACK_MS_MAX: i64 = 500;

/// By how much decoding times are put forward for an encoder whose composition offsets are negative, in milliseconds.
///
/// Reordering over three pictures at 5 fps needs 600. A picture that would need more is shown when it is decoded.
pub const COMPOSITION_SHIFT_MS_MAX: i64 = 1_000;

/// Fewest access units in a segment: some players stall on segments of a single picture, so a 1 fps camera's are longer.
pub const SEGMENT_FRAMES_MIN: u32 = 2;

/// A segment without a key frame is cut after this many seconds or twice FragDuration, whichever is longer (OSS's rule).
pub const FORCED_CUT_SECS_MIN: u32 = 60;

/// How long a publisher may send pictures without a key frame to begin with before the log says so, in milliseconds.
pub const KEY_FRAME_WAIT_MS_MAX: i64 = 10_000;

/// How long the first segment waits for a track that was announced and has not come, in milliseconds of media time.
pub const TRACK_WAIT_MS_MAX: i64 = 1_000;

// ---- Low latency ----

/// Shortest part of a segment, in milliseconds. A shorter one is refused: a viewer asks for each.
pub const PART_MS_MIN: u32 = 100;

/// Parts of one segment. One that would have more is listed without parts.
pub const PARTS_PER_SEGMENT_MAX: usize = 64;

/// Segments whose parts are kept, the open one among them: those that end within three target durations of the newest part, and
/// one that waits for its sync. Parts of older ones are not listed any more.
pub const PARTED_SEGMENTS_MAX: usize = 5;

/// How far the start of an open segment that is listed in parts may lie behind the end of the one before, in milliseconds.
///
/// After a power cut names skip this much, because the segment may have been listed. One that starts later is listed when it
/// is complete.
pub const PARTS_AHEAD_MS: u64 = 2_000;

/// How much of a target duration a playlist is held back for a part that does not come, in percent.
///
/// hls.js gives a playlist up after 80 %; then it is answered as it is.
pub const HOLD_PERCENT_OF_TARGET: u64 = 70;

// ---- The store ----

/// What the store aligns segments to, in bytes: the page of every file system and card in question.
pub const PAGE_BYTES: usize = 4096;

/// One write to flash, in bytes. Smaller ones cost a card more than they save in memory.
pub const WRITE_BYTES: usize = 64 << 10;
const _: () = assert!(WRITE_BYTES.is_multiple_of(PAGE_BYTES), "writes start on a page");

/// Write buffers per publisher, on average over all: one being filled, one on its way to flash.
///
/// They are one pool. When it is empty the publishers are left unread for [`FLASH_WAIT_MS_MAX`]; then the channel that
/// asks loses its segment, counts it, and starts the next one at a key frame.
pub const WRITE_BUFFERS_PER_PUBLISHER: usize = 2;

/// Write buffers in the pool beside those, as soon as there is a publisher: a burst needs one more than it fills.
pub const WRITE_BUFFERS_SHARED: usize = 1;

/// Bytes read from a publisher at once: with the packets around them they fit one write buffer.
pub const PUBLISHER_READ_BYTES: usize = WRITE_BYTES / 4 * 3;

/// What a publisher's socket gathers before it is read, in milliseconds of its recent rate, up to
/// [`READ_LOW_BYTES_MAX`].
///
/// A key frame is more than that, so a segment is cut when its first bytes arrive.
pub const READ_PACE_MS: usize = 80;

/// The most that it gathers, in bytes. Frames come as a whole, so there is more when it is read; that fits one read.
pub const READ_LOW_BYTES_MAX: usize = WRITE_BYTES / 2;
const _: () = assert!(READ_LOW_BYTES_MAX < PUBLISHER_READ_BYTES, "one read takes it, and more");

/// The same for a channel with low latency: half a picture at 25 fps.
pub const READ_PACE_LOW_LATENCY_MS: usize = 20;

/// Buffers that one such read may need: the one that it fills up is there; a segment that is cut in the middle of it
/// takes another for each side of the cut.
pub const WRITE_BUFFERS_PER_READ: usize = 2;

/// How long a publisher is not read from because all write buffers are on their way to flash, in milliseconds.
///
/// Its own socket holds what it sends meanwhile. Then it is read from again, and its segment is lost.
pub const FLASH_WAIT_MS_MAX: u64 = 1_000;

/// First and longest pause before a ring that fails is opened anew, in milliseconds. Each try doubles it, a segment that is sealed ends it.
///
/// Segments are offered to a failing card all the while: this is for cards that were changed or mounted again.
pub const RING_RETRY_MS_MIN: u64 = 10_000;
/// See [`RING_RETRY_MS_MIN`].
pub const RING_RETRY_MS_MAX: u64 = 60_000;

/// How often the log says of a channel that it loses segments, in milliseconds. The number adds up meanwhile.
pub const FLASH_REPORT_MS: u64 = 60_000;

/// Largest segment, in bytes, on a ring of any size: 5 s at 50 Mbit/s. A larger one is cut without a key frame.
pub const SEGMENT_BYTES_MAX: u64 = 32 << 20;

/// Smallest bound that a ring may put on its segments, in bytes. A ring too small for that is refused.
pub const SEGMENT_BYTES_MIN: u64 = 512 << 10;

/// Bytes ahead of a new segment's room that are given up before they are overwritten: who is reading there has been cut off for a
/// while when the first write comes.
pub const GUARD_BYTES: u64 = 256 << 10;

/// Size of a segment for which a ring's index has room, in bytes: at smaller ones the index is full before the ring is.
pub const INDEXED_SEGMENT_BYTES: u64 = 128 << 10;

/// Longest name of a ring, in bytes: a bucket's 63, a slash, a LiveChannel's 63. The configuration refuses longer ones,
/// and so does making a ring.
pub const RING_NAME_BYTES_MAX: usize = 127;

/// Sealed segments of one ring that wait for the flash thread to say that they are on flash.
///
/// With one more the card is a whole playlist behind: no segment is opened, the channel counts one as lost.
pub const SEALS_IN_FLIGHT_MAX: usize = 8;

/// How long a listed segment may wait for its sync where durability is `relaxed`, in milliseconds.
pub const RELAXED_SYNC_MS: u64 = 10_000;

/// Segments that may be listed ahead of their sync where durability is `relaxed`; the next one waits for it.
///
/// After a power cut media sequence numbers skip this many, because any of them may have been listed.
pub const RELAXED_SEGMENTS_MAX: u64 = 16;

/// Media time that may be listed ahead of its sync where durability is `relaxed`, in milliseconds; a segment that
/// ends later waits for it. After a power cut names skip this much, because any of them may have been listed.
pub const RELAXED_AHEAD_MS: u64 = 30_000;

/// Jobs that wait for the flash thread and are neither writes nor seals; one more is refused.
///
/// Writes are bounded by their buffers, seals by [`SEALS_IN_FLIGHT_MAX`]: they are never refused, a segment would lack a piece.
pub const FLASH_JOBS_MAX: usize = 2048;
const _: () =
    assert!(FLASH_JOBS_MAX > CHANNELS_MAX as usize, "all rings are opened and closed at once");

/// Segments that the flash thread reads through for viewers at a time. One more is refused and may be asked for again.
pub const FLASH_LOADS_MAX: usize = 64;

/// What the flash thread reads for a viewer, or fills of a ring being made, between two jobs, in bytes:
/// about 15 ms of a slow card, which is how long a camera's write waits for it.
pub const FLASH_STEP_BYTES: usize = 256 << 10;
const _: () = assert!(FLASH_STEP_BYTES.is_multiple_of(PAGE_BYTES), "rings are filled by the page");

/// A segment is sent straight from the page cache for this long after it was written or checked; then, and where the cache
/// has let go of it before, the flash thread reads it through once more first.
pub const SEGMENT_WARM_MS: u64 = 30_000;

/// How much later than players would wait for it a segment may be listed before its channel counts as late, in
/// milliseconds: a slow card's sync.
pub const SEGMENT_LATE_SLACK_MS: u64 = 2_000;

// ---- HTTP ----

/// Viewers of one channel that are told apart. One more is served and not counted.
pub const AUDIENCE_MAX: usize = 64;

/// Longest answer that `sluicegate status` reads, in bytes: as many channels as there may be take half of it. The rest is cut off.
pub const STATUS_BYTES_MAX: u64 = 4 << 20;

/// How long the publish and play URLs are good for that the console shows, in seconds; never longer than the link that
/// it was opened with.
pub const CONSOLE_URL_SECS: u64 = 24 * 3600;

/// Longest request head, in bytes. A longer one is answered 431 and closed.
pub const HTTP_HEAD_BYTES_MAX: usize = 8 << 10;

/// Longest request body, in bytes: an OSS client's LiveChannel configuration has 400. A longer one is refused before it is read.
pub const HTTP_BODY_BYTES_MAX: usize = 64 << 10;

/// Request bodies that are half received at a time. One more is answered 503.
pub const HTTP_BODIES_HELD_MAX: usize = 4;

/// How long a request body may take, in milliseconds. Then the connection is closed and nothing has changed.
pub const HTTP_BODY_MS_MAX: u64 = 10_000;

/// Changes of LiveChannels and recordings that wait for their turn on flash. One more is answered 503.
pub const CHANGES_WAITING_MAX: usize = 16;

/// How long a change may wait for the flash before its client is told to look later whether it was made, in milliseconds.
pub const CHANGE_MS_MAX: u64 = 20_000;

/// Header lines in one request. More are answered 431.
pub const HTTP_HEADERS_MAX: usize = 64;

/// How long a request head may take from its first byte, in milliseconds.
pub const HTTP_HEAD_MS_MAX: u64 = 10_000;

/// How long a kept-alive connection may say nothing, in milliseconds.
pub const HTTP_IDLE_MS_MAX: u64 = 60_000;

/// How long a response may make no progress because its reader does not read, in milliseconds.
pub const HTTP_STALL_MS_MAX: u64 = 15_000;

/// Parameters in one query, of an HTTP or RTMP URL. SDKs send 12 at most. More are answered 400, or the publisher is refused.
pub const QUERY_PAIRS_MAX: usize = 32;

/// How much of a Referer is matched against patterns, in bytes. Browsers send an origin, seldom more than a few hundred.
///
/// The rest is not looked at, so that no request can buy more matching than this.
pub const REFERER_BYTES_MAX: usize = 1024;

/// Longest `x-oss-hls-sign-token`, in bytes (OSS: hls/sign). A longer one is answered 400.
pub const HLS_SIGN_TOKEN_BYTES_MAX: usize = 100;

/// How long a connection that is being closed may still send before it is cut, in milliseconds.
pub const HTTP_LINGER_MS_MAX: u64 = 1_000;

/// Requests of one connection that are answered in one turn, where they are there already, before the others have theirs.
pub const HTTP_ANSWERS_PER_TURN_MAX: u32 = 8;

/// Reads of what a closing connection still sends. One that sends more is cut.
pub const LINGER_READS_MAX: usize = 16;

/// Largest playlist text, in bytes (OSS: 1 MB for hls/sign).
pub const PLAYLIST_BYTES_MAX: usize = 1 << 20;

/// Bytes of a segment handed to the kernel at a time, so that the lease is looked at in between.
pub const SEND_SLICE_BYTES: usize = SCRATCH_BYTES;

/// What the kernel may hold for one viewer that reads slowly, in bytes; Linux doubles it for its own needs, and has a bound of its own.
///
/// Left alone it holds up to 4 MiB each, which hundreds of viewers would take from the cameras. This much still carries
/// 20 Mbit/s over 100 ms of way.
pub const HTTP_SEND_BUFFER_BYTES: usize = 256 << 10;

// ---- The shell ----

/// Connections that wait to be accepted. The kernel turns away what is above it.
pub const LISTEN_BACKLOG: i32 = 128;

/// Pause after a connection could not be accepted, in milliseconds.
pub const ACCEPT_PAUSE_MS: u64 = 100;

/// How often the engine looks at what only time changes: streams that have ended, buffers nobody uses. In milliseconds.
pub const TICK_MS: u64 = 1_000;

/// How long the flash may take to seal and sync when the daemon is told to stop, in milliseconds.
pub const SHUTDOWN_MS_MAX: u64 = 1_700;

/// A stream that broke off is taken for ended, and its playlist closed, after this long, in milliseconds.
///
/// Long enough for a camera to come back, so that players wait for it instead of giving up.
pub const BROKEN_STREAM_MS_MAX: u64 = 30_000;

/// After a restart a stream whose last segment is older than this has ended, in milliseconds: no box takes so long to start, during
/// which no camera could come back.
pub const RESTART_MS_MAX: u64 = 600_000;

/// For how long lines of the log about peers are counted, in milliseconds.
pub const LOG_WINDOW_MS: u64 = 60_000;

/// Lines of the log in that time about peers that were not let in. More are counted, and told in one line.
///
/// At 150 bytes a line, a flood that never ends writes 6.5 MB a day.
pub const STRANGER_LOG_LINES_MAX: u64 = 30;

/// Lines of the log in that time about peers that publish. More are counted, and told in one line.
///
/// A camera that connects and breaks off writes three: all of a large house may do so at once, none may do so for ever.
pub const PUBLISHER_LOG_LINES_MAX: u64 = 120;

// ---- Time ----

/// No moment before 2026-01-01 is believed: a box without a battery-backed clock starts in 1970 or at its last shutdown.
pub const PLAUSIBLE_UNIX_SECS_MIN: u64 = 1_767_225_600;

/// How far a header-signed request's clock may be off, and a signed URL's date ahead, in seconds (OSS: 15 minutes).
pub const SIGNATURE_SKEW_SECS_MAX: u64 = 900;

/// Longest life of a V4-signed URL, in seconds (OSS: seven days). One that asks for more is refused.
pub const V4_EXPIRES_SECS_MAX: u64 = 604_800;

/// Longest object key, in bytes: OSS's rule. A longer one is refused as InvalidObjectName, so that no answer repeats it: SDKs read
/// 4096 bytes of an error.
pub const OBJECT_KEY_BYTES_MAX: usize = 1023;

// ---- The configuration ----

/// Longest configuration file, in bytes: a thousand channels fit. A longer one is refused unread.
pub const CONFIG_BYTES_MAX: usize = 1 << 20;

/// Access keys that are valid at a time. Rotation needs two; every signature is looked up among them. More are refused.
pub const ACCESS_KEYS_MAX: usize = 64;

/// Longest AccessKeyId and longest AccessKeySecret, in bytes. OSS's have 30 at most; a longer one is refused.
pub const ACCESS_KEY_BYTES_MAX: usize = 128;

/// Buckets. More are refused.
pub const BUCKETS_MAX: usize = 256;

/// LiveChannels in all buckets together, those that PutLiveChannel may create included. More are refused.
pub const CHANNELS_MAX: u32 = 1024;

/// Publishers that a configuration may ask for: one for each channel. More are refused.
pub const PUBLISHERS_MAX: u32 = CHANNELS_MAX;

/// Viewers that a configuration may ask for: file descriptors are counted in 16 bits on more than one system. More are refused.
pub const VIEWERS_MAX: u32 = 60_000;

/// Largest ring, in bytes: two days at 50 Mbit/s; sums of them stay far below 2^63. A larger one is refused.
pub const RING_BYTES_MAX: u64 = 1 << 40;

/// Addresses to listen on, of each kind. More are refused.
pub const LISTEN_ADDRESSES_MAX: usize = 16;

/// Host names of one bucket. More are refused.
pub const BUCKET_HOSTS_MAX: usize = 32;

/// Referer patterns in one list. Every request is matched against all of them. More are refused.
pub const REFERER_PATTERNS_MAX: usize = 128;

/// Longest Referer pattern, origin or header name in the configuration, in bytes. A longer one is refused.
pub const PATTERN_BYTES_MAX: usize = 256;

/// CORS rules of one bucket (OSS: ten). More are refused.
pub const CORS_RULES_MAX: usize = 10;

/// Origins, methods or headers in one CORS rule. More are refused.
pub const CORS_VALUES_MAX: usize = 32;

/// Longest text of the catalogue of what was made over the API, in bytes: a few hundred channels and recordings.
///
/// A call that would make it longer is refused, and says to delete recordings.
pub const CATALOGUE_BYTES_MAX: usize = 128 << 10;

/// Smallest and largest erase block that a ring is aligned to, in bytes. SD cards have 4 MiB, NOR flash 4 KiB. Others are refused.
pub const FLASH_BLOCK_BYTES: std::ops::RangeInclusive<u64> = 4 << 10..=64 << 20;

// ---- Memory as a sum ----

/// RTMP connections beside those that publish. With one more, whoever has the most of them loses the oldest.
pub const RTMP_WAITING_MAX: usize = 16;

/// Request heads that are half received at a time; whole ones need no room of their own.
///
/// One more is answered 503.
pub const HTTP_HEADS_HELD_MAX: usize = 32;

/// Playlists, XML and pages that wait for their readers to take them, and requests that are held until a part is
/// there, in bytes, all connections together.
///
/// Above it the next answer's connection is closed, and the next request that would be held is answered 503.
pub const HTTP_TEXT_BYTES_HELD_MAX: usize = 4 << 20;

/// Code and static data that are resident, the stacks of both threads, and what the allocator keeps, in bytes.
const PROGRAM_BYTES: u64 = 4 << 20;

/// State of one RTMP connection beside its buffers, in bytes.
const RTMP_SESSION_BYTES: u64 = 8 << 10;

/// State of one HTTP connection that holds no request, in bytes.
const HTTP_CONNECTION_BYTES: u64 = 2 << 10;

/// State of one channel beside its ring's index: names, counters, its last ten publishers, its viewers, one index page.
/// In bytes.
const CHANNEL_BYTES: u64 = 8 << 10;

/// What is known of one channel's parts, in bytes: 32 each, and a line of the playlist, which is kept as it is and packed.
const PARTS_BYTES: u64 = (PARTED_SEGMENTS_MAX * PARTS_PER_SEGMENT_MAX * 192) as u64;

/// The catalogue in memory takes about twice its text: it is held as it is and as it will be, and as text.
const CATALOGUES_HELD: u64 = 6;

/// State of one DEFLATE compressor (RFC 1951), which all playlists share, in bytes.
const DEFLATE_BYTES: u64 = 384 << 10;
