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
