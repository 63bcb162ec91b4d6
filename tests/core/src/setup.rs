//! What the tests and the demonstration need from the machine, and how it comes there.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program, and the Debian package that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Name of the program.
    pub program: String,
    /// Package to install.
    pub package: String,
}

impl Need {
    /// `program`, which comes with `package`.
    #[must_use]
    pub fn new(program: &str, package: &str) -> Self {
        Self { program: program.to_owned(), package: package.to_owned() }
    }

    /// What mounting and unmounting take, for a user other than root.
    #[must_use]
    pub fn fuse() -> Self {
        Self::new("fusermount3", "fuse3")
    }

    /// Reads a list of lines `PROGRAM PACKAGE`. The package `-` stands for the Rust toolchain,
    /// which is there.
    #[must_use]
    pub fn list(text: &str) -> Vec<Self> {
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        pairs
            .filter(|(_, package)| *package != "-")
            .map(|(program, package)| Self::new(program, package))
            .collect()
    }

    /// Whether the machine lacks it.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        find(&self.program).is_none()
    }
}

/// Where `program` lies: in `PATH`, or where system programs are.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Whether this process may do everything.
#[must_use]
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    // The owner of a process's own directory in /proc is its effective user.
    std::fs::metadata("/proc/self").is_ok_and(|about| about.uid() == 0)
}

/// Installs what is missing of `needs` by apt, after it said so.
///
/// # Errors
/// What is still missing, why, and what a person can do about it.
pub fn install(needs: &[Need]) -> Result<(), String> {
    let missing: Vec<&Need> = needs.iter().filter(|need| need.is_missing()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().map(|need| need.package.as_str()).collect();
    packages.sort_unstable();
    packages.dedup();
    let command = format!("apt-get install -y {}", packages.join(" "));
    println!("Installing by apt, because this machine lacks it: {}", packages.join(", "));
    let tried = install_packages(&packages);
    let missing: Vec<&str> =
        needs.iter().filter(|need| need.is_missing()).map(|need| need.program.as_str()).collect();
    match tried {
        Ok(()) if missing.is_empty() => Ok(()),
        Ok(()) => Err(format!("{} is still missing; see what apt-get said", missing.join(", "))),
        Err(why) => Err(format!(
            "{} is missing and can't be installed ({why}): run `{command}` as root",
            missing.join(", ")
        )),
    }
}

/// The version of moto, somebody else's S3 server, that tests were tried with.
const MOTO: &str = "5.2.5";

fn moto_folder(target: &Path) -> PathBuf {
    target.join("tools").join(format!("moto-{MOTO}"))
}

/// Where the server of moto lies when the target directory is `target`.
#[must_use]
pub fn moto_server(target: &Path) -> PathBuf {
    moto_folder(target).join("bin/moto_server")
}

/// Installs moto from PyPI into a virtual environment below `target`, unless it is there. What it
/// takes to make one is installed first.
///
/// # Errors
/// What failed.
pub fn install_moto(target: &Path) -> Result<(), String> {
    if moto_server(target).exists() {
        return Ok(());
    }
    let folder = moto_folder(target);
    println!("Installing moto {MOTO} from PyPI, into {}", folder.display());
    let venv = || {
        let mut python = Command::new("python3");
        run(python.args(["-m", "venv", "--clear"]).arg(&folder).stdin(Stdio::null()))
    };
    // Debian has the module `venv` without what it needs, in a package of its own.
    venv().or_else(|_| install_packages(&["python3-venv"]).and_then(|()| venv()))?;
    // pip writes moto's own programs last: when they are there, all is.
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    run(pip.arg(format!("moto[server]=={MOTO}")).stdin(Stdio::null()))
}

fn install_packages(packages: &[&str]) -> Result<(), String> {
    ["update", "install"].into_iter().try_for_each(|verb| {
        let mut apt = apt_get()?;
        apt.arg(verb);
        if verb == "install" {
            apt.args(["-y", "--no-install-recommends"]).args(packages);
        }
        run(&mut apt)
    })
}

/// `apt-get`, as root.
fn apt_get() -> Result<Command, String> {
    let apt = find("apt-get").ok_or("there is no apt-get here")?;
    let mut command = if is_root() {
        Command::new(apt)
    } else {
        let sudo = find("sudo").ok_or("neither root nor sudo")?;
        let mut command = Command::new(sudo);
        if !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
            // Nobody can type a password.
            command.arg("-n");
        }
        command.args(["env", "DEBIAN_FRONTEND=noninteractive"]).arg(apt);
        command
    };
    command.env("DEBIAN_FRONTEND", "noninteractive").arg("-q");
    Ok(command)
}

fn run(command: &mut Command) -> Result<(), String> {
    if is_root() {
        command.stdin(Stdio::null());
    }
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{} ended with {status}", shown(command))),
        Err(error) => Err(format!("{}: {error}", shown(command))),
    }
}

/// A command as a person would type it.
#[must_use]
pub fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy().into_owned());
    std::iter::once(name).chain(arguments).collect::<Vec<_>>().join(" ")
}

/// Whether the kernel has FUSE for us.
///
/// # Errors
/// What is wrong with `/dev/fuse`, and what to do.
pub fn check_fuse() -> Result<(), String> {
    let opened = std::fs::File::options().read(true).write(true).open("/dev/fuse");
    opened.map(drop).map_err(|error| {
        let remedy = if error.kind() == std::io::ErrorKind::PermissionDenied {
            "run this as root, or let users in: `chmod a+rw /dev/fuse`"
        } else {
            "load the module (`modprobe fuse`), or give the container the device (`--device \
             /dev/fuse --cap-add SYS_ADMIN`)"
        };
        format!("mounts are not possible here: /dev/fuse: {error}; {remedy}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_and_others_are_not() {
        assert!(!Need::new("sh", "dash").is_missing());
        assert!(Need::new("no-such-program", "none").is_missing());
        assert_eq!(install(&[Need::new("sh", "dash")]), Ok(()));
    }

    #[test]
    fn a_list_of_programs_is_read() {
        let needs = Need::list("cargo -\ngit git\nsetfattr attr\n");
        assert_eq!(needs, [Need::new("git", "git"), Need::new("setfattr", "attr")]);
    }

    #[test]
    fn a_command_is_shown_as_it_is_typed() {
        let mut command = Command::new("/usr/bin/apt-get");
        command.args(["install", "fuse3"]);
        assert_eq!(shown(&command), "apt-get install fuse3");
    }
}
