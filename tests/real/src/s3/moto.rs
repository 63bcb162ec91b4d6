//! moto, a mock of AWS in Python, as a server.

use std::io;
use std::process::Command;

use vellum_tests_core::setup;

use super::child::Server;

/// Starts moto so that it answers one request at a time: the file tells why.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/moto_server.py");

/// A moto server on a port of its own, which ends when this is dropped. It begins without a bucket
/// and takes any credentials.
///
/// Where it differs from S3, as tests in `s3_server` show: it checks no signatures, and no
/// `x-amz-expected-bucket-owner`; it verifies neither checksums nor `Content-MD5`; it takes
/// `If-None-Match` with an identity on a put, and then ignores it. Its identities are MD5s, as S3's
/// often are. Left alone, its conditional puts are not atomic.
#[derive(Debug)]
pub struct Moto {
    _server: Server,
    address: String,
}

impl Moto {
    /// Starts it from where `cargo verify` puts it.
    ///
    /// # Errors
    /// It is not there, or does not start.
    pub fn start() -> io::Result<Self> {
        let target = target()?;
        let program = setup::moto_server(&target);
        if !program.exists() {
            let why = format!("{} is missing: `cargo verify` makes it", program.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, why));
        }
        let mut command = Command::new(program.with_file_name("python"));
        command.arg(SCRIPT).args(["-H", "127.0.0.1", "-p", "0"]);
        command.env("MOTO_ACCOUNT_ID", super::OWNER).env("PYTHONDONTWRITEBYTECODE", "1");
        let (server, address) = Server::start(command, |line| {
            let (_, address) = line.split_once("Running on http://")?;
            Some(address.trim_end().to_owned())
        })?;
        Ok(Self { _server: server, address })
    }

    /// Starts it, and makes the bucket [`BUCKET`](super::BUCKET).
    ///
    /// # Errors
    /// It is not there, does not start, or makes no bucket.
    pub fn with_bucket() -> io::Result<Self> {
        let moto = Self::start()?;
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail", "--request", "PUT"]);
        let made = curl.arg(format!("{}/{}", moto.endpoint(), super::BUCKET)).status()?;
        if made.success() { Ok(moto) } else { Err(io::Error::other("moto makes no bucket")) }
    }

    /// Where it listens, as `HOST:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where it listens, as a client is told it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// The target directory that the running test lies in: TARGET/PROFILE/deps/NAME.
fn target() -> io::Result<std::path::PathBuf> {
    let own = std::env::current_exe()?;
    let deps = own.ancestors().find(|folder| folder.ends_with("deps"));
    let target = deps.and_then(|deps| deps.ancestors().nth(2));
    target.map(Into::into).ok_or_else(|| io::Error::other("no target directory around the test"))
}
