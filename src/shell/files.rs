//! Where everything is kept: the configuration, its secrets, the catalogue, the rings; and what room there is.

use std::{
    env,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    string::FromUtf8Error,
};

use thiserror::Error;

use crate::{
    check::check_flash,
    config::{AccessKey, Config, catalogue::Catalogue, problem::Warning},
    limits::{ACCESS_KEY_BYTES_MAX, CATALOGUE_BYTES_MAX, CONFIG_BYTES_MAX},
};

/// Reads and checks the configuration. An error is a text of one problem a line.
pub fn load(path: &Path) -> Result<(Config, Vec<Warning>), String> {
    let bytes = read_bytes(path, CONFIG_BYTES_MAX).map_err(|error| {
        format!(
            "cannot read the configuration {}: {error}; name another with --config FILE",
            path.display()
        )
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let NotUtf8 { line, column } = NotUtf8::of(&error);
        format!("{}:{line}:{column}: is not UTF-8: save the file as UTF-8", path.display())
    })?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let secrets = |name: &Path| secret(name, folder);
    Config::parse(&text, &path.display().to_string(), &secrets)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

/// The configuration file and the catalogue together.
pub struct Whole {
    /// As the file has it.
    pub file_config: Config,
    /// With what the catalogue adds.
    pub config: Config,
    /// What was made over the API, or why it cannot be read.
    pub catalogue: Result<Catalogue, String>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl Whole {
    /// Reads the catalogue that belongs to a configuration. One that is damaged does not keep the file's channels from
    /// being served.
    pub fn of(file_config: Config, warnings: &[Warning]) -> Self {
        let mut warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
        let mut config = file_config.clone();
        let mut catalogue = read_catalogue(&catalogue_path(&config));
        match &mut catalogue {
            Ok(catalogue) => warnings.extend(catalogue.apply(&mut config)),
            Err(trouble) => warnings.push(format!(
                "{trouble}: the LiveChannels and recordings in it are not served, and none can be made until it is put right or moved away"
            )),
        }
        Self { file_config, config, catalogue, warnings }
    }
}

/// Where what was made over the API is kept.
pub fn catalogue_path(config: &Config) -> PathBuf {
    config.store.path.join("catalogue")
}

fn read_catalogue(path: &Path) -> Result<Catalogue, String> {
    match read(path, CATALOGUE_BYTES_MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Catalogue::default()),
        Err(error) => Err(format!("the catalogue {} cannot be read: {error}", path.display())),
        Ok(text) => Catalogue::parse(&text)
            .map_err(|error| format!("the catalogue {} is damaged: {error}", path.display())),
    }
}

/// Reads a secret: an absolute path as it is, another one among systemd's credentials, then beside the configuration.
fn secret(name: &Path, folder: &Path) -> io::Result<String> {
    let credentials =
        env::var_os("CREDENTIALS_DIRECTORY").map(|folder| PathBuf::from(folder).join(name));
    let path = credentials.filter(|path| path.exists()).unwrap_or_else(|| folder.join(name));
    let text = read(&path, ACCESS_KEY_BYTES_MAX + 2)?;
    Ok(text.trim().to_owned())
}

fn read(path: &Path, bytes_max: usize) -> io::Result<String> {
    String::from_utf8(read_bytes(path, bytes_max)?)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, NotUtf8::of(&error)))
}

fn read_bytes(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {bytes_max} bytes"),
        ));
    }
    Ok(bytes)
}

/// Where a file stops being UTF-8, line and column from 1. What stands there may be a secret's.
#[derive(Debug, Error)]
#[error("it is not UTF-8 at line {line}, column {column}")]
struct NotUtf8 {
    line: usize,
    column: usize,
}

impl NotUtf8 {
    fn of(error: &FromUtf8Error) -> Self {
        let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let lines = String::from_utf8_lossy(good);
        let last = lines.rsplit('\n').next().unwrap_or_default();
        Self { line: lines.matches('\n').count() + 1, column: last.chars().count() + 1 }
    }
}

/// The key that signs for the box itself: the named one, or the first.
pub fn signing_key<'c>(config: &'c Config, id: Option<&str>) -> Result<&'c AccessKey, String> {
    let mut keys = config.access_keys.iter();
    match id {
        Some(id) => keys
            .find(|key| key.id == id)
            .ok_or_else(|| format!("there is no access key {id:?} in the configuration")),
        None => keys.next().ok_or_else(|| {
            String::from("there is no access key in the configuration: add an [[access_key]]")
        }),
    }
}

/// Where the ring of a channel is kept. Names keep to letters that every file system has.
pub fn ring_path(config: &Config, bucket: &str, channel: &str) -> PathBuf {
    let mut name = String::new();
    crate::query::encode(channel, &mut name);
    config.store.path.join(bucket).join(name + ".ring")
}

/// Bytes that the rings may have: what is free where they are, and what they have already. `None`: it cannot be told.
pub fn available_flash(config: &Config) -> Option<u64> {
    let mut folder = config.store.path.as_path();
    while !folder.exists() {
        folder = folder.parent()?;
    }
    let space = rustix::fs::statvfs(folder).ok()?;
    let held = config.live_channels().filter_map(|(bucket, channel)| {
        std::fs::metadata(ring_path(config, &bucket.name, &channel.name))
            .ok()
            .map(|file| file.len())
    });
    Some(space.f_bavail * space.f_frsize + held.sum::<u64>())
}

/// Checks that the flash has room for the rings.
pub fn check_room(config: &Config) -> Result<(), String> {
    match available_flash(config) {
        Some(bytes) => check_flash(config, bytes).map_err(|error| error.to_string()),
        None => Ok(()),
    }
}
