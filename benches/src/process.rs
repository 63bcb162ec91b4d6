//! Overwrites in this process: what a write path adds to the copy itself.

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::failure::Failure;
use crate::offsets;
use crate::paths::{Floor, Improved, Naive, Shape, Vellum, WritePath};
use crate::placement::{Cpus, Placement};
use crate::report::{Case, Series, put_json};

/// Bytes of every write.
pub(crate) const WRITE_BYTES: usize = 4096;
/// Unit that the chunked forms cut files into, and the size of the block that fits the L2 cache.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;
/// How long one batch should take: a hundred times what it takes to wake a thread in a VM.
const BATCH: Duration = Duration::from_millis(8);

/// How many bytes the writes are spread over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WorkingSet {
    /// One block of 64 KiB (two where chunks are crossed): stays in the L2 cache.
    L2,
    /// 64 MiB per file.
    #[value(name = "64m")]
    Large,
}

/// How the writes lie in the chunks of a path that has chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// The file is one chunk.
    Single,
    /// The file is many chunks; a write lies in one of them.
    Multi,
    /// The file is many chunks; a write begins in one and ends in the next.
    Crossing,
}

/// Options of `process`.
#[derive(Args)]
pub(crate) struct ProcessArgs {
    /// Rounds; in each, every candidate has one turn.
    #[arg(long, default_value_t = 101, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Bytes that the writes are spread over.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["l2", "64m"])]
    set: Vec<WorkingSet>,
    /// How the writes lie in chunks.
    #[arg(long, value_enum, value_delimiter = ',',
          default_values = ["single", "multi", "crossing"])]
    form: Vec<Form>,
    /// Where the threads run.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["pinned", "free"])]
    place: Vec<Placement>,
    /// Writing threads, each on a file of its own.
    #[arg(long, value_delimiter = ',', default_values = ["1", "2"],
          value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: Vec<u16>,
    /// CPU for pinned runs; the last one when not given.
    #[arg(long)]
    cpu: Option<usize>,
    /// Also write the figures to this file; `-` is standard output, in place of the tables.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Runs every combination of the options.
pub(crate) fn run(args: &ProcessArgs) -> Result<(), Failure> {
    align_buffers_alike();
    let cpus = Cpus::find(args.cpu)?;
    let quiet = args.json.as_deref() == Some("-".as_ref());
    let mut told = Vec::new();
    for (&set, &form) in args.set.iter().flat_map(|s| args.form.iter().map(move |f| (s, f))) {
        for (&place, &threads) in
            args.place.iter().flat_map(|p| args.threads.iter().map(move |t| (p, t)))
        {
            let conditions = Conditions { set, form, place, threads: usize::from(threads) };
            let case = conditions.measure(&cpus, args.rounds)?;
            if !quiet {
                println!("{}", case.table());
            }
            told.push(case.json());
        }
    }
    match &args.json {
        Some(path) => put_json(path, &json!({ "in_process": told })),
        None => Ok(()),
    }
}

/// Under what a case is measured.
pub(crate) struct Conditions {
    pub(crate) set: WorkingSet,
    pub(crate) form: Form,
    pub(crate) place: Placement,
    pub(crate) threads: usize,
}

impl Conditions {
    fn shape(&self) -> Shape {
        let file_bytes = match (self.set, self.form) {
            (WorkingSet::L2, Form::Single) => CHUNK_BYTES,
            (WorkingSet::L2, Form::Multi | Form::Crossing) => 2 * CHUNK_BYTES,
            (WorkingSet::Large, _) => 64 << 20,
        };
        let chunk_bytes = match self.form {
            Form::Single => file_bytes,
            Form::Multi | Form::Crossing => CHUNK_BYTES,
        };
        Shape { files: self.threads, file_bytes, chunk_bytes }
    }

    fn offsets(&self) -> Vec<u64> {
        let shape = self.shape();
        match self.form {
            Form::Single | Form::Multi => offsets::random(shape.file_bytes, WRITE_BYTES),
            Form::Crossing => offsets::crossing(shape.file_bytes, CHUNK_BYTES, WRITE_BYTES),
        }
    }

