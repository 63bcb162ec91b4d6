//! Reads and commits through a mount of a bucket, beside the SDK alone with the same number of
//! requests at once; and a second read, beside that of a local file.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{Config, Credentials, Region};
use clap::Args;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use vellum_tests_real::s3::{BUCKET, OWNER_KEYS, StrictServer, Tampering};

use crate::failure::{Doing, Failure};
use crate::mounted::product;
use crate::stats::{Summary, paired_ratio};

/// Bytes of an object: those of a chunk.
const CHUNK_BYTES: usize = 4 << 20;
/// Reads at once: as many as a mount makes, which has two windows of 64 MiB on their way.
const GETS_AT_ONCE: usize = 32;
/// Puts at once: as many as a commit makes.
const PUTS_AT_ONCE: usize = 16;
/// Bytes of a read.
const READ_BYTES: usize = 1 << 20;
/// How long a mount may take to begin.
const PATIENCE: Duration = Duration::from_secs(30);

/// Options of `bucket`.
#[derive(Args)]
pub(crate) struct BucketArgs {
    /// Rounds; in each, every candidate has one turn
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Size of the file that is read and committed
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(16..=16384))]
    mib: u64,
    /// What the server waits before each answer, in milliseconds
    #[arg(long, default_value_t = 30)]
    latency_ms: u64,
    /// What passes between client and server in a second, in MiB; as much as this machine does
    /// unless it is said: then its CPUs are the bound, and the server is one of those who use them
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    link_mib: Option<u64>,
    /// Keep on disk what is read, as mounts do unless told not to
    #[arg(long)]
    cache: bool,
}

/// Seconds of each turn, round by round.
#[derive(Default)]
struct Turns {
    sdk_get: Vec<f64>,
    cold: Vec<f64>,
    local: Vec<f64>,
    tmpfs: Vec<f64>,
    warm: Vec<f64>,
    sdk_put: Vec<f64>,
    commit: Vec<f64>,
}

/// Measures and tells.
pub(crate) fn run(args: &BucketArgs) -> Result<(), Failure> {
    let bench = Bench::new(args)?;
    let mut turns = Turns::default();
    for round in 0..args.rounds {
        bench.round(round, &mut turns)?;
    }
    let link = args.link_mib.map_or_else(String::new, |mib| format!(" by {mib} MiB/s"));
    println!(
        "{} MiB, {} ms away{link}, {GETS_AT_ONCE} reads and {PUTS_AT_ONCE} puts at once",
        args.mib, args.latency_ms
    );
    let tell = |what: &str, of: &[f64], base: &str, by: &[f64], goal: f64| {
        let rate = |seconds: &[f64]| args.mib as f64 / Summary::of(seconds).median;
        let ratio = paired_ratio(by, of);
        println!(
            "{what:<24}{:>8.0} MiB/s   {base:<14}{:>8.0} MiB/s   {ratio:.2} of it (goal {goal})",
            rate(of),
            rate(by)
        );
    };
    tell("cold read", &turns.cold, "SDK alone", &turns.sdk_get, 0.9);
    tell("commit", &turns.commit, "SDK alone", &turns.sdk_put, 0.9);
    tell("read again", &turns.warm, "tmpfs", &turns.tmpfs, 0.95);
    tell("read again", &turns.warm, "local file", &turns.local, 0.95);
    Ok(())
}

struct Bench {
    home: TempDir,
    /// In memory: its pages are of the kernel's usual size, as those of FUSE are. Local file
    /// systems may have bigger ones, which are copied faster.
    tmpfs: TempDir,
    server: StrictServer,
    runtime: Runtime,
    client: Client,
    chunks: usize,
    /// Objects that were there before the first round.
    kept: HashSet<String>,
    /// Whether what is read is kept on disk.
    is_kept_on_disk: bool,
}

