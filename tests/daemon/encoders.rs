//! Publishers that nobody here wrote, each with a signed URL: ffmpeg, GStreamer's two elements, a program on librtmp, OBS.
//!
//! Each publishes the built-in clip (OBS a picture of its own), every picture and AAC frame arrives, and each
//! that is refused says so in its own way.

use super::*;

/// A channel that takes only signed publishers, and the address of one.
struct Vault {
    daemon: Daemon,
    url: String,
}

const SAFE: &str = "/vault/safe/playlist.m3u8";

/// The clip's pictures and AAC frames.
const WHOLE: (usize, usize) = (200, 375);

impl Vault {
    fn new() -> Self {
        let readable = VAULT.replace("\"vault\"", "\"vault\"\nacl = \"public-read\"");
        let daemon = Daemon::start(&readable);
        let mut sign = sluicegate();
        sign.args(["sign", "publish", "vault", "safe", "--raw", "--config"]).arg(daemon.config());
        sign.args(["--url", &format!("rtmp://127.0.0.1:{}", daemon.rtmp)]);
        let url = Watched::run(&mut sign).expect_silence().stdout.trim().to_owned();
        Self { daemon, url }
    }

    /// The same address with another signature.
    fn forged(&self) -> String {
        let (head, _) = self.url.split_once("Signature=").unwrap();
        format!("{head}Signature=AAAAAAAAAAAAAAAAAAAAAAAAAAA%3D")
    }

    /// Runs a publisher of the whole clip to its end: all of it arrives, and the log says who it was.
    fn takes_the_clip_from(&mut self, publisher: &mut Command, encoder: &str) {
        let recording = Recording::start(self.daemon.http, SAFE);
        let ended = Watched::start(publisher).finish(Duration::from_secs(60));
        assert!(ended.status.success(), "{encoder}: {ended:?}");
        end_of(&self.daemon, SAFE);
        let recorder = recording.finish();
        assert_eq!(walk(&recorder), WHOLE, "{encoder}");
        self.daemon.logs(&[
            "recording H.264 640x360 25 fps, AAC 48000 Hz mono",
            "vault/safe",
            encoder,
        ]);
        self.daemon.logs(&["publishing ended", "vault/safe", encoder]);
    }

    /// Runs a publisher whose signature is wrong, and returns what it said.
    fn refuses(&mut self, publisher: &mut Command) -> String {
        let mut refused = Watched::start(publisher);
        self.daemon.logs(&["publish refused", "vault/safe", "signature"]);
        refused.wait(SOON);
        let refused = refused.finish(SOON);
        assert!(!refused.status.success(), "{refused:?}");
        refused.stdout + &refused.stderr
    }
}

fn by_ffmpeg(url: &str) -> Command {
    let mut command = ffmpeg();
    command.args([
        "-re",
        "-i",
        CLIP,
        "-c",
        "copy",
        "-f",
        "flv",
        "-flvflags",
        "no_duration_filesize",
    ]);
    command.arg(url);
    command
}

fn by_gstreamer(element: &str, url: &str) -> Command {
    let [from, to] = [format!("location={CLIP}"), format!("location={url}")];
    let mut command = Command::new("gst-launch-1.0");
    command.args(["-q", "filesrc", &from, "!", "flvdemux", "name=d"]);
    command.args(["d.video", "!", "queue", "!", "h264parse", "!", "m."]);
    command.args(["d.audio", "!", "queue", "!", "aacparse", "!", "m."]);
    command.args(["flvmux", "name=m", "streamable=true", "!", element, &to]);
    command
}

/// A small program that is compiled for the occasion.
fn by_librtmp(folder: &Folder, url: &str) -> Command {
    let program = folder.path().join("librtmp_publish");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/librtmp_publish.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-O1", "-Wall", "-o"]).arg(&program).args([source, "-lrtmp"]);
    Watched::run(&mut compiler).expect_silence();
    let mut command = Command::new(program);
    command.args([CLIP, url]);
    command
}

#[test]
fn ffmpeg_publishes_and_shows_why_it_is_refused() {
    let mut vault = Vault::new();
    let said = vault.refuses(&mut by_ffmpeg(&vault.forged()));
    assert!(said.contains("SignatureDoesNotMatch"), "{said}");
    vault.takes_the_clip_from(&mut by_ffmpeg(&vault.url.clone()), "Lavf");
}