    fn title(&self) -> String {
        let set = match self.set {
            WorkingSet::L2 => "L2",
            WorkingSet::Large => "64 MiB",
        };
        let form = match self.form {
            Form::Single => "single chunk",
            Form::Multi => "many chunks",
            Form::Crossing => "crossing chunks",
        };
        let place = self.place.name();
        format!("in process, 4 KiB, {set}, {form}, {place}, {} thread(s)", self.threads)
    }

    /// Gives every candidate its turns.
    pub(crate) fn measure(&self, cpus: &Cpus, rounds: u32) -> Result<Case, Failure> {
        // Before anything is made: a runtime's threads inherit the place.
        cpus.enter(self.place)?;
        let shape = self.shape();
        let drive = Drive {
            offsets: self.offsets(),
            data: Source::new(),
            parallel: cpus.usable(self.place).min(self.threads),
        };
        let mut candidates = candidates(shape);
        let writes: Vec<u64> = candidates
            .iter_mut()
            .map(|(_, candidate)| calibrate(BATCH, |writes| candidate.batch(&drive, writes)))
            .collect();
        let mut series: Vec<Series> = candidates
            .iter()
            .map(|(name, _)| Series { name: (*name).into(), ns_per_write: Vec::new() })
            .collect();
        for _ in 0..rounds {
            for (index, (_, candidate)) in candidates.iter_mut().enumerate() {
                let took = candidate.batch(&drive, writes[index]);
                series[index].ns_per_write.push(took.as_nanos() as f64 / writes[index] as f64);
            }
        }
        cpus.enter(Placement::Free)?;
        Ok(Case { title: self.title(), write_bytes: WRITE_BYTES, series, base: "memcpy" })
    }
}

/// Everything that takes turns, in the order of its turns.
fn candidates(shape: Shape) -> Vec<(&'static str, Box<dyn Candidate>)> {
    vec![
        ("memcpy", Box::new(Memcpy::warm(shape))),
        ("floor", Box::new(Through(Floor::warm(shape), shape.files))),
        ("vellum", Box::new(Through(Vellum::warm(shape), shape.files))),
        ("improved", Box::new(Through(Improved::warm(shape), shape.files))),
        ("naive", Box::new(Through(Naive::warm(shape), shape.files))),
    ]
}

/// How many writes make a batch of about `length`, found by doubling. Each size has three tries,
/// and the quickest counts: one that was interrupted must not make all later batches short.
pub(crate) fn calibrate(length: Duration, mut batch: impl FnMut(u64) -> Duration) -> u64 {
    let mut writes = 16;
    loop {
        let tries = [batch(writes), batch(writes), batch(writes)];
        let took = tries.into_iter().min().unwrap_or(length);
        if took * 2 >= length || writes >= 1 << 24 {
            let scale = length.as_secs_f64() / took.as_secs_f64().max(1e-9);
            return ((writes as f64 * scale) as u64).max(16);
        }
        writes *= 2;
    }
}

/// Makes every buffer of a block or more begin at the same place in its page, so that no path is
/// quicker by the luck of its alignment.
pub(crate) fn align_buffers_alike() {
    // SAFETY: no other thread exists yet that could allocate meanwhile, and any value is allowed.
    // Larger allocations then get pages of their own, and begin 16 bytes into them.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, CHUNK_BYTES as libc::c_int) };
}

/// The bytes of every write, from a quarter into a page on. AMD's `rep movsb`, which `memcpy` uses
/// for this size, is 20 times slower when the target lies up to 63 bytes above the source modulo
/// 4 KiB (glibc bug 30994); targets lie 16 bytes behind the beginning or the middle of a page.
pub(crate) struct Source {
    room: Vec<u8>,
    start: usize,
}

impl Source {
    pub(crate) fn new() -> Self {
        const PAGE: usize = 4096;
        let room = vec![0x5a; WRITE_BYTES + 2 * PAGE];
        let start = (PAGE + PAGE / 4 - room.as_ptr() as usize % PAGE) % PAGE;
        Self { room, start }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.room[self.start..self.start + WRITE_BYTES]
    }
}

