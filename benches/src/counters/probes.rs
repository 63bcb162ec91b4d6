//! Probes in the C library that tell allocations and copies of any process on this machine.

use std::ffi::CStr;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use crate::failure::{Doing, Failure};

const CONTROL: &str = "/sys/kernel/tracing/uprobe_events";

/// How Rust's system allocator and everything else gets memory.
const ALLOCATORS: [&CStr; 5] =
    [c"malloc", c"calloc", c"realloc", c"posix_memalign", c"aligned_alloc"];
/// How bytes are copied when their number is not known at compile time.
const COPIERS: [&CStr; 2] = [c"memcpy", c"memmove"];

/// Probes that are there as long as this value is.
pub(crate) struct Probes {
    allocations: Vec<String>,
    copies: Vec<String>,
}

impl Probes {
    /// Puts probes at the C library's functions, for all processes that use the same library.
    pub(crate) fn place() -> Result<Self, Failure> {
        let group = format!("vellum_bench_{}", std::process::id());
        let mut probes = Self { allocations: Vec::new(), copies: Vec::new() };
        for function in ALLOCATORS {
            let event = format!("{group}/{}", function.to_string_lossy());
            add(&format!("p:{event} {}\n", place_of(function)?))?;
            probes.allocations.push(event);
        }
        let mut seen = Vec::new();
        for function in COPIERS {
            let place = place_of(function)?;
            // On most CPUs both names are one function.
            if !seen.contains(&place) {
                let event = format!("{group}/{}", function.to_string_lossy());
                add(&format!("p:{event} {place} len=%dx:u64\n"))?;
                probes.copies.push(event);
                seen.push(place);
            }
        }
        Ok(probes)
    }

    /// Events that count an allocation each, as `perf` names them.
    pub(crate) fn allocations(&self) -> impl Iterator<Item = String> {
        self.allocations.iter().map(|event| event.replace('/', ":"))
    }

    /// Events that count a copy each, with a field `len`.
    pub(crate) fn copies(&self) -> impl Iterator<Item = String> {
        self.copies.iter().map(|event| event.replace('/', ":"))
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        for event in self.allocations.iter().chain(&self.copies) {
            if let Err(failure) = add(&format!("-:{event}\n")) {
                eprintln!("vellum-bench: {failure}");
            }
        }
    }
}

fn add(command: &str) -> Result<(), Failure> {
    let doing = || {
        format!(
            "write {:?} to {CONTROL} (counting needs root, a kernel with uprobes, and tracefs: \
             mount -t tracefs tracefs /sys/kernel/tracing)",
            command.trim_end()
        )
    };
    let mut control = OpenOptions::new().append(true).open(CONTROL).doing(doing)?;
    control.write_all(command.as_bytes()).doing(doing)
}

/// File and offset of the code that a call of `function` reaches on this CPU.
fn place_of(function: &CStr) -> Result<String, Failure> {
    // SAFETY: the name is a terminated string, and RTLD_DEFAULT needs no handle to be open.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, function.as_ptr()) } as u64;
    let maps =
        std::fs::read_to_string("/proc/self/maps").doing(|| "read /proc/self/maps".into())?;
    let place = maps.lines().find_map(|line| in_mapping(line, address));
    let (file, offset) = place.ok_or_else(|| {
        let name = function.to_string_lossy();
        Failure::new(format!("{name} is in no mapped file: counting needs a shared C library"))
    })?;
    Ok(format!("{}:{offset:#x}", Path::new(&file).display()))
}

/// File and offset of an address, if this line of `maps` is the mapping that holds it.
fn in_mapping(line: &str, address: u64) -> Option<(String, u64)> {
    let mut fields = line.split_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let (start, end) = (hex(start)?, hex(end)?);
    let offset = hex(fields.nth(1)?)?;
    let file = fields.nth(2)?;
    let inside = (start..end).contains(&address) && file.starts_with('/');
    inside.then(|| (file.to_owned(), address - start + offset))
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_address_is_found_in_the_file_that_is_mapped_there() {
        let line = "7f00-7f80 r-xp 00000100 fe:00 326279    /usr/lib/libc.so.6";
        assert_eq!(in_mapping(line, 0x7f10), Some(("/usr/lib/libc.so.6".into(), 0x110)));
        assert_eq!(in_mapping(line, 0x7f80), None);
        assert_eq!(in_mapping("7f00-7f80 rw-p 00000000 00:00 0", 0x7f10), None);
    }

    #[test]
    fn every_function_has_a_place_in_the_c_library() {
        for function in ALLOCATORS.iter().chain(&COPIERS) {
            assert!(place_of(function).unwrap().contains("libc"), "{function:?}");
        }
    }
}
