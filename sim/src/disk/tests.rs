#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use super::contract::{read_all, write_all};
use super::*;
use crate::choice::Exhaustive;

/// Small sectors, so that a few bytes are many of them.
const SECTOR: usize = 8;

fn disk(seed: u64) -> SimDisk {
    SimDisk::new(Choices::seeded(seed), SECTOR)
}

/// A file of which everything is durable.
fn synced(disk: &mut SimDisk, name: &str, bytes: &[u8]) -> Handle {
    let handle = disk.create(name).unwrap();
    write_all(disk, handle, 0, bytes).unwrap();
    disk.sync_data(handle).unwrap();
    disk.sync_dir().unwrap();
    handle
}

fn read(disk: &mut SimDisk, name: &str) -> Vec<u8> {
    let handle = disk.open(name).unwrap();
    let bytes = read_all(disk, handle).unwrap();
    disk.close(handle);
    bytes
}

/// What each of `count` power losses makes of a disk.
fn losses<T>(disk: &SimDisk, count: u64, mut look: impl FnMut(&mut SimDisk) -> T) -> Vec<T> {
    let after = |seed| {
        let mut disk = disk.clone();
        disk.power_loss(&Choices::seeded(seed));
        look(&mut disk)
    };
    (0..count).map(after).collect()
}

/// Everything that can become of a disk.
fn all_losses<T: Ord>(disk: &SimDisk, look: impl Fn(&mut SimDisk) -> T) -> BTreeSet<T> {
    let mut all = Exhaustive::new("power");
    let mut seen = BTreeSet::new();
    while let Some(found) = all.play(|choices| {
        let mut disk = disk.clone();
        disk.power_loss(&choices.lane("power"));
        look(&mut disk)
    }) {
        seen.insert(found);
    }
    seen
}

/// Does some hundred things to a few files, and tells what came of each and how long it took.
fn play(disk: &mut SimDisk, choices: &Choices) -> Vec<Result<u64, DiskError>> {
    let mut told = Vec::new();
    for _ in 0..150 {
        let name = choices.pick(&["a", "b", "c"]);
        let handle = disk.open(name).or_else(|_| disk.create(name)).unwrap();
        let at = choices.below(200);
        let len = choices.index(60);
        told.push(match choices.index(10) {
            0..4 => disk.write_at(handle, at, &vec![at as u8; len]).map(|count| count as u64),
            4..6 => disk.read_at(handle, at, &mut vec![0; len]).map(|count| count as u64),
            6 => disk.sync_data(handle).map(|()| 0),
            7 => disk.allocate(handle, at, len).map(|()| 0),
            8 => disk.set_len(handle, at).map(|()| 0),
            _ => match choices.index(4) {
                0 => disk.sync_dir().map(|()| 0),
                1 => disk.remove(name).map(|()| 0),
                2 => disk.rename(name, "d").map(|()| 0),
                _ => {
                    disk.kill();
                    continue;
                }
            },
        });
        told.push(Ok(disk.took_ns()));
        disk.close(handle);
    }
    told
}

#[test]
fn the_simulated_disk_keeps_the_contract_in_short_reads_and_writes_too() {
    for (name, check) in contract::ALL {
        for (seed, sector_bytes) in [(0, 8), (1, 8), (2, 512), (3, 2)] {
            println!("{name}, seed {seed}");
            let mut disk = SimDisk::new(Choices::seeded(seed), sector_bytes);
            check(&mut disk);
            let mut disk = SimDisk::new(Choices::seeded(seed), sector_bytes);
            disk.faults = DiskFaults { short: 500, stall: 100, ..DiskFaults::none() };
            check(&mut disk);
        }
    }
}

#[test]
fn after_a_power_loss_synced_bytes_are_there_unless_their_sector_was_touched() {
    for seed in 0..100 {
        let choices = Choices::seeded(seed);
        let mut disk = disk(seed);
        let old: Vec<u8> = (1..=128).collect();
        let handle = synced(&mut disk, "f", &old);
        let mut touched = BTreeSet::new();
        for _ in 0..choices.below(6) {
            let at = choices.below(120);
            let len = 1 + choices.index(20);
            write_all(&mut disk, handle, at, &vec![0xff; len]).unwrap();
            touched.extend((at..at + len as u64).map(|at| at / 8));
        }
        let kept = |found: &[u8]| {
            (0..16).filter(|sector| !touched.contains(sector)).all(|sector| {
                let range = sector as usize * 8..sector as usize * 8 + 8;
                found[range.clone()] == old[range]
            })
        };
        assert!(losses(&disk, 20, |disk| kept(&read(disk, "f"))).into_iter().all(|kept| kept));
    }
}

