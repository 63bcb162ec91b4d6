//! What every disk must do as long as nothing goes wrong: the one suite that all of them pass. Each
//! check wants an empty disk.

/// An open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Handle(pub u64);

/// Why an operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskError {
    /// No file has that name.
    NotFound,
    /// The file that was to be created is there.
    Exists,
    /// The disk is full: whoever makes room may try again.
    NoSpace,
    /// A quota is reached: as good as full, to its owner.
    Quota,
    /// The disk failed. After a sync, what was not durable may be lost, and no later sync says so.
    Io,
}

/// One directory of files. What is done through a handle that is not open may panic.
pub trait Disk {
    /// Makes an empty file, where none is, and opens it.
    fn create(&mut self, name: &str) -> Result<Handle, DiskError>;
    /// Opens a file.
    fn open(&mut self, name: &str) -> Result<Handle, DiskError>;
    /// Closes a file. It goes if it has no name.
    fn close(&mut self, handle: Handle);
    /// Its length.
    fn len_bytes(&mut self, handle: Handle) -> Result<u64, DiskError>;
    /// Reads some bytes, and answers how many: none at the end alone.
    fn read_at(&mut self, handle: Handle, at: u64, buf: &mut [u8]) -> Result<usize, DiskError>;
    /// Writes the first of these bytes, and answers how many: one at least, if there are any.
    fn write_at(&mut self, handle: Handle, at: u64, bytes: &[u8]) -> Result<usize, DiskError>;
    /// Cuts the file, or makes it longer by a hole.
    fn set_len(&mut self, handle: Handle, len_bytes: u64) -> Result<(), DiskError>;
    /// Reserves room for a range, all of it or none, so that no write or sync there fails for want
    /// of it. Neither what is read nor the length changes.
    fn allocate(&mut self, handle: Handle, at: u64, len: usize) -> Result<(), DiskError>;
    /// Makes the file's bytes and length durable, not its name.
    fn sync_data(&mut self, handle: Handle) -> Result<(), DiskError>;
    /// Gives a file another name, atomically, in place of a file that has it.
    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError>;
    /// Takes a file's name. The file stays while it is open.
    fn remove(&mut self, name: &str) -> Result<(), DiskError>;
    /// All names, in byte order.
    fn list(&mut self) -> Result<Vec<String>, DiskError>;
    /// Makes all names durable as they are.
    fn sync_dir(&mut self) -> Result<(), DiskError>;
    /// Ends the process that uses the disk, and with it its handles. The host lives on.
    fn kill(&mut self);
}

/// One check of the suite.
pub type Check = fn(&mut dyn Disk);

/// What all disks keep, by name.
pub const ALL: [(&str, Check); 15] = [
    ("bytes are read back", bytes_are_read_back),
    ("reading ends where the file ends", reading_ends_where_the_file_ends),
    ("a write changes its own bytes alone", a_write_changes_its_own_bytes_alone),
    ("holes read as zeros", holes_read_as_zeros),
    ("a file is created once", a_file_is_created_once),
    ("what is not there is not found", what_is_not_there_is_not_found),
    ("two handles see one file", two_handles_see_one_file),
    ("a cut file grows with zeros", a_cut_file_grows_with_zeros),
    ("a reservation changes nothing that is read", a_reservation_changes_nothing),
    ("a sync changes nothing that is read", a_sync_changes_nothing),
    ("a rename replaces, and the old file stays open", a_rename_replaces),
    ("a rename to itself changes nothing", a_rename_to_itself_changes_nothing),
    ("a removed file stays while it is open", a_removed_file_stays_while_it_is_open),
    ("the list is complete and in order", the_list_is_complete_and_in_order),
    ("a kill loses nothing that has a name", a_kill_loses_nothing_that_has_a_name),
];

/// Writes all of `bytes`.
pub fn write_all(
    disk: &mut dyn Disk,
    handle: Handle,
    at: u64,
    bytes: &[u8],
) -> Result<(), DiskError> {
    let mut done = 0;
    while done < bytes.len() {
        let count = disk.write_at(handle, at + done as u64, &bytes[done..])?;
        assert!(count > 0, "a write makes progress or fails");
        done += count;
    }
    Ok(())
}

/// Reads a file from its beginning to its end.
pub fn read_all(disk: &mut dyn Disk, handle: Handle) -> Result<Vec<u8>, DiskError> {
    let mut bytes = vec![0; disk.len_bytes(handle)? as usize];
    let mut done = 0;
    while done < bytes.len() {
        let count = disk.read_at(handle, done as u64, &mut bytes[done..])?;
        assert!(count > 0, "the end is not before the length");
        done += count;
    }
    Ok(bytes)
}

/// `len` bytes that differ from their neighbours.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 7 % 251 + 1) as u8).collect()
}

