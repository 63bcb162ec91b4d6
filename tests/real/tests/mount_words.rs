//! What the commands about a mount say: where things are, what was done, and true remedies.

#![allow(clippy::unwrap_used)]

mod common;
mod mounted;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use common::programs::shell;
use mounted::{Bench, LET_GO, until};

#[test]
fn a_commit_to_a_full_store_asks_for_room() {
    let bench = Bench::new();
    let mount = bench.mount_faulty("mnt", "nospace=1");
    fs::write(mount.path("file"), b"content").unwrap();
    let said = common::fails(mount.vellum("commit").args(["-m", "x"]), 7);
    assert!(said.contains("make room"), "{said}");
}

#[test]
fn a_commit_that_needs_a_damaged_object_says_that_it_stays_so() {
    let bench = Bench::new();
    let mount = bench.mount("first");
    fs::write(mount.path("big"), vec![7; 3 << 20]).unwrap();
    mount.commit();
    mount.unmount();
    let mount = bench.mount("mnt");
    std::os::unix::fs::FileExt::write_at(
        &File::options().write(true).open(mount.path("big")).unwrap(),
        b"x",
        100,
    )
    .unwrap();
    shell(&bench.repository(), "find . -path '*chunks*' -type f -size +1M -delete");
    let said = common::fails(mount.vellum("commit").args(["-m", "x"]), 6);
    assert!(said.contains("every commit that needs this object fails"), "{said}");
}

#[test]
fn edits_of_a_snapshot_are_never_said_to_be_committable() {
    let bench = Bench::new();
    let mount = bench.mount("first");
    fs::write(mount.path("file"), b"content").unwrap();
    let snapshot = mount.commit()["snapshot"].as_str().unwrap().to_owned();
    mount.unmount();

    let point = bench.path("mnt");
    fs::create_dir(&point).unwrap();
    let mut source = bench.repository().into_os_string();
    source.push(format!("@{snapshot}"));
    let said = common::ok(bench.vellum(["mount"]).arg(source).arg(&point));
    assert!(said.contains("can't be committed"), "{said}");
    let mount = bench.mounted("mnt");
    fs::write(mount.path("file"), b"edit").unwrap();
    let said = common::fails(&mut mount.vellum("umount"), 1);
    assert!(said.contains("can't be committed") && !said.contains("--commit"), "{said}");
    let said = common::ok(&mut mount.vellum("status"));
    assert!(said.contains("none: it can't be committed"), "{said}");
}

#[test]
fn status_says_where_the_log_is_and_counts_inodes() {
    let bench = Bench::new();
    let mount = bench.mount("mnt");
    fs::write(mount.path("file"), b"content").unwrap();
    let said = common::ok(&mut mount.vellum("status"));
    assert!(said.contains("2 inodes changed"), "{said}");
    let log = mount.status()["mount"]["log"].as_str().unwrap().to_owned();
    assert!(said.contains(&log) && Path::new(&log).exists(), "{said}");
    common::ok(mount.vellum("umount").arg("--discard"));
    // It had nothing to say.
    until("the log is gone", || !Path::new(&log).exists());
}

#[test]
fn what_was_done_is_said_though_standard_output_is_full() {
    let bench = Bench::new();
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    fs::create_dir(bench.path("mnt")).unwrap();
    let mut call = bench.vellum(["mount"]);
    let output = call.arg(bench.repository()).arg(bench.path("mnt")).stdout(full());
    let output = output.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("is mounted at") && said.contains("standard output"), "{said}");
    let mount = bench.mounted("mnt");
    fs::write(mount.path("file"), b"content").unwrap();
    let output = mount.vellum("commit").args(["-m", "x"]).stdout(full()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("committed ") && said.contains("standard output"), "{said}");
    mount.unmount();
}

#[test]
fn wrong_usage_is_json_when_json_is_asked_for() {
    let said = common::fails(&mut common::vellum(["status", "--json", "--nonsense"]), 2);
    let error: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(error["error"]["exit"], 2);
    assert!(error["error"]["what"].as_str().unwrap().contains("--nonsense"), "{said}");
    assert!(error["error"]["remedy"].as_str().unwrap().contains("--help"), "{said}");
}

#[test]
fn remedies_can_be_typed_as_they_stand() {
    let bench = Bench::new();
    let mount = bench.mount("a mount");
    let mut again = bench.vellum(["mount"]);
    let said = common::fails(again.arg(bench.repository()).arg(mount.root()), 2);
    assert!(said.contains(&format!("vellum umount '{}'", mount.root().display())), "{said}");
    mount.unmount();
    let said = common::fails(bench.vellum(["mount"]).arg(bench.repository()).arg("/proc"), 2);
    assert!(said.contains(": umount /proc"), "{said}");
    let said = common::fails(bench.vellum(["mount"]).arg(bench.repository()).arg("/"), 2);
    assert!(!said.contains("umount"), "{said}");
}

/// Runs `script` as a user other than root, in a mount namespace where /dev/fuse has `mode`.
/// `vellum` is a command there, and the repository `a,b\c` is its own, in the working directory.
fn as_another_user(mode: &str, script: &str) -> (i32, String, String) {
    let dir = tempfile::TempDir::with_prefix("vellum-").unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let binary = dir.path().join("vellum");
    fs::copy(common::binary(), &binary).unwrap();
    let own = dir.path().join("own.sh");
    let head = "set -eu\nvellum() { ./vellum \"$@\"; }\nexport VELLUM_RUNTIME_DIR=$PWD/run\n\
                vellum init 'a,b\\c' >/dev/null\nmkdir mnt\n";
    fs::write(&own, format!("{head}{script}")).unwrap();
    let outer = format!(
        "{LET_GO}mknod -m {mode} fuse c 10 229; mount --bind fuse /dev/fuse; \
         exec setpriv --reuid 65534 --regid 65534 --clear-groups sh own.sh"
    );
    let mut call = Command::new("unshare");
    call.args(["-m", "sh", "-euc", &outer]).current_dir(dir.path());
    common::run(&mut call)
}

#[test]
fn another_user_may_mount_a_repository_with_a_comma_in_its_path() {
    if !common::is_root() {
        return;
    }
    let script = r#"
vellum mount 'a,b\c' mnt
grep -F ' fuse.vellum ' /proc/self/mounts | grep -F "$PWD/mnt" | cut -d' ' -f1
echo text > mnt/file
vellum commit mnt -m x
vellum umount mnt
"#;
    let (code, said, errors) = as_another_user("666", script);
    assert_eq!(code, 0, "{said}{errors}");
    assert!(said.contains(r"/a,b\134c@main"), "{said}");
}

#[test]
fn a_device_that_may_not_be_opened_is_named() {
    if !common::is_root() {
        return;
    }
    let (code, said, errors) = as_another_user("600", "vellum mount 'a,b\\c' mnt\n");
    assert_eq!(code, 4, "{said}{errors}");
    assert!(errors.contains("/dev/fuse") && !errors.contains("allow-other"), "{errors}");
}
