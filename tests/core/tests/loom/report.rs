//! The report: a line for each model that ran, in a file of the target directory.

use std::fs::File;
use std::io::Write;
use std::sync::Mutex;

/// One model.
pub(crate) struct Row<'a> {
    pub(crate) name: &'a str,
    pub(crate) threads: usize,
    /// Most preemptions of an interleaving; none: it was exhaustive.
    pub(crate) bound: Option<usize>,
    /// Interleavings for each order of spawning.
    pub(crate) counts: [u64; 2],
    pub(crate) seconds: f64,
}

static REPORT: Mutex<Option<File>> = Mutex::new(None);

/// Where the report is.
const PATH: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/loom-report.tsv");

pub(crate) fn add(row: &Row<'_>) {
    let mut report = REPORT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let report = report.get_or_insert_with(|| {
        let mut file = File::create(PATH).unwrap();
        let head = "model\tthreads\tpreemptions\tinterleavings\tspawned otherwise\tseconds";
        writeln!(file, "{head}").unwrap();
        file
    });
    let Row { name, threads, counts: [first, second], seconds, .. } = row;
    let bound = row.bound.map_or("exhaustive".to_owned(), |bound| bound.to_string());
    writeln!(report, "{name}\t{threads}\t{bound}\t{first}\t{second}\t{seconds:.2}").unwrap();
}
