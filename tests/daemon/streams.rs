//! What comes out is what went in, for ffmpeg, tstools, GStreamer and the walker.

use super::*;

#[test]
fn a_stream_comes_out_frame_for_frame_as_it_went_in() {
    let daemon = Daemon::start(CAMS);
    let folder = Folder::new();
    let [sent, received] = ["sent.flv", "received.ts"]
        .map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    let clips = ["-stream_loop", "-1", "-i", CLIP, "-t", "20", "-c", "copy"];
    Watched::run(ffmpeg().args(clips).arg(&sent)).expect_silence();

    let recording = Recording::start(daemon.http, DOOR);
    let url = format!("rtmp://127.0.0.1:{}/cams/live/door", daemon.rtmp);
    let publish =
        ["-re", "-i", &sent, "-c", "copy", "-f", "flv", "-flvflags", "no_duration_filesize", &url];
    Watched::run(ffmpeg().args(publish)).expect_silence();
    end_of(&daemon, DOOR);
    let recorder = recording.finish();
    assert_eq!(recorder.segments.len(), 20, "20 s in segments of 1 s");
    assert!(recorder.discontinuities().is_empty(), "the parameter sets do not change");
    walk(&recorder);

    fs::write(&received, recorder.joined()).unwrap();
    let pictures = [&sent, &received].map(|file| hashes(file, &["-map", "0:v"]));
    assert_eq!(pictures[0].len(), 500);
    assert_same("decoded pictures", &pictures[0], &pictures[1]);
    let sent = hashes(&sent, &["-map", "0:a", "-c", "copy"]);
    let received = hashes(&received, &["-map", "0:a", "-c", "copy", "-bsf:a", "aac_adtstoasc"]);
    assert_same("AAC frames", &sent, &received);
}

#[test]
fn every_demuxer_reads_every_segment_and_all_of_them_in_a_row() {
    let daemon = Daemon::start(CAMS);
    let recording = Recording::start(daemon.http, DOOR);
    daemon.publish("cams/live/door", 6).finish(Duration::from_secs(60)).expect_silence();
    end_of(&daemon, DOOR);
    let recorder = recording.finish();
    let folder = Folder::new();
    let segments = recorder.segments.values().map(|segment| segment.bytes.clone());
    for (number, bytes) in segments.chain([recorder.joined()]).enumerate() {
        let file = folder.path().join(format!("{number}.ts"));
        fs::write(&file, bytes).unwrap();
        let file = file.to_str().unwrap();
        Watched::run(ffmpeg().args(["-i", file, "-f", "null", "-"])).expect_silence();
        for tool in [["tsinfo", file].as_slice(), &["tsreport", "-b", file]] {
            let report = Watched::run(Command::new(tool[0]).args(&tool[1..]));
            let complains = ["!!!", "###"]
                .iter()
                .any(|mark| report.stdout.contains(mark) || report.stderr.contains(mark));
            assert!(report.status.success() && !complains, "{tool:?}: {report:?}");
            assert!(
                report.stdout.contains("Stream type 1b")
                    && report.stdout.contains("Stream type 0f")
                    || tool.len() > 2
            );
        }
        let gstreamer = "gst-launch-1.0 -q filesrc location=FILE ! tsdemux name=d \
                         d. ! queue ! h264parse ! fakesink d. ! queue ! aacparse ! fakesink";
        let parts: Vec<_> =
            gstreamer.split_whitespace().map(|part| part.replace("FILE", file)).collect();
        let debug = "mpegtsbase:3,mpegtspacketizer:3,tsdemux:3,h264parse:3,aacparse:3";
        Watched::run(Command::new(&parts[0]).args(&parts[1..]).env("GST_DEBUG", debug))
            .expect_silence();
    }
}

#[test]
fn ffmpeg_plays_a_running_stream_without_a_word_of_complaint() {
    let daemon = Daemon::start(CAMS);
    let _publisher = daemon.publish("cams/live/door", 60);
    wait_for("three segments", SOON, || {
        playlist(&daemon, DOOR).filter(|playlist| playlist.segments.len() >= 3)
    });
    Watched::run(ffmpeg().args([
        "-i",
        &daemon.url("cams/door/playlist.m3u8"),
        "-t",
        "8",
        "-f",
        "null",
        "-",
    ]))
    .expect_silence();
}

