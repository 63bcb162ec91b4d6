//! POSIX access control lists that an import brought along.
//!
//! A mount does not apply them: it shows modes that give nobody more than the list does. What is
//! stored stays as it was, until the mode is set: then the list goes. Encoding: version 2 of
//! Linux's `system.posix_acl_access`, a `u32` 2, then per entry `u16` tag, `u16` rights, `u32` id,
//! all little-endian (`linux/posix_acl_xattr.h`).

use crate::format::XattrMap;

/// The extended attribute that holds a list.
pub(crate) const ACCESS: &[u8] = b"system.posix_acl_access";

const RIGHTS: u32 = 0o7;
const GROUP_AND_OTHERS: u32 = 0o077;

/// What a list says of those who are not the owner. Of those who are named: what all of them may.
#[derive(Debug, Default)]
struct List {
    users: Option<u32>,
    group: u32,
    groups: Option<u32>,
    mask: Option<u32>,
    other: u32,
}

impl List {
    /// The list in `xattrs`. One that can't be read gives nobody anything.
    fn of(xattrs: &XattrMap) -> Option<Self> {
        let bytes = xattrs.get(ACCESS)?;
        Some(Self::parse(bytes).unwrap_or_default())
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut list = Self::default();
        for entry in bytes.strip_prefix(&2_u32.to_le_bytes())?.chunks(8) {
            let [tag, 0, rights, _, _, _, _, _] = *entry else { return None };
            let rights = u32::from(rights) & RIGHTS;
            let all = |named: Option<u32>| Some(named.unwrap_or(RIGHTS) & rights);
            match tag {
                // The owner's rights are those of the mode.
                0x01 => {}
                0x02 => list.users = all(list.users),
                0x04 => list.group = rights,
                0x08 => list.groups = all(list.groups),
                0x10 => list.mask = Some(rights),
                0x20 => list.other = rights,
                _ => return None,
            }
        }
        Some(list)
    }

    /// The bits of a mode for group and others. Who is in the group may be a user that the list
    /// names; others may be that, or be in a group that it names.
    fn shown(&self) -> u32 {
        let mask = self.mask.unwrap_or(RIGHTS);
        let named = |rights: Option<u32>| rights.map_or(RIGHTS, |rights| rights & mask);
        let group = self.group & mask & named(self.users);
        let other = self.other & named(self.users) & named(self.groups);
        group << 3 | other
    }

    /// The same bits as the list's own file system has them.
    fn stored(&self) -> u32 {
        self.mask.unwrap_or(self.group) << 3 | self.other
    }
}

/// The mode that a mount shows for what is stored with `mode` and `xattrs`.
pub(crate) fn shown(mode: u32, xattrs: &XattrMap) -> u32 {
    List::of(xattrs).map_or(mode, |list| mode & !GROUP_AND_OTHERS | mode & list.shown())
}

/// The mode to store for what is shown with `mode` and has `xattrs`.
pub(crate) fn stored(mode: u32, xattrs: &XattrMap) -> u32 {
    match List::parse(xattrs.get(ACCESS).map_or(&[][..], |bytes| &bytes[..])) {
        Some(list) => mode & !GROUP_AND_OTHERS | list.stored(),
        None => mode,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[(u8, u8)]) -> XattrMap {
        let mut bytes = vec![2, 0, 0, 0];
        for (tag, rights) in entries {
            bytes.extend([*tag, 0, *rights, 0, 1, 2, 3, 4]);
        }
        XattrMap::from([(ACCESS.into(), bytes.into())])
    }

    #[test]
    fn nobody_is_shown_more_than_the_list_gives() {
        let (owner, user, group, named, mask, other) = (0x01, 0x02, 0x04, 0x08, 0x10, 0x20);
        for (entries, mode, seen) in [
            // chmod 600, then setfacl -m u:1000:rw: the mask is in the group's place.
            (&[(owner, 6), (user, 6), (group, 0), (mask, 6), (other, 0)][..], 0o660, 0o600),
            // A user in the group, or among others, who is named and may only read.
            (&[(owner, 7), (user, 4), (group, 7), (mask, 7), (other, 7)], 0o777, 0o744),
            // A group among others that may do nothing.
            (&[(owner, 7), (group, 7), (named, 0), (mask, 7), (other, 5)], 0o775, 0o770),
            (&[(owner, 6), (user, 7), (group, 6), (mask, 4), (other, 0)], 0o4640, 0o4640),
            (&[(owner, 6), (group, 4), (other, 4)], 0o644, 0o644),
        ] {
            let xattrs = list(entries);
            assert_eq!(shown(mode, &xattrs), seen, "{entries:?}");
            assert_eq!(stored(seen, &xattrs), mode, "{entries:?}");
        }
        assert_eq!(shown(0o644, &XattrMap::new()), 0o644);
        assert_eq!(stored(0o644, &XattrMap::new()), 0o644);
    }

    #[test]
    fn a_list_that_can_t_be_read_gives_nothing() {
        for bytes in
            [&b""[..], &[1, 0, 0, 0], &[2, 0, 0, 0, 4], &[2, 0, 0, 0, 3, 0, 7, 0, 0, 0, 0, 0]]
        {
            let xattrs = XattrMap::from([(ACCESS.into(), bytes.into())]);
            assert_eq!(shown(0o755, &xattrs), 0o700);
            assert_eq!(stored(0o700, &xattrs), 0o700);
        }
    }
}