#[test]
fn a_sector_that_was_not_synced_is_new_or_old_or_torn_or_garbage_each_on_its_own() {
    let mut disk = disk(1);
    let handle = synced(&mut disk, "f", &[b'o'; 16]);
    write_all(&mut disk, handle, 0, &[b'n'; 16]).unwrap();
    let form = |bytes: &[u8]| {
        let new = bytes.iter().take_while(|byte| **byte == b'n').count();
        let rest_is_old = bytes[new..].iter().all(|byte| *byte == b'o');
        match new {
            0 if rest_is_old => "old",
            SECTOR => "new",
            _ if rest_is_old => "torn",
            _ => "garbage",
        }
    };
    let forms: BTreeSet<_> = losses(&disk, 400, |disk| {
        let found = read(disk, "f");
        (form(&found[..8]), form(&found[8..]))
    })
    .into_iter()
    .collect();
    assert_eq!(forms.len(), 16, "{forms:?}");
}

#[test]
fn a_length_that_was_not_synced_is_one_that_the_file_had() {
    let mut disk = disk(2);
    let handle = synced(&mut disk, "f", &[b'o'; 12]);
    disk.set_len(handle, 3).unwrap();
    write_all(&mut disk, handle, 20, &[b'n'; 20]).unwrap();
    let found: BTreeSet<usize> =
        losses(&disk, 100, |disk| read(disk, "f").len()).into_iter().collect();
    assert_eq!(found, [3, 12, 40].into());
    disk.sync_data(handle).unwrap();
    let expected = [b"ooo".as_slice(), &[0; 17], &[b'n'; 20]].concat();
    assert_eq!(all_losses(&disk, |disk| read(disk, "f")), [expected].into());
    disk.set_len(handle, 22).unwrap();
    losses(&disk, 100, |disk| {
        let handle = disk.open("f").unwrap();
        let len = disk.len_bytes(handle).unwrap();
        disk.set_len(handle, 100).unwrap();
        assert_eq!(read(disk, "f")[len as usize..], vec![0; 100 - len as usize]);
    });
}

#[test]
fn a_reservation_that_was_not_synced_is_lost_sector_by_sector() {
    let mut disk = disk(3);
    let handle = synced(&mut disk, "f", b"x");
    disk.allocate(handle, 0, 24).unwrap();
    assert_eq!(all_losses(&disk, |disk| disk.free_sectors()).len(), 3);
    disk.sync_data(handle).unwrap();
    assert_eq!(all_losses(&disk, |disk| disk.free_sectors()), [u64::MAX / 8 - 3].into());
}

#[test]
fn a_rename_is_never_half() {
    let mut disk = disk(4);
    synced(&mut disk, "f", b"old");
    synced(&mut disk, "f.tmp", b"new");
    disk.rename("f.tmp", "f").unwrap();
    let look = |disk: &mut SimDisk| (disk.list().unwrap(), read(disk, "f"));
    let before = (vec!["f".to_owned(), "f.tmp".to_owned()], b"old".to_vec());
    let after = (vec!["f".to_owned()], b"new".to_vec());
    assert_eq!(all_losses(&disk, look), [before, after.clone()].into());
    disk.sync_dir().unwrap();
    assert_eq!(all_losses(&disk, look), [after].into());
}

#[test]
fn names_are_lost_and_come_back_without_a_sync_of_the_directory_and_never_with_it() {
    let mut disk = disk(5);
    synced(&mut disk, "old", b"old");
    let new = disk.create("new").unwrap();
    disk.sync_data(new).unwrap();
    disk.remove("old").unwrap();
    let names = |disk: &mut SimDisk| disk.list().unwrap().join(" ");
    let each = ["", "new", "new old", "old"].map(str::to_owned);
    assert_eq!(all_losses(&disk, names), each.into());
    disk.sync_dir().unwrap();
    assert_eq!(all_losses(&disk, names), ["new".to_owned()].into());
}

