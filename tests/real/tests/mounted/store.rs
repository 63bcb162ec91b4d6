//! Where the repository of a test lies.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use vellum_tests_real::s3::{BUCKET, FaultProxy, Moto, OWNER_KEYS, StrictServer};

/// Says where repositories lie in tests that do not say it themselves: in a bucket of our own
/// server (`strict`) or of moto (`moto`), or of one of these that is 30 ms away (`strict-30ms`,
/// `moto-30ms`); in a directory if it is not set.
const CHOICE: &str = "VELLUM_TESTS_STORE";

/// Where repositories lie.
pub(crate) enum Place {
    Directory,
    Strict(StrictServer),
    Moto(Moto),
    /// Moto, behind a proxy that takes its time.
    MotoAway(Moto, FaultProxy),
    /// A server of our own, behind a proxy of faults, of which there are none at first.
    Behind(StrictServer, FaultProxy),
}

impl Place {
    /// What the environment says.
    pub(crate) fn chosen() -> Self {
        match std::env::var(CHOICE).as_deref() {
            Err(_) => Self::Directory,
            Ok("strict") => Self::strict(),
            Ok("moto") => Self::moto(),
            Ok("strict-30ms") => Self::strict_away(),
            Ok("moto-30ms") => Self::moto_away(),
            Ok(other) => panic!("{CHOICE} is {other:?}: strict or moto, or either with -30ms"),
        }
    }

    /// A server of our own.
    pub(crate) fn strict() -> Self {
        Self::Strict(StrictServer::start().unwrap())
    }

    /// Moto, with the bucket.
    pub(crate) fn moto() -> Self {
        Self::Moto(Moto::with_bucket().unwrap())
    }

    /// A server of our own, 30 ms away.
    pub(crate) fn strict_away() -> Self {
        let server = StrictServer::start().unwrap();
        server.hooks().set_latency(Duration::from_millis(30));
        Self::Strict(server)
    }

    /// Moto, 30 ms away.
    pub(crate) fn moto_away() -> Self {
        let moto = Moto::with_bucket().unwrap();
        let proxy = FaultProxy::start(moto.address(), 0).unwrap();
        proxy.set_latency_ms(30).unwrap();
        Self::MotoAway(moto, proxy)
    }

    /// A server of our own, behind a proxy of faults.
    pub(crate) fn behind_faults(seed: u64) -> Self {
        let server = StrictServer::start().unwrap();
        let proxy = FaultProxy::start(&server.address().to_string(), seed).unwrap();
        Self::Behind(server, proxy)
    }

    /// The proxy of faults, and where the server itself is.
    pub(crate) fn proxy(&self) -> (&FaultProxy, String) {
        match self {
            Self::Behind(server, proxy) => (proxy, server.endpoint()),
            Self::Directory | Self::Strict(_) | Self::Moto(_) | Self::MotoAway(..) => {
                panic!("there are no faults")
            }
        }
    }

    /// The repository `name` of a test that has the directory `dir`.
    pub(crate) fn repository(&self, dir: &Path, name: &str) -> PathBuf {
        match self {
            Self::Directory => dir.join(name),
            Self::Strict(_) | Self::Moto(_) | Self::MotoAway(..) | Self::Behind(..) => {
                format!("s3://{BUCKET}/{name}").into()
            }
        }
    }

    /// Whether there are objects below `kind` in a repository.
    pub(crate) fn holds(&self, repository: &Path, kind: &str) -> bool {
        let key = |bucket: &str| {
            let within = repository.to_str().unwrap().strip_prefix(bucket).unwrap();
            format!("{}/{kind}/", within.trim_start_matches('/'))
        };
        let bucket = format!("s3://{BUCKET}");
        match self {
            Self::Directory => repository.join(kind).exists(),
            Self::Strict(server) | Self::Behind(server, _) => {
                let keys = server.hooks().keys(BUCKET);
                keys.iter().any(|found| found.starts_with(&key(&bucket)))
            }
            Self::Moto(moto) | Self::MotoAway(moto, _) => {
                let list =
                    format!("{}/{BUCKET}?list-type=2&prefix={}", moto.endpoint(), key(&bucket));
                let mut curl = Command::new("curl");
                curl.args(["--silent", "--show-error", "--fail", &list]);
                let said = curl.output().unwrap();
                assert!(said.status.success(), "{said:?}");
                String::from_utf8_lossy(&said.stdout).contains("<Key>")
            }
        }
    }

    /// The server of our own.
    pub(crate) fn server(&self) -> &StrictServer {
        match self {
            Self::Strict(server) | Self::Behind(server, _) => server,
            Self::Directory | Self::Moto(_) | Self::MotoAway(..) => {
                panic!("there is no server of our own")
            }
        }
    }

    fn endpoint(&self) -> Option<String> {
        match self {
            Self::Directory => None,
            Self::Strict(server) => Some(server.endpoint()),
            Self::Moto(moto) => Some(moto.endpoint()),
            Self::Behind(_, proxy) | Self::MotoAway(_, proxy) => Some(proxy.endpoint()),
        }
    }

    /// Tells a call of the binary how to reach the server, and nothing of the host's own.
    pub(crate) fn reach(&self, command: &mut Command, home: &Path) {
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"AWS_") {
                command.env_remove(name);
            }
        }
        command.env("XDG_CACHE_HOME", home.join("cache")).env("HOME", home);
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        if let Some(endpoint) = self.endpoint() {
            command.env("AWS_ENDPOINT_URL", endpoint);
            sign(command, OWNER_KEYS.id, OWNER_KEYS.secret);
        }
    }
}

/// Signs with these keys.
pub(crate) fn sign(command: &mut Command, id: impl AsRef<OsStr>, secret: impl AsRef<OsStr>) {
    command.env("AWS_ACCESS_KEY_ID", id).env("AWS_SECRET_ACCESS_KEY", secret);
}