#[test]
fn gstreamers_rtmp2sink_publishes_and_shows_why_it_is_refused() {
    let mut vault = Vault::new();
    let said = vault.refuses(&mut by_gstreamer("rtmp2sink", &vault.forged()));
    assert!(said.contains("SignatureDoesNotMatch"), "{said}");
    vault.takes_the_clip_from(&mut by_gstreamer("rtmp2sink", &vault.url.clone()), "GStreamer");
}

#[test]
fn gstreamers_rtmpsink_publishes_and_fails_where_it_is_refused() {
    let mut vault = Vault::new();
    vault.refuses(&mut by_gstreamer("rtmpsink", &vault.forged()));
    vault.takes_the_clip_from(&mut by_gstreamer("rtmpsink", &vault.url.clone()), "GStreamer");
}

#[test]
fn a_program_on_librtmp_publishes_and_fails_where_it_is_refused() {
    let mut vault = Vault::new();
    let folder = Folder::new();
    vault.refuses(&mut by_librtmp(&folder, &vault.forged()));
    vault.takes_the_clip_from(&mut by_librtmp(&folder, &vault.url.clone()), "");
}

#[test]
fn obs_publishes() {
    let vault = Vault::new();
    let obs = Obs::new();
    let recording = Recording::start(vault.daemon.http, SAFE);
    let mut running = obs.stream_to(&vault.url);
    wait_for("six segments from OBS", Duration::from_secs(60), || {
        assert!(running.is_running(), "OBS ended: {}{}", running.stdout(), running.stderr());
        playlist(&vault.daemon, SAFE).filter(|playlist| newest(playlist) >= 5)
    });
    vault.daemon.logs(&["recording", "obs-output module"]);
    running.kill();
    let recorder = recording.finish();
    let (pictures, audio_frames) = walk(&recorder);
    assert!(pictures >= 60 && audio_frames >= 6 * 43, "{pictures} pictures, {audio_frames} frames");
}

/// OBS with a scene, a profile and a screen of its own.
struct Obs {
    home: Folder,
    screen: Watched,
}

impl Obs {
    fn new() -> Self {
        let screen = ["-displayfd", "1", "-screen", "0", "640x480x24"];
        Self { home: Folder::new(), screen: Watched::start(Command::new("Xvfb").args(screen)) }
    }

    /// Streams a green picture at 10 fps with a key frame a second.
    fn stream_to(&self, url: &str) -> Watched {
        let settings = self.home.path().join(".config/obs-studio");
        let (server, key) = url.rsplit_once('/').unwrap();
        let service = format!(
            r#"{{"type": "rtmp_custom", "settings": {{"server": "{server}", "key": "{key}"}}}}"#
        );
        for (file, text) in [
            (
                "global.ini",
                "[General]\nFirstRun=true\nInfoIncrement=999\nEnableAutoUpdates=false\n",
            ),
            (
                "basic/profiles/Test/basic.ini",
                "[General]\nName=Test\n[Output]\nMode=Simple\nReconnect=false\n\
                 [Video]\nBaseCX=160\nBaseCY=90\nOutputCX=160\nOutputCY=90\nFPSCommon=10\n\
                 [SimpleOutput]\nStreamEncoder=x264\nPreset=ultrafast\nUseAdvanced=true\nx264Settings=keyint=10\n",
            ),
            ("basic/profiles/Test/service.json", &service),
            (
                "basic/scenes/Test.json",
                r#"{"name": "Test", "current_scene": "S", "current_program_scene": "S", "sources": [
                    {"id": "color_source_v3", "name": "C", "settings": {"color": 4278255360, "width": 160, "height": 90}},
                    {"id": "scene", "name": "S", "settings": {"items": [{"name": "C", "id": 1, "visible": true}]}}]}"#,
            ),
        ] {
            let path = settings.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let display = wait_for("a screen", SOON, || {
            self.screen.stdout().lines().next().map(|number| format!(":{number}"))
        });
        let mut command = Command::new("obs");
        command.args(["--startstreaming", "--minimize-to-tray", "--multi"]);
        command.args(["--profile", "Test", "--collection", "Test"]);
        command.envs([
            ("DISPLAY", &*display),
            ("QT_QPA_PLATFORM", "xcb"),
            ("LIBGL_ALWAYS_SOFTWARE", "1"),
        ]);
        for variable in ["HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"] {
            let folder = if variable == "XDG_CONFIG_HOME" { ".config" } else { "" };
            command.env(variable, self.home.path().join(folder));
        }
        Watched::start(&mut command)
    }
}