#[test]
fn video_alone_is_a_stream_of_one_track() {
    let daemon = Daemon::start(CAMS);
    let recording = Recording::start(daemon.http, DOOR);
    let publisher =
        publish_to(&format!("rtmp://127.0.0.1:{}/cams/live/door", daemon.rtmp), 5, &["-an"]);
    publisher.finish(Duration::from_secs(60)).expect_silence();
    end_of(&daemon, DOOR);
    let recorder = recording.finish();
    assert_eq!(walk(&recorder), (125, 0));
}

/// Publishes a file in real time, and returns what a viewer gets in one file: so many segments.
fn sent_and_received(daemon: &Daemon, folder: &Folder, sent: &str, segments: usize) -> String {
    let recording = Recording::start(daemon.http, DOOR);
    let url = format!("rtmp://127.0.0.1:{}/cams/live/door", daemon.rtmp);
    let publish = ["-re", "-i", sent, "-c", "copy", "-f", "flv", "-flvflags"];
    Watched::run(ffmpeg().args(publish).args(["no_duration_filesize", &url])).expect_silence();
    // ffmpeg resets a connection with an acknowledgement that it has not read, and its goodbye is lost: the heavier
    // a stream is, the more often. So its end is not waited for.
    wait_for("all segments", SOON, || {
        playlist(daemon, DOOR).filter(|playlist| playlist.segments.len() == segments)
    });
    let recorder = recording.finish();
    assert!(recorder.segments.len() == segments && recorder.discontinuities().is_empty());
    let received = folder.path().join("received.ts");
    fs::write(&received, recorder.joined()).unwrap();
    received.to_str().unwrap().to_owned()
}

#[test]
fn he_aac_sounds_over_segment_boundaries_as_it_was_sent() {
    let clip = |version: &str| {
        format!("{}/tests/data/flv/he_aac_{version}.flv", env!("CARGO_MANIFEST_DIR"))
    };
    for sent in [clip("v1"), clip("v2")] {
        let (daemon, folder) = (Daemon::start(CAMS), Folder::new());
        let received = sent_and_received(&daemon, &folder, &sent, 4);
        let sound = [&sent, &received].map(|file| hashes(file, &["-map", "0:a"]));
        assert!(sound[0].len() > 140, "{} frames", sound[0].len());
        assert_same(&sent, &sound[0], &sound[1]);
    }
}

#[test]
fn key_frames_of_a_4k_camera_arrive_whole() {
    let daemon = Daemon::start(&CAMS.replace("16MiB", "64MiB"));
    let folder = Folder::new();
    let sent = folder.path().join("sent.flv").to_str().unwrap().to_owned();
    let source = "testsrc2=s=3840x2160:r=10,noise=alls=30,format=yuv420p";
    let encode = ["-c:v", "libx264", "-preset", "ultrafast", "-qp", "36", "-g", "10"];
    let input = ["-f", "lavfi", "-i", source, "-t", "3"];
    Watched::start(ffmpeg().args(input).args(encode).arg(&sent))
        .finish(Duration::from_secs(120))
        .expect_silence();
    let mut probe = Command::new("ffprobe");
    probe.args(["-v", "error", "-show_entries", "packet=size,flags", "-of", "csv=p=0", &sent]);
    let packets = Watched::run(&mut probe).expect_silence().stdout;
    let keys = packets.lines().filter_map(|line| line.split_once(",K"));
    let bytes: Vec<u64> = keys.map(|(size, _)| size.parse().unwrap()).collect();
    assert!(bytes.len() == 3 && bytes.iter().all(|bytes| *bytes > 1 << 20), "{bytes:?}");
    let received = sent_and_received(&daemon, &folder, &sent, 3);
    daemon.logs(&["recording H.264 3840x2160"]);
    let pictures = [&sent, &received].map(|file| hashes(file, &["-map", "0:v"]));
    assert_eq!(pictures[0].len(), 30);
    assert_same("decoded pictures", &pictures[0], &pictures[1]);
}