fn create(disk: &mut dyn Disk, name: &str, bytes: &[u8]) -> Handle {
    let handle = disk.create(name).expect("there is none");
    write_all(disk, handle, 0, bytes).expect("there is room");
    handle
}

#[track_caller]
fn holds(disk: &mut dyn Disk, handle: Handle, bytes: &[u8]) {
    assert_eq!(read_all(disk, handle).expect("it can be read"), bytes);
}

#[track_caller]
fn named_holds(disk: &mut dyn Disk, name: &str, bytes: &[u8]) {
    let handle = disk.open(name).expect("it has the name");
    holds(disk, handle, bytes);
    disk.close(handle);
}

/// Of any length, through the handle that wrote them and through another.
pub fn bytes_are_read_back(disk: &mut dyn Disk) {
    for len in [0, 1, 7, 8, 9, 511, 512, 513, 5000] {
        let name = format!("f{len}");
        let handle = create(disk, &name, &pattern(len));
        assert_eq!(disk.len_bytes(handle), Ok(len as u64));
        holds(disk, handle, &pattern(len));
        disk.close(handle);
        named_holds(disk, &name, &pattern(len));
    }
}

/// A range over the end gives what there is, one past it nothing.
pub fn reading_ends_where_the_file_ends(disk: &mut dyn Disk) {
    let handle = create(disk, "ten", b"0123456789");
    for (at, expected) in [(0, "0123456789"), (7, "789"), (10, ""), (11, ""), (9000, "")] {
        let mut found: Vec<u8> = Vec::new();
        loop {
            let mut buf = [0xee; 16];
            let count = disk.read_at(handle, at + found.len() as u64, &mut buf).expect("read");
            assert!(buf[count..].iter().all(|byte| *byte == 0xee), "more was read than told");
            found.extend(&buf[..count]);
            if count == 0 {
                break;
            }
        }
        assert_eq!(found, expected.as_bytes(), "from {at}");
    }
    assert_eq!(disk.read_at(handle, 3, &mut []), Ok(0));
}

/// Wherever it begins and ends.
pub fn a_write_changes_its_own_bytes_alone(disk: &mut dyn Disk) {
    let mut expected = pattern(1500);
    let handle = create(disk, "f", &expected);
    for (at, len) in [(0, 1), (3, 2), (7, 2), (8, 8), (500, 30), (512, 512), (1400, 90), (9, 0)] {
        write_all(disk, handle, at as u64, &vec![0xaa; len]).expect("there is room");
        expected[at..at + len].fill(0xaa);
        holds(disk, handle, &expected);
    }
}

/// Before, between and after what was written.
pub fn holes_read_as_zeros(disk: &mut dyn Disk) {
    let handle = create(disk, "f", b"");
    for at in [700, 3000] {
        write_all(disk, handle, at, b"xyz").expect("there is room");
    }
    disk.set_len(handle, 4000).expect("growth");
    let mut expected = vec![0; 4000];
    for at in [700, 3000] {
        expected[at..at + 3].copy_from_slice(b"xyz");
    }
    holds(disk, handle, &expected);
}

/// The second creation changes nothing.
pub fn a_file_is_created_once(disk: &mut dyn Disk) {
    create(disk, "f", b"first");
    assert_eq!(disk.create("f"), Err(DiskError::Exists));
    named_holds(disk, "f", b"first");
}

/// Nor is it made by asking for it.
pub fn what_is_not_there_is_not_found(disk: &mut dyn Disk) {
    create(disk, "f", b"x");
    for _ in 0..2 {
        assert_eq!(disk.open("g"), Err(DiskError::NotFound));
        assert_eq!(disk.remove("g"), Err(DiskError::NotFound));
        assert_eq!(disk.rename("g", "f"), Err(DiskError::NotFound));
    }
    named_holds(disk, "f", b"x");
}

/// At once, and when one of them is closed.
pub fn two_handles_see_one_file(disk: &mut dyn Disk) {
    let one = create(disk, "f", b"0123456789");
    let two = disk.open("f").expect("it is there");
    write_all(disk, one, 2, b"one").expect("there is room");
    write_all(disk, two, 7, b"three").expect("there is room");
    holds(disk, one, b"01one56three");
    disk.close(one);
    holds(disk, two, b"01one56three");
}

/// What was cut off does not come back, by `set_len` or by a write past the end.
pub fn a_cut_file_grows_with_zeros(disk: &mut dyn Disk) {
    for (index, cut) in [0, 1, 8, 11, 512, 700].into_iter().enumerate() {
        let handle = create(disk, &format!("f{index}"), &pattern(1200));
        disk.set_len(handle, cut as u64).expect("a cut");
        holds(disk, handle, &pattern(1200)[..cut]);
        disk.set_len(handle, 1000).expect("growth");
        let mut expected = pattern(1200);
        expected.truncate(cut);
        expected.resize(1000, 0);
        holds(disk, handle, &expected);
        disk.set_len(handle, cut as u64).expect("a cut");
        write_all(disk, handle, 1000, b"end").expect("there is room");
        expected.extend(b"end");
        holds(disk, handle, &expected);
    }
}