#[test]
fn a_file_whose_name_is_durable_keeps_one_however_often_it_is_renamed() {
    for seed in 0..40 {
        let choices = Choices::seeded(seed);
        let mut disk = disk(seed);
        let names = ["a", "b", "c", "d", "e"];
        for name in &names[..3] {
            synced(&mut disk, name, name.as_bytes());
        }
        let mut gone = BTreeSet::new();
        for _ in 0..6 {
            let (from, to) = (choices.pick(&names), choices.pick(&names));
            if disk.open(from).is_ok() && from != to {
                let bytes = read(&mut disk, from);
                gone.extend(disk.open(to).is_ok().then(|| read(&mut disk, to)));
                disk.rename(from, to).unwrap();
                assert_eq!(read(&mut disk, to), bytes);
            }
        }
        losses(&disk, 40, |disk| {
            let names = disk.list().unwrap();
            let files: Vec<_> = names.iter().map(|name| read(disk, name)).collect();
            for name in [b"a", b"b", b"c"] {
                let count = files.iter().filter(|bytes| *bytes == name).count();
                let least = usize::from(!gone.contains(name.as_slice()));
                assert!((least..=1).contains(&count), "{names:?}");
            }
        });
    }
}

#[test]
fn the_sync_after_one_that_failed_lies() {
    let mut seen = BTreeSet::new();
    for seed in 0..100 {
        let mut disk = disk(seed);
        let handle = synced(&mut disk, "f", b"old");
        write_all(&mut disk, handle, 0, b"new").unwrap();
        disk.faults.sync_fails = 1000;
        assert_eq!(disk.sync_data(handle), Err(DiskError::Io));
        disk.faults = DiskFaults::none();
        let before = read(&mut disk, "f");
        assert_eq!(disk.sync_data(handle), Ok(()));
        assert_eq!(read(&mut disk, "f"), before);
        let after = all_losses(&disk, |disk| read(disk, "f"));
        assert_eq!(after.len(), 1, "nothing is left to choose");
        seen.insert((before, after.into_iter().next().unwrap()));
    }
    let each = [("new", "new"), ("new", "old"), ("old", "old")];
    assert_eq!(seen, each.map(|(a, b)| (a.into(), b.into())).into());
}

#[test]
fn what_was_cut_off_does_not_come_back_though_a_sync_failed() {
    for seed in 0..20 {
        let mut disk = disk(seed);
        let handle = synced(&mut disk, "f", b"0123456789");
        disk.set_len(handle, 3).unwrap();
        disk.faults.sync_fails = 1000;
        assert_eq!(disk.sync_data(handle), Err(DiskError::Io));
        disk.set_len(handle, 6).unwrap();
        assert_eq!(read(&mut disk, "f"), b"012\0\0\0");
    }
}

#[test]
fn room_runs_out_at_a_write_and_at_a_sync_and_never_where_it_is_reserved() {
    let mut disk = disk(6);
    let handle = disk.create("f").unwrap();
    disk.allocate(handle, 0, 16).unwrap();
    disk.faults = DiskFaults { no_space: 1000, no_space_late: 1000, ..DiskFaults::none() };
    write_all(&mut disk, handle, 0, &[1; 16]).unwrap();
    disk.sync_data(handle).unwrap();
    let is_full = |error| matches!(error, DiskError::NoSpace | DiskError::Quota);
    let mut told = Vec::new();
    for _ in 0..50 {
        told.push(disk.write_at(handle, 16, b"x").unwrap_err());
        told.push(disk.allocate(handle, 16, 1).unwrap_err());
        assert_eq!(disk.len_bytes(handle), Ok(16));
        disk.faults.no_space = 0;
        write_all(&mut disk, handle, 16, b"x").unwrap();
        told.push(disk.sync_data(handle).unwrap_err());
        assert_eq!(disk.sync_data(handle), Ok(()), "it is forgotten");
        disk.set_len(handle, 16).unwrap();
        disk.faults.no_space = 1000;
    }
    assert!(told.iter().all(|error| is_full(*error)) && told.contains(&DiskError::Quota));
    assert!(told.contains(&DiskError::NoSpace));
}

