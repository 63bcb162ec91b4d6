//! Why the kernel does not mount, in words.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;

use crate::cli::{CliError, Exit};

/// What the kernel is spoken to through.
const DEVICE: &str = "/dev/fuse";

/// The error for a mount at `point` that was refused.
pub(super) fn refused(point: &Path, error: &io::Error) -> CliError {
    let said = error.to_string();
    let shown = point.display();
    let device = OpenOptions::new().read(true).write(true).open(DEVICE);
    let (exit, why, remedy) = match device.map_err(|error| error.kind()) {
        Err(io::ErrorKind::NotFound) => (
            Exit::Usage,
            format!("there is no {DEVICE}"),
            "load the kernel module: modprobe fuse. In a container: give it that device",
        ),
        Err(io::ErrorKind::PermissionDenied) => (
            Exit::Credentials,
            format!("this user may not open {DEVICE}"),
            "let this user read and write it (usual is mode 0666), or mount as root",
        ),
        Ok(_) | Err(_) if error.kind() == io::ErrorKind::NotFound => (
            Exit::Usage,
            "users other than root need fusermount3, which is not installed".to_owned(),
            "install the package fuse3, or mount as root",
        ),
        Ok(_) | Err(_) if said.contains("user_allow_other") => (
            Exit::Credentials,
            said.trim().to_owned(),
            "write user_allow_other into /etc/fuse.conf, or mount without --allow-other",
        ),
        Ok(_) | Err(_) if said.contains("not permitted") || said.contains("ermission denied") => (
            Exit::Credentials,
            said.trim().to_owned(),
            "mount as root, or at a directory of yours; a container needs CAP_SYS_ADMIN",
        ),
        Ok(_) | Err(_) => (
            Exit::Usage,
            said.trim().to_owned(),
            "--foreground --verbose says more; so may the kernel's log (dmesg)",
        ),
    };
    CliError::new(exit, format!("can't mount at {shown}: {why}"), remedy)
}