/// Over bytes, over a hole and past the end; what is written there later is read back.
pub fn a_reservation_changes_nothing(disk: &mut dyn Disk) {
    let handle = create(disk, "f", &pattern(100));
    write_all(disk, handle, 2000, b"end").expect("there is room");
    let mut expected = pattern(100);
    expected.resize(2000, 0);
    expected.extend(b"end");
    for (at, len) in [(0, 50), (90, 1000), (1990, 5000)] {
        disk.allocate(handle, at, len).expect("there is room");
        holds(disk, handle, &expected);
    }
    disk.set_len(handle, 3000).expect("growth");
    expected.resize(3000, 0);
    write_all(disk, handle, 2500, b"later").expect("it is reserved");
    expected[2500..2505].copy_from_slice(b"later");
    holds(disk, handle, &expected);
}

/// Before, between and after writes.
pub fn a_sync_changes_nothing(disk: &mut dyn Disk) {
    let handle = create(disk, "f", b"");
    for round in 0..4 {
        disk.sync_data(handle).expect("a sync");
        disk.sync_dir().expect("a sync");
        holds(disk, handle, &pattern(round * 300));
        write_all(disk, handle, 0, &pattern((round + 1) * 300)).expect("there is room");
    }
    assert_eq!(disk.list(), Ok(vec!["f".to_owned()]));
}

/// Whoever has the old one open reads and writes it, and not the new one.
pub fn a_rename_replaces(disk: &mut dyn Disk) {
    let old = create(disk, "f", b"old");
    let new = create(disk, "g", b"new file");
    disk.rename("g", "f").expect("both are there");
    assert_eq!(disk.list(), Ok(vec!["f".to_owned()]));
    named_holds(disk, "f", b"new file");
    write_all(disk, old, 3, b"er").expect("there is room");
    holds(disk, old, b"older");
    write_all(disk, new, 0, b"NEW").expect("there is room");
    named_holds(disk, "f", b"NEW file");
    disk.rename("f", "h").expect("it is there");
    assert_eq!(disk.list(), Ok(vec!["h".to_owned()]));
    named_holds(disk, "h", b"NEW file");
}

/// It is no removal.
pub fn a_rename_to_itself_changes_nothing(disk: &mut dyn Disk) {
    create(disk, "f", b"x");
    disk.rename("f", "f").expect("it is there");
    assert_eq!(disk.list(), Ok(vec!["f".to_owned()]));
    named_holds(disk, "f", b"x");
}

/// Its name is free for another file.
pub fn a_removed_file_stays_while_it_is_open(disk: &mut dyn Disk) {
    let old = create(disk, "f", b"old");
    disk.remove("f").expect("it is there");
    assert_eq!(disk.open("f"), Err(DiskError::NotFound));
    let new = create(disk, "f", b"new");
    write_all(disk, old, 3, b"er").expect("there is room");
    disk.sync_data(old).expect("a sync");
    holds(disk, old, b"older");
    disk.close(old);
    holds(disk, new, b"new");
}

/// After each change of names.
pub fn the_list_is_complete_and_in_order(disk: &mut dyn Disk) {
    assert_eq!(disk.list(), Ok(Vec::new()));
    for name in ["b", "a", "log-10", "log-9", "B", "a.tmp"] {
        create(disk, name, b"");
    }
    disk.rename("a", "z").expect("it is there");
    disk.remove("log-9").expect("it is there");
    let expected = ["B", "a.tmp", "b", "log-10", "z"].map(str::to_owned).to_vec();
    assert_eq!(disk.list(), Ok(expected));
}

/// Synced or not. What has no name is gone.
pub fn a_kill_loses_nothing_that_has_a_name(disk: &mut dyn Disk) {
    let synced = create(disk, "synced", &pattern(1000));
    disk.sync_data(synced).expect("a sync");
    disk.sync_dir().expect("a sync");
    create(disk, "not synced", &pattern(700));
    let cut = create(disk, "cut", &pattern(700));
    disk.set_len(cut, 30).expect("a cut");
    create(disk, "first name", b"renamed");
    disk.rename("first name", "last name").expect("it is there");
    create(disk, "removed", b"open");
    disk.remove("removed").expect("it is there");
    disk.kill();
    let expected = ["cut", "last name", "not synced", "synced"].map(str::to_owned).to_vec();
    assert_eq!(disk.list(), Ok(expected));
    named_holds(disk, "synced", &pattern(1000));
    named_holds(disk, "not synced", &pattern(700));
    named_holds(disk, "cut", &pattern(30));
    named_holds(disk, "last name", b"renamed");
}