impl Bench {
    fn new(args: &BucketArgs) -> Result<Self, Failure> {
        let server = StrictServer::start().doing(|| "start a server".into())?;
        let runtime = Runtime::new().doing(|| "start threads".into())?;
        let client = client(&server.endpoint());
        let home = TempDir::with_prefix("vellum-bench-").doing(|| "make a directory".into())?;
        let chunks = usize::try_from(args.mib >> 2).doing(|| "hold so much".into())?;
        let (kept, is_kept_on_disk) = (HashSet::new(), args.cache);
        let tmpfs = TempDir::with_prefix_in("vellum-bench-", "/dev/shm");
        let tmpfs = tmpfs.doing(|| "make a directory in memory".into())?;
        let mut bench =
            Self { home, tmpfs, server, runtime, client, chunks, kept, is_kept_on_disk };
        let source = bench.path("source");
        fs::create_dir(&source).doing(|| "make a directory".into())?;
        write_file(&source.join("file"), chunks, 0)?;
        write_file(&bench.path("local"), chunks, 0)?;
        write_file(&bench.tmpfs.path().join("file"), chunks, 0)?;
        bench.call(&["init".as_ref(), bench.repository().as_ref()])?;
        bench.call(&["import".as_ref(), source.as_ref(), bench.repository().as_ref()])?;
        bench.put_all("get", 0)?;
        bench.kept = bench.server.hooks().keys(BUCKET).into_iter().collect();
        bench.server.hooks().set_latency(Duration::from_millis(args.latency_ms));
        if let Some(mib) = args.link_mib {
            bench.server.hooks().set_link(mib << 20);
        }
        Ok(bench)
    }

    fn round(&self, round: u32, turns: &mut Turns) -> Result<(), Failure> {
        turns.sdk_get.push(self.get_all()?);
        let mount = self.mount(round)?;
        turns.cold.push(read_whole(&mount.point.join("file"))?);
        // Pages that came in just now take longer the next time than ever after.
        read_whole(&mount.point.join("file"))?;
        for (path, turns) in [
            (self.path("local"), &mut turns.local),
            (self.tmpfs.path().join("file"), &mut turns.tmpfs),
        ] {
            read_whole(&path)?;
            turns.push(read_whole(&path)?);
        }
        turns.warm.push(read_whole(&mount.point.join("file"))?);
        write_file(&mount.point.join("new"), self.chunks, u64::from(round) * 2 + 2)?;
        turns.sdk_put.push(self.put_all(&format!("put-{round}"), u64::from(round) * 2 + 1)?);
        self.forget_new();
        let begun = Instant::now();
        let arguments = ["commit", "--message", "new"].map(AsRef::as_ref);
        self.call(&[&arguments[..], &[mount.point.as_ref()]].concat())?;
        turns.commit.push(begun.elapsed().as_secs_f64());
        self.forget_new();
        Ok(())
    }

