//! The limits on everything that is read. Each is part of the format.

/// Bytes of a file name, and of an extended attribute's name (Linux NAME_MAX, XATTR_NAME_MAX).
pub const NAME_MAX_BYTES: usize = 255;
/// Bytes of a symbolic link's target (Linux PATH_MAX less its NUL).
pub const TARGET_MAX_BYTES: usize = 4095;
/// Bytes of an extended attribute's value (Linux XATTR_SIZE_MAX).
pub const XATTR_MAX_BYTES: usize = 64 << 10;
/// Bytes of all names of an inode's extended attributes, each with a NUL (Linux XATTR_LIST_MAX).
pub const XATTR_NAMES_MAX_BYTES: usize = 64 << 10;
/// Bytes of an encoded map of extended attributes that stands in the inode; a longer one is stored.
pub const XATTRS_INLINE_MAX_BYTES: usize = 4 << 10;
/// Bytes of an encoded map of extended attributes.
pub const XATTRS_MAX_BYTES: usize = 1 << 20;
/// Bytes of a file (Linux `loff_t`).
pub const FILE_MAX_BYTES: u64 = i64::MAX as u64;
/// Pieces, holes counted, that stand in the inode; more go into a piece tree.
pub const INLINE_MAX_PIECES: usize = 16;
/// Names of one inode (ext4's limit).
pub const LINKS_MAX: usize = 65_000;
/// Levels of a tree: the root's level is at most one less.
pub const HEIGHT_MAX: u8 = 16;
/// Entries of a node.
pub const NODE_MAX_ENTRIES: usize = 1024;
/// Bytes of entries after which a node ends: a node has at most this and one entry.
pub const NODE_SPLIT_BYTES: usize = 256 << 10;
/// Bytes of a node as it is stored, its places included.
pub const NODE_MAX_BYTES: u64 = 32 << 20;
/// Leaf entries below a node. Keeps every sum of counts far from overflow.
pub const COUNT_MAX: u64 = 1 << 48;
/// Bytes of the smallest chunk size.
pub const CHUNK_MIN_BYTES: u32 = 64 << 10;
/// Bytes of the largest chunk size, and of any data object.
pub const CHUNK_MAX_BYTES: u32 = 16 << 20;
/// Bytes of a chunk, unless the repository was made with another size.
pub const CHUNK_DEFAULT_BYTES: u32 = 4 << 20;
/// Bytes up to which a file is packed with others into one object.
pub const PACKED_MAX_BYTES: u64 = 128 << 10;
/// Parents of a snapshot.
pub const PARENTS_MAX: usize = 16;
/// Bytes of a snapshot's author.
pub const AUTHOR_MAX_BYTES: usize = 1 << 10;
/// Bytes of a snapshot's message.
pub const MESSAGE_MAX_BYTES: usize = 64 << 10;
/// Bytes of a snapshot.
pub const SNAPSHOT_MAX_BYTES: usize = 128 << 10;
/// Bytes of a ref's body.
pub const REF_MAX_BYTES: usize = 128;
/// Bytes of a ref's name.
pub const REF_NAME_MAX_BYTES: usize = 200;
/// Bytes of the header.
pub const HEADER_MAX_BYTES: usize = 64 << 10;
