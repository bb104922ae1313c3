//! Command line → [`Command`]. An error is one sentence that says what is wrong and what to do.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

use lexopt::{Arg, Parser, ValueExt};

/// The file that commands read when none is named.
const CONFIG_FILE: &str = "/etc/sluicegate/sluicegate.toml";

/// How long a signed URL is good for when nothing is said, in seconds.
const EXPIRES_SECS: u64 = 3600;

/// What `--help` prints.
pub const HELP: &str = "\
sluicegate: RTMP in, a ring on flash, signed HLS out

Usage:
  sluicegate serve [--config FILE]        run the daemon
  sluicegate demo [--http ADDR] [--rtmp ADDR]
                                          run everything with a built-in clip: no file, no root, no camera
  sluicegate check [--config FILE]        say whether the configuration is good, and what it needs
  sluicegate sign publish BUCKET CHANNEL  print a signed publish URL, quoted for a shell
  sluicegate sign play BUCKET CHANNEL     print a signed play URL, quoted for a shell
  sluicegate sign console                 print a signed link to the console: it opens all figures, and signs URLs
  sluicegate sign metrics                 print a signed link to /-/metrics, and to nothing else
      [--expires SECS]                      how long it is good for (3600)
      [--playlist NAME]                     another playlist name than the configured one
      [--key ID]                            sign with this access key (the first one)
      [--url BASE]                          address of the box as the user reaches it (http://ENDPOINT:PORT)
      [--page]                              play: the player page that plays it
      [--raw]                               do not quote
      [--config FILE]
  sluicegate status [--config FILE]       ask the running daemon: one line per channel
      [--json]                              everything there is to tell, as JSON
      [--watch]                             again every two seconds
  sluicegate store ls [--config FILE]     list every segment that the rings hold
  sluicegate store verify [--config FILE] read every byte of the rings against its checksum
  sluicegate --version
  sluicegate --help

FILE is /etc/sluicegate/sluicegate.toml unless told otherwise.
Exit codes: 0 good, 1 failed while running, 2 wrong usage or configuration.
";

/// What the user asked for.
#[derive(Debug, Eq, PartialEq)]
pub enum Command {
    /// Run the daemon.
    Serve {
        /// Configuration file.
        config: PathBuf,
    },
    /// Run the demonstration.
    Demo {
        /// Where to serve HTTP.
        http: SocketAddr,
        /// Where to take RTMP.
        rtmp: SocketAddr,
    },
    /// Check the configuration.
    Check {
        /// Configuration file.
        config: PathBuf,
    },
    /// Print a signed URL.
    Sign(Sign),
    /// Ask the running daemon.
    Status {
        /// JSON, not a table.
        is_json: bool,
        /// Again and again.
        is_watch: bool,
        /// Configuration file.
        config: PathBuf,
    },
    /// Read the rings offline.
    Store {
        /// Read every byte, not only the records.
        is_verify: bool,
        /// Configuration file.
        config: PathBuf,
    },
    /// Print the version.
    Version,
    /// Print the help.
    Help,
}

/// What a signed URL is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// An encoder.
    Publish,
    /// A player.
    Play,
    /// Who looks after the box.
    Console,
    /// What scrapes it.
    Metrics,
}

/// What `sign` is asked for.
#[derive(Debug, Eq, PartialEq)]
pub struct Sign {
    /// What the URL is for.
    pub purpose: Purpose,
    /// Bucket; empty for the console.
    pub bucket: String,
    /// LiveChannel; empty for the console.
    pub channel: String,
    /// How long it is good for, in seconds.
    pub expires_secs: u64,
    /// Another playlist name than the configured one.
    pub playlist: Option<String>,
    /// AccessKeyId to sign with.
    pub key: Option<String>,
    /// Address of the box as the user reaches it.
    pub url: Option<String>,
    /// The player page's address instead of the playlist's.
    pub is_page: bool,
    /// Do not quote for a shell.
    pub is_raw: bool,
    /// Configuration file.
    pub config: PathBuf,
}

/// Reads the arguments behind the program's name.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let args: Vec<_> = args.into_iter().collect();
    // Who asks for help behind a command wants it, whatever else stands there or is missing.
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        return Ok(Command::Help);
    }
    read(Parser::from_args(args))
        .map_err(|error| format!("{error}; `sluicegate --help` shows the usage"))
}

fn read(mut parser: Parser) -> Result<Command, lexopt::Error> {
    let word = match parser.next()? {
        None => return Err("no command given".into()),
        Some(Arg::Long("version") | Arg::Short('V')) => return Ok(Command::Version),
        Some(Arg::Value(word)) => word.string()?,
        Some(other) => return Err(other.unexpected()),
    };
    match word.as_str() {
        "serve" => Ok(Command::Serve { config: config_only(parser)? }),
        "check" => Ok(Command::Check { config: config_only(parser)? }),
        "demo" => demo(parser),
        "sign" => sign(parser),
        "status" => status(parser),
        "store" => store(parser),
        "help" => Ok(Command::Help),
        other => Err(format!("there is no command `{other}`").into()),
    }
}

fn config_only(mut parser: Parser) -> Result<PathBuf, lexopt::Error> {
    let mut config = PathBuf::from(CONFIG_FILE);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("config") | Arg::Short('c') => config = parser.value()?.into(),
            other => return Err(other.unexpected()),
        }
    }
    Ok(config)
}