/// What every candidate is driven with.
struct Drive {
    offsets: Vec<u64>,
    data: Source,
    /// Threads that can run at the same time.
    parallel: usize,
}

impl Drive {
    /// Runs `writers` side by side, `writes` writes in all, and tells what they cost their CPUs
    /// together: with a CPU for each, the time that a write takes its writer, times `writes`; with
    /// fewer, the time of the whole, times the CPUs.
    fn race<W: FnMut(u64, &[u8]) + Send>(&self, writes: u64, writers: Vec<W>) -> Duration {
        let count = writers.len();
        let each = writes.div_ceil(count as u64);
        let line = Barrier::new(count);
        let run = |mut write: W| {
            line.wait();
            let begun = Instant::now();
            self.one(each, &mut write);
            (begun, Instant::now())
        };
        if count == 1 {
            return writers.into_iter().map(run).map(|(begun, ended)| ended - begun).sum();
        }
        let run = &run;
        let spans: Vec<(Instant, Instant)> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                writers.into_iter().map(|write| scope.spawn(move || run(write))).collect();
            let ends = threads.into_iter().map(|thread| thread.join());
            ends.map(|span| span.expect("a writer never panics")).collect()
        });
        if self.parallel >= count {
            // Not from the first start to the last end: a wake-up can take longer than a batch.
            return spans.iter().map(|&(begun, ended)| ended - begun).sum();
        }
        let first = spans.iter().map(|span| span.0).min();
        let last = spans.iter().map(|span| span.1).max();
        let wall = first.zip(last).map_or(Duration::ZERO, |(first, last)| last - first);
        wall * self.parallel as u32
    }

    fn one(&self, writes: u64, mut write: impl FnMut(u64, &[u8])) {
        let mut places = self.offsets.iter().cycle();
        for _ in 0..writes {
            if let Some(&offset) = places.next() {
                write(black_box(offset), black_box(self.data.bytes()));
            }
        }
    }
}

trait Candidate {
    fn batch(&mut self, drive: &Drive, writes: u64) -> Duration;
}

/// The copy and nothing else: no lock, no look-up.
struct Memcpy {
    files: Vec<Vec<u8>>,
}

impl Memcpy {
    fn warm(shape: Shape) -> Self {
        Self { files: vec![vec![1; shape.file_bytes]; shape.files] }
    }
}

impl Candidate for Memcpy {
    fn batch(&mut self, drive: &Drive, writes: u64) -> Duration {
        let writers = self.files.iter_mut().map(|file| {
            |offset: u64, data: &[u8]| {
                let start = offset as usize;
                file[start..start + data.len()].copy_from_slice(data);
                black_box(&mut *file);
            }
        });
        drive.race(writes, writers.collect())
    }
}

/// A write path, file by file.
struct Through<P>(P, usize);

impl<P: WritePath> Candidate for Through<P> {
    fn batch(&mut self, drive: &Drive, writes: u64) -> Duration {
        let path = &self.0;
        let writers = (0..self.1).map(|file| {
            move |offset: u64, data: &[u8]| {
                let written = path.write(file, offset, data);
                assert_eq!(written, Ok(data.len()), "a warm file takes every write");
            }
        });
        drive.race(writes, writers.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_candidate_takes_its_turns_in_every_form() {
        for form in [Form::Single, Form::Multi, Form::Crossing] {
            for threads in [1, 2] {
                let conditions =
                    Conditions { set: WorkingSet::L2, form, place: Placement::Free, threads };
                let drive =
                    Drive { offsets: conditions.offsets(), data: Source::new(), parallel: threads };
                for (name, mut candidate) in candidates(conditions.shape()) {
                    assert!(candidate.batch(&drive, 32) > Duration::ZERO, "{name}");
                }
            }
        }
    }

    #[test]
    fn a_batch_is_made_long_enough() {
        let writes =
            calibrate(Duration::from_millis(1), |writes| Duration::from_nanos(writes * 100));
        assert_eq!(writes, 10_000);
    }
}