    /// Removes what a turn has put, so that the next one finds the server's memory as that did.
    /// What was never used takes longer to come by than all the rest of a request.
    fn forget_new(&self) {
        let hooks = self.server.hooks();
        for key in hooks.keys(BUCKET) {
            let is_ours = key.starts_with("put-") || key.starts_with("repo/chunks/");
            if is_ours && !self.kept.contains(&key) {
                hooks.tamper(BUCKET, &key, &Tampering::Missing);
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn repository(&self) -> String {
        format!("s3://{BUCKET}/repo")
    }

    fn command(&self) -> Result<Command, Failure> {
        let mut command = product::command()?;
        command.env("AWS_ENDPOINT_URL", self.server.endpoint());
        command.env("AWS_ACCESS_KEY_ID", OWNER_KEYS.id);
        command.env("AWS_SECRET_ACCESS_KEY", OWNER_KEYS.secret);
        command.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_REGION", "us-east-1");
        command.env("XDG_CACHE_HOME", self.path("cache"));
        command.env("VELLUM_RUNTIME_DIR", self.path("run"));
        Ok(command)
    }

    fn call(&self, arguments: &[&std::ffi::OsStr]) -> Result<(), Failure> {
        let mut command = self.command()?;
        let said = command.args(arguments).output().doing(|| "run vellum".into())?;
        if said.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        Err(Failure::new(format!("vellum {arguments:?}: {said}")))
    }

    /// A mount that has read nothing.
    fn mount(&self, round: u32) -> Result<Mount, Failure> {
        let point = self.path(&format!("mnt-{round}"));
        fs::create_dir(&point).doing(|| "make a directory".into())?;
        let mut command = self.command()?;
        command.args(["mount", "--foreground", "--memory", "4G"]);
        if self.is_kept_on_disk {
            command.env("XDG_CACHE_HOME", self.path(&format!("cache-{round}")));
        } else {
            command.args(["--cache-size", "0"]);
        }
        command.arg(self.repository()).arg(&point);
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        let server = command.spawn().doing(|| "run vellum".into())?;
        let mount = Mount { server, point };
        let begun = Instant::now();
        while self.call(&["status".as_ref(), mount.point.as_ref()]).is_err() {
            if begun.elapsed() > PATIENCE {
                return Err(Failure::new("the mount does not begin"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(mount)
    }

    /// Gets all objects with the SDK alone.
    fn get_all(&self) -> Result<f64, Failure> {
        let begun = Instant::now();
        self.at_once(GETS_AT_ONCE, |client, index| async move {
            let get = client.get_object().bucket(BUCKET).key(format!("get/{index}"));
            let got = get.send().await.map_err(|error| error.to_string())?;
            let body = got.body.collect().await.map_err(|error| error.to_string())?;
            drop(body.into_bytes());
            Ok(())
        })?;
        Ok(begun.elapsed().as_secs_f64())
    }

    /// Puts as many objects of other bytes with the SDK alone.
    fn put_all(&self, prefix: &str, version: u64) -> Result<f64, Failure> {
        let bodies: Vec<Vec<u8>> = (0..self.chunks).map(|index| chunk(index, version)).collect();
        let bodies: Vec<bytes::Bytes> = bodies.into_iter().map(Into::into).collect();
        let begun = Instant::now();
        self.at_once(PUTS_AT_ONCE, |client, index| {
            let body = bodies[index].clone();
            async move {
                let put = client.put_object().bucket(BUCKET).key(format!("{prefix}/{index}"));
                let put = put.if_none_match("*").body(body.into());
                put.send().await.map(drop).map_err(|error| error.to_string())
            }
        })?;
        Ok(begun.elapsed().as_secs_f64())
    }

    fn at_once<F: Future<Output = Result<(), String>>>(
        &self,
        most: usize,
        request: impl Fn(Client, usize) -> F,
    ) -> Result<(), Failure> {
        use futures::stream::{self, StreamExt as _, TryStreamExt as _};
        let requests = (0..self.chunks).map(|index| request(self.client.clone(), index));
        let all = stream::iter(requests).buffer_unordered(most).try_collect::<()>();
        self.runtime.block_on(all).doing(|| "ask the server".into())
    }
}

/// A mount by a process of its own, which ends when its input does.
struct Mount {
    server: Child,
    point: PathBuf,
}

impl Drop for Mount {
    fn drop(&mut self) {
        drop(self.server.stdin.take());
        let _ = self.server.wait();
    }
}

fn client(endpoint: &str) -> Client {
    let http = aws_smithy_http_client::Builder::new().build_http();
    let keys = Credentials::new(OWNER_KEYS.id, OWNER_KEYS.secret, None, None, "bench");
    let config = Config::builder()
        .behavior_version_latest()
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .force_path_style(true)
        .credentials_provider(keys)
        .http_client(http)
        .retry_config(RetryConfig::disabled());
    Client::from_conf(config.build())
}

/// Bytes of a chunk that no other chunk and no other version has.
fn chunk(index: usize, version: u64) -> Vec<u8> {
    let mut state = (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ version << 32 | 1;
    let mut bytes = Vec::with_capacity(CHUNK_BYTES);
    while bytes.len() < CHUNK_BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

fn write_file(path: &Path, chunks: usize, version: u64) -> Result<(), Failure> {
    let doing = || format!("write {}", path.display());
    let mut file = File::create(path).doing(doing)?;
    (0..chunks).try_for_each(|index| file.write_all(&chunk(index, version))).doing(doing)
}

/// Reads a file in order; the seconds that it took.
fn read_whole(path: &Path) -> Result<f64, Failure> {
    let doing = || format!("read {}", path.display());
    let begun = Instant::now();
    let mut file = File::open(path).doing(doing)?;
    let mut buffer = vec![0; READ_BYTES];
    while file.read(&mut buffer).doing(doing)? > 0 {}
    Ok(begun.elapsed().as_secs_f64())
}