fn demo(mut parser: Parser) -> Result<Command, lexopt::Error> {
    let mut http = SocketAddr::from(([127, 0, 0, 1], 8080));
    let mut rtmp = SocketAddr::from(([127, 0, 0, 1], 1935));
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("http") => http = parser.value()?.parse()?,
            Arg::Long("rtmp") => rtmp = parser.value()?.parse()?,
            other => return Err(other.unexpected()),
        }
    }
    Ok(Command::Demo { http, rtmp })
}

fn status(mut parser: Parser) -> Result<Command, lexopt::Error> {
    let (mut is_json, mut is_watch) = (false, false);
    let mut config = PathBuf::from(CONFIG_FILE);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("json") => is_json = true,
            Arg::Long("watch") => is_watch = true,
            Arg::Long("config") | Arg::Short('c') => config = parser.value()?.into(),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Command::Status { is_json, is_watch, config })
}

fn store(mut parser: Parser) -> Result<Command, lexopt::Error> {
    let is_verify = match parser.next()? {
        Some(Arg::Value(word)) if word == "ls" => false,
        Some(Arg::Value(word)) if word == "verify" => true,
        _ => return Err("`store` wants `ls` or `verify`".into()),
    };
    Ok(Command::Store { is_verify, config: config_only(parser)? })
}

fn sign(mut parser: Parser) -> Result<Command, lexopt::Error> {
    let purpose = match parser.next()? {
        Some(Arg::Value(word)) if word == "publish" => Purpose::Publish,
        Some(Arg::Value(word)) if word == "play" => Purpose::Play,
        Some(Arg::Value(word)) if word == "console" => Purpose::Console,
        Some(Arg::Value(word)) if word == "metrics" => Purpose::Metrics,
        _ => return Err("`sign` wants `publish`, `play`, `console` or `metrics`".into()),
    };
    let is_of_channel = matches!(purpose, Purpose::Publish | Purpose::Play);
    let mut names = Vec::new();
    let mut sign = Sign {
        purpose,
        bucket: String::new(),
        channel: String::new(),
        expires_secs: EXPIRES_SECS,
        playlist: None,
        key: None,
        url: None,
        is_page: false,
        is_raw: false,
        config: PathBuf::from(CONFIG_FILE),
    };
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("expires") => sign.expires_secs = parser.value()?.parse()?,
            Arg::Long("playlist") if is_of_channel => {
                sign.playlist = Some(parser.value()?.string()?)
            }
            Arg::Long("key") => sign.key = Some(parser.value()?.string()?),
            Arg::Long("url") => sign.url = Some(parser.value()?.string()?),
            Arg::Long("page") if purpose == Purpose::Play => sign.is_page = true,
            Arg::Long("raw") => sign.is_raw = true,
            Arg::Long("config") | Arg::Short('c') => sign.config = parser.value()?.into(),
            Arg::Value(name) if is_of_channel && names.len() < 2 => names.push(name.string()?),
            other => return Err(other.unexpected()),
        }
    }
    if !is_of_channel {
        return Ok(Command::Sign(sign));
    }
    let Ok([bucket, channel]) = <[String; 2]>::try_from(names) else {
        return Err("`sign` wants a bucket and a channel".into());
    };
    Ok(Command::Sign(Sign { bucket, channel, ..sign }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn reads_what_the_help_shows() {
        assert_eq!(parsed("serve"), Ok(Command::Serve { config: CONFIG_FILE.into() }));
        assert_eq!(parsed("check --config=x.toml"), Ok(Command::Check { config: "x.toml".into() }));
        assert_eq!(
            parsed("store verify -c x"),
            Ok(Command::Store { is_verify: true, config: "x".into() })
        );
        let demo = Command::Demo {
            http: "[::1]:80".parse().unwrap(),
            rtmp: "127.0.0.1:1935".parse().unwrap(),
        };
        assert_eq!(parsed("demo --http [::1]:80"), Ok(demo));
        let Ok(Command::Sign(sign)) =
            parsed("sign play cams door --expires 60 --page --key K --url http://b:1")
        else {
            panic!("not a sign command")
        };
        assert_eq!(
            (sign.bucket.as_str(), sign.channel.as_str(), sign.expires_secs),
            ("cams", "door", 60)
        );
        assert!(sign.is_page && sign.purpose == Purpose::Play && !sign.is_raw);
        let Ok(Command::Sign(sign)) = parsed("sign console --expires 60") else {
            panic!("not a sign command")
        };
        assert_eq!((sign.purpose, sign.expires_secs), (Purpose::Console, 60));
        let status = Command::Status { is_json: true, is_watch: false, config: "x".into() };
        assert_eq!(parsed("status --json -c x"), Ok(status));
    }

    #[test]
    fn help_is_given_behind_every_command() {
        for line in [
            "--help",
            "-h",
            "help",
            "check --help",
            "sign play -h",
            "store --help",
            "serve --help x",
        ] {
            assert_eq!(parsed(line), Ok(Command::Help), "{line}");
        }
    }

    #[test]
    fn wrong_usage_is_said_in_one_sentence() {
        for line in [
            "",
            "fly",
            "serve x",
            "serve --conf x",
            "sign",
            "sign play cams",
            "sign publish a b --page",
            "sign console cams",
            "sign metrics --page",
            "sign elsewhere",
            "status door",
            "sign play a b c",
            "demo --http x",
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.contains("--help") && !error.contains('\n'), "{line}: {error}");
        }
    }
}
