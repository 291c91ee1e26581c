//! From sources to a checked configuration.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::layers::{Layers, PREFIX};
use super::{Config, ConfigError, Fault};

/// A configuration file is smaller than this, bytes.
const FILE_BYTES: u64 = 1 << 20;

/// Where a configuration comes from. Later sources win, key by key: defaults, file, environment, `set`.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The file; none means the one that `METANODE_CONFIG` names, else `config.toml` in the node's directory if there
    /// is one. A file that was named must exist.
    pub file: Option<PathBuf>,
    /// The environment: `HOME` and the variables that begin with `METANODE_`; the others are passed over.
    pub env: Vec<(String, String)>,
    /// `path=value`, one for each `--set` flag.
    pub set: Vec<String>,
}

impl LoadOptions {
    /// The options of this process: `file` and `set` as given on the command line, and the process's environment.
    pub fn from_process(file: Option<PathBuf>, set: Vec<String>) -> LoadOptions {
        let text = |value: std::ffi::OsString| value.to_string_lossy().into_owned();
        let env = std::env::vars_os().map(|(name, value)| (text(name), text(value)));
        // The passphrase is none of this room's business; a copy of it would only lie about in memory.
        let ours = |name: &str| name == "HOME" || (name.starts_with(PREFIX) && name != "METANODE_PASSPHRASE");
        LoadOptions { file, env: env.filter(|(name, _)| ours(name)).collect(), set }
    }

    /// The file that [`Config::load`] reads with these options.
    pub fn config_file(&self) -> Option<PathBuf> {
        let named = self.file.clone().or_else(|| self.variable("METANODE_CONFIG").map(PathBuf::from));
        named.or_else(|| Some(self.directory()?.join("config.toml")).filter(|path| path.is_file()))
    }

    /// The node's directory as far as flags and environment tell.
    fn directory(&self) -> Option<PathBuf> {
        let flag = self.set.iter().rev().find_map(|flag| flag.strip_prefix("dir="));
        let named = flag.or_else(|| self.variable("METANODE_DIR")).unwrap_or("~/.metanode");
        home(Path::new(named), self.variable("HOME"))
    }

    fn variable(&self, name: &str) -> Option<&str> {
        let found = self.env.iter().rev().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

impl Config {
    /// The configuration from all sources, checked, its paths resolved; or everything that is wrong with it.
    pub fn load(options: LoadOptions) -> Result<Config, ConfigError> {
        let mut layers = Layers::default();
        if let Some(path) = options.config_file() {
            let text = read(&path).map_err(|fault| ConfigError::Unreadable { path: path.clone(), fault })?;
            layers.file(&path, &text)?;
        }
        layers.environment(&options.env);
        for flag in &options.set {
            layers.flag(flag);
        }
        finish(layers, options.variable("HOME"))
    }

    /// The configuration in `text` alone, which `name` stands for in errors. A leading `~/` needs `home`.
    pub fn from_toml(name: &Path, text: &str, home: Option<&str>) -> Result<Config, ConfigError> {
        let mut layers = Layers::default();
        layers.file(name, text)?;
        finish(layers, home)
    }

    /// Checks every value; for a configuration that was put together in memory.
    pub fn check(&self) -> Result<(), ConfigError> {
        let faults: Vec<_> =
            self.faults().into_iter().map(|(key, reason)| Layers::default().placed(key, reason)).collect();
        if faults.is_empty() { Ok(()) } else { Err(ConfigError::Faults(faults)) }
    }

    /// Resolves a leading `~/` in every path.
    fn resolve(&mut self, user_home: Option<&str>) -> Vec<(String, String)> {
        let Config { dir, key, chain, .. } = self;
        let paths = [
            ("dir", Some(dir)),
            ("key.file", key.file.as_mut()),
            ("key.passphrase_file", key.passphrase_file.as_mut()),
            ("chain.genesis", chain.genesis.as_mut()),
        ];
        let mut faults = Vec::new();
        for (name, path) in paths.into_iter().filter_map(|(name, path)| Some((name, path?))) {
            match home(path, user_home) {
                Some(resolved) => *path = resolved,
                None => faults.push((name.into(), "~ needs the variable HOME; write the whole path".into())),
            }
        }
        faults
    }
}

impl Layers {
    fn placed(&self, key: String, reason: String) -> Fault {
        Fault { origin: self.origin(&key), key, reason }
    }
}

fn finish(mut layers: Layers, home: Option<&str>) -> Result<Config, ConfigError> {
    let mut config = layers.config()?;
    let mut wrong = config.resolve(home);
    wrong.extend(config.faults());
    let mut faults = std::mem::take(&mut layers.faults);
    faults.extend(wrong.into_iter().map(|(key, reason)| layers.placed(key, reason)));
    if faults.is_empty() { Ok(config) } else { Err(ConfigError::Faults(faults)) }
}

/// `path` with its leading `~` replaced; none when it has one and there is no home.
fn home(path: &Path, home: Option<&str>) -> Option<PathBuf> {
    match path.strip_prefix("~") {
        Ok(rest) => home.map(|home| Path::new(home).join(rest)),
        Err(_) => Some(path.into()),
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {FILE_BYTES} bytes")));
    }
    Ok(text)
}
