//! The product in this program: the same code in the same build as its controls.

use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};

use rustix::mount::UnmountFlags;

use crate::failure::{Doing, Failure};

/// Started under this name, this program is the product.
const NAME: &str = "vellum";

/// Whether this process was started as the product.
pub(crate) fn is_product() -> bool {
    std::env::args_os().next().is_some_and(|name| name == NAME)
}

/// This program again, as the product.
pub(crate) fn command() -> Result<Command, Failure> {
    let own = std::env::current_exe().doing(|| "find this program".into())?;
    let mut command = Command::new(own);
    command.arg0(NAME);
    Ok(command)
}

/// Is the product. A mount ends when standard input does, as that of a control.
pub(crate) fn run() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let (Some(verb), Some(mount_point)) = (arguments.first(), arguments.last())
        && verb == "mount"
    {
        let mount_point = mount_point.clone();
        std::thread::spawn(move || end_with_input(&mount_point));
    }
    vellum::cli::main()
}

fn end_with_input(mount_point: &OsStr) {
    // An input that can't be read has ended too.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    let status = command().and_then(|mut unmount| {
        let unmount = unmount.args(["umount", "--discard"]).arg(mount_point);
        let unmount = unmount.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        unmount.status().doing(|| "unmount".into())
    });
    if !status.is_ok_and(|status| status.success()) {
        // A client that was killed may not have let go of its file yet.
        let _ = rustix::mount::unmount(mount_point, UnmountFlags::DETACH);
        std::process::exit(1);
    }
}
