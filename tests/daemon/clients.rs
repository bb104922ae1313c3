//! Programs written for OSS, with the vendor's own SDKs, against the daemon: only endpoint, keys and names are changed.
//!
//! The programs are in `tests/clients/`; `tests/run` installs their SDKs below `target/clients`.

use super::*;

/// A private bucket with the name of OSS's guide, in which the guide's program creates its LiveChannel. `localhost` stands
/// for a cname.
const GUIDE: &str = r#"
[[bucket]]
name = "cam-bucket"
hosts = ["localhost"]
dynamic_channels = { max = 2, ring = "16MiB" }
"#;

pub(super) const ROOT: &str = env!("CARGO_MANIFEST_DIR");
pub(super) const KEY: [&str; 2] = ["LTAI5tTests", "not-a-secret-outside-the-tests"];

pub(super) fn python(program: &str) -> Command {
    let mut command = Command::new(format!("{ROOT}/target/clients/bin/python"));
    command.arg(format!("{ROOT}/tests/clients/{program}"));
    command
}

/// Runs a client to its end and shows what it said if it failed.
pub(super) fn expect_success(command: &mut Command) -> String {
    let finished = Watched::start(command).finish(Duration::from_secs(120));
    assert!(finished.status.success(), "{}{}", finished.stdout, finished.stderr);
    finished.stdout
}

#[test]
fn the_guide_s_two_programs_and_all_three_sdks_play_what_they_published() {
    let daemon = Daemon::start(GUIDE);
    let endpoint = format!("http://127.0.0.1:{}", daemon.http);
    let object = "test-channel/test.m3u8";
    let said = expect_success(python("seed.py").arg(&endpoint).args(KEY).args([
        "cam-bucket",
        "test-channel",
        "test.m3u8",
        CLIP,
    ]));
    for check in [
        "created",
        "published",
        "edited: 2 segments",
        "unedited: 2",
        "clean form: 2",
        "version 4: 2",
        "header V4",
        "expired",
    ] {
        assert!(said.contains(check), "{check} is missing in: {said}");
    }
    let said =
        expect_success(python("v2.py").arg(&endpoint).args(KEY).args(["cam-bucket", object]));
    assert!(said.contains("presigned: 2 segments") && said.contains("calls: all"), "{said}");
    // This SDK signs no URLs for IP addresses.
    let named = format!("http://localhost:{}", daemon.http);
    let mut node = Command::new("node");
    node.env("NODE_MODULES_OF", format!("{ROOT}/target/clients"));
    node.arg(format!("{ROOT}/tests/clients/ali_oss.mjs")).arg(named).args(KEY);
    let said = expect_success(node.args(["cam-bucket", "test-channel", "test.m3u8"]));
    assert!(said.contains("2 segments") && said.contains("calls: all"), "{said}");
    // The URL that it makes for publishing, in the cname style.
    let publish = said.lines().find(|line| line.starts_with("rtmp://")).unwrap();
    publish_to(publish, 2, &[]).finish(Duration::from_secs(60)).expect_silence();
}
