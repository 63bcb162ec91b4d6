//! From the arguments to a mount that is served.

use std::io;

use super::args::MountArgs;
use super::control::place::Place;
use super::control::protocol::MountedAnswer;
use super::daemon::Daemon;
use super::{background, point};
use crate::cli::{CliError, Exit};
use crate::fuse::{self, OpenMode, Options};
use crate::host::Host;
use std::sync::Arc;
use vellum_core::conc::Shared;
use vellum_core::machine::MountSpec;

struct NoStore;
impl crate::store::ObjectStore for NoStore {
    fn request(
        &self,
        _r: vellum_core::shapes::StoreRequest,
    ) -> futures::future::BoxFuture<'static, vellum_core::shapes::StoreOutcome> {
        unreachable!()
    }
}

/// Opens the repository, mounts it and serves it to its end, in this process.
pub(super) fn serve(args: &MountArgs, ready: impl FnOnce(MountedAnswer)) -> Result<Exit, CliError> {
    let point = point::check(&args.mount_point)?;
    Place::of(&point).prepare()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("vellum")
        .build()
        .map_err(|error| failed("can't start threads", &error))?;
    let source = args.repository.to_string_lossy().into_owned();
    let spec = MountSpec { read_only: args.read_only, ..MountSpec::default() };
    let host =
        Host::start(spec, Arc::new(Shared::default()), Arc::new(NoStore), runtime.handle().clone())
            .map_err(|error| failed("can't start threads", &error))?;
    let options = Options {
        source: source.clone(),
        read_only: args.read_only,
        allow_other: args.allow_other,
        open_mode: if args.cached_writes { OpenMode::Cached } else { OpenMode::Direct },
    };
    let about = MountedAnswer {
        mount_point: point.to_string_lossy().into_owned(),
        source,
        read_only: args.read_only,
        pid: std::process::id(),
    };
    if background::is_daemon() {
        background::detach().map_err(|error| failed("can't leave the terminal", &error))?;
    }
    let told = about.clone();
    let served = runtime.block_on(async {
        let mounted = fuse::mount(&host, &point, &options).map_err(|error| {
            let what = format!("can't mount at {}: {error}", point.display());
            CliError::new(Exit::Usage, what, mount_remedy(&error))
        })?;
        Daemon::run(host.clone(), point.clone(), about, mounted, || ready(told)).await
    });
    host.close();
    runtime.shutdown_background();
    served
}

fn failed(what: &str, error: &io::Error) -> CliError {
    CliError::new(Exit::Usage, format!("{what}: {error}"), "")
}

fn mount_remedy(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::NotFound {
        "FUSE is missing: install the package fuse3 and load the kernel module (modprobe fuse)"
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        "install the package fuse3; --allow-other needs user_allow_other in /etc/fuse.conf"
    } else {
        ""
    }
}