#[test]
fn a_disk_takes_no_more_than_it_has_room_for_and_gives_room_back() {
    let mut disk = disk(7);
    disk.capacity_bytes = 32;
    let one = disk.create("one").unwrap();
    assert_eq!(disk.write_at(one, 4, &[1; 100]), Ok(28));
    assert_eq!(disk.write_at(one, 32, b"x"), Err(DiskError::NoSpace));
    disk.set_len(one, 9).unwrap();
    let two = disk.create("two").unwrap();
    assert_eq!(disk.allocate(two, 0, 24), Err(DiskError::NoSpace));
    disk.allocate(two, 0, 16).unwrap();
    assert_eq!(disk.write_at(one, 16, b"x"), Err(DiskError::NoSpace));
    disk.remove("two").unwrap();
    assert_eq!(disk.write_at(one, 16, b"x"), Err(DiskError::NoSpace), "it is open");
    disk.close(two);
    assert_eq!(disk.write_at(one, 16, b"x"), Ok(1));
}

#[test]
fn damage_is_read_until_it_is_written_over_and_what_should_be_there_is_known() {
    let mut disk = disk(8);
    let handle = synced(&mut disk, "f", &[7; 32]);
    disk.faults.bit_rot = 1000;
    let found = read(&mut disk, "f");
    disk.faults = DiskFaults::none();
    let turned = |found: &[u8]| found.iter().map(|byte| (byte ^ 7).count_ones()).sum::<u32>();
    assert_eq!((turned(&found), read(&mut disk, "f")), (1, found));
    assert_eq!(disk.pristine("f"), Some(vec![7; 32]));
    write_all(&mut disk, handle, 0, &[7; 32]).unwrap();
    assert_eq!(turned(&read(&mut disk, "f")), 0);
}

#[test]
fn a_misdirected_write_lands_in_a_sector_of_this_file_or_of_another() {
    let mut seen = BTreeSet::new();
    for seed in 0..50 {
        let mut disk = disk(seed);
        let handle = synced(&mut disk, "f", &[b'o'; 16]);
        synced(&mut disk, "g", &[b'o'; 8]);
        write_all(&mut disk, handle, 0, &[b'n'; 8]).unwrap();
        disk.faults.misdirected = 1000;
        assert_eq!(disk.sync_data(handle), Ok(()));
        assert_eq!(disk.pristine("f").unwrap(), [[b'n'; 8], [b'o'; 8]].concat());
        seen.insert((read(&mut disk, "f"), read(&mut disk, "g")));
    }
    let same = ([[b'o'; 8], [b'n'; 8]].concat(), vec![b'o'; 8]);
    assert_eq!(seen, [same, (vec![b'o'; 16], vec![b'n'; 8])].into());
}

#[test]
fn every_fault_happens_where_faults_are_and_none_where_they_are_not() {
    let count = |faults: &DiskFaults| {
        let mut counts = BTreeMap::new();
        let mut errors = 0;
        for seed in 0..60 {
            let mut disk = disk(seed);
            disk.faults = faults.clone();
            let told = play(&mut disk, &Choices::seeded(seed + 1000));
            errors += told.iter().filter(|told| told.is_err()).count();
            for fault in DiskFault::ALL {
                *counts.entry(fault).or_insert(0) += disk.injected(fault);
            }
        }
        (counts, errors)
    };
    let (counts, errors) = count(&DiskFaults::rough());
    assert!(counts.values().all(|count| *count > 0) && errors > 100, "{counts:?} {errors}");
    let (counts, errors) = count(&DiskFaults::none());
    assert_eq!((counts.values().sum::<u64>(), errors), (0, 0));
}

#[test]
fn the_same_choices_and_their_tape_give_the_same_disk_byte_for_byte() {
    let run = |choices: &Choices| {
        let mut disk = SimDisk::new(choices.lane("disk"), SECTOR);
        disk.faults = DiskFaults::rough();
        let mut told = play(&mut disk, choices);
        disk.power_loss(&choices.lane("power"));
        told.extend(play(&mut disk, choices));
        (told, disk.names, disk.files, disk.handles, disk.injected, choices.tape())
    };
    let first = run(&Choices::seeded(9));
    assert_eq!(run(&Choices::seeded(9)), first);
    assert_eq!(run(&Choices::replay(&first.5)), first);
    assert_ne!(run(&Choices::seeded(10)).0, first.0);
}

#[test]
fn a_kill_makes_nothing_durable() {
    let mut disk = disk(10);
    let handle = synced(&mut disk, "f", b"old");
    write_all(&mut disk, handle, 0, b"new").unwrap();
    disk.kill();
    assert_eq!(read(&mut disk, "f"), b"new");
    assert!(losses(&disk, 50, |disk| read(disk, "f")).contains(&b"old".to_vec()));
}
