//! Which file systems are local.

use std::os::fd::OwnedFd;

use rustix::fs::fstatfs;
use rustix::io::Errno;

/// `f_type` of file systems that other hosts share, from linux/magic.h and the sources of those
/// that are not in it. Their locks, syncs and renames do not promise what the store relies on.
const NETWORK: [(u32, &str); 14] = [
    (0x0000_6969, "NFS"),
    (0x0000_517B, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB2"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "FUSE"),
    (0x00C3_6400, "Ceph"),
    (0x5346_414F, "AFS"),
    (0x6B41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x0116_1970, "GFS2"),
    (0x7461_636F, "OCFS2"),
    (0x0BD0_0BD0, "Lustre"),
    (0x4750_4653, "GPFS"),
];

/// The name of the network file system that `dir` lies on; none when it is local.
pub(super) fn network_file_system(dir: &OwnedFd) -> Result<Option<&'static str>, Errno> {
    Ok(network_name(fstatfs(dir)?.f_type))
}

/// `f_type` is as wide as the architecture's word, and some kernels sign-extend it.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn network_name(f_type: i64) -> Option<&'static str> {
    let magic = f_type as u32;
    NETWORK.iter().find(|(known, _)| *known == magic).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_by_their_magic_numbers() {
        assert_eq!(network_name(0x6969), Some("NFS"));
        assert_eq!(network_name(0xFF53_4D42), Some("CIFS"));
        assert_eq!(network_name(i64::from(0xFF53_4D42_u32.cast_signed())), Some("CIFS"));
        assert_eq!(network_name(0x6573_5546), Some("FUSE"));
        assert_eq!(network_name(0xEF53), None, "ext4");
        assert_eq!(network_name(0x5846_5342), None, "xfs");
    }
}
