//! A process that does nothing but write into a path, when told to.

use std::hint::black_box;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use clap::{Args, ValueEnum};

use crate::failure::{Doing, Failure};
use crate::offsets;
use crate::paths::{Floor, Improved, Naive, Shape, Vellum, WritePath};
use crate::process::{CHUNK_BYTES, WRITE_BYTES, align_buffers_alike};

/// What writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Subject {
    /// The copy and nothing else.
    Memcpy,
    /// One look-up, one lock, one copy.
    Floor,
    /// The product's path.
    Vellum,
    /// The naive path after the plan.
    Improved,
    /// The naive path.
    Naive,
}

impl Subject {
    pub(crate) const ALL: [Self; 5] =
        [Self::Memcpy, Self::Floor, Self::Vellum, Self::Improved, Self::Naive];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memcpy => "memcpy",
            Self::Floor => "floor",
            Self::Vellum => "vellum",
            Self::Improved => "improved",
            Self::Naive => "naive",
        }
    }
}

/// Options of `spin`, which only this program gives itself.
#[derive(Args)]
pub(crate) struct SpinArgs {
    #[arg(value_enum)]
    subject: Subject,
}

/// Answers each line of standard input, a number of writes, with a line when they are done.
pub(crate) fn spin(args: &SpinArgs) -> Result<(), Failure> {
    align_buffers_alike();
    let shape = Shape { files: 1, file_bytes: CHUNK_BYTES, chunk_bytes: CHUNK_BYTES };
    match args.subject {
        Subject::Memcpy => {
            let mut file = vec![1; shape.file_bytes];
            obey(shape, |offset, data| {
                file[offset as usize..offset as usize + data.len()].copy_from_slice(data);
                black_box(&mut file);
                data.len()
            })
        }
        Subject::Floor => obey_path(&Floor::warm(shape), shape),
        Subject::Vellum => obey_path(&Vellum::warm(shape), shape),
        Subject::Improved => obey_path(&Improved::warm(shape), shape),
        Subject::Naive => obey_path(&Naive::warm(shape), shape),
    }
}

fn obey_path<P: WritePath>(path: &P, shape: Shape) -> Result<(), Failure> {
    obey(shape, |offset, data| path.write(0, offset, data).unwrap_or(0))
}

fn obey(shape: Shape, mut write: impl FnMut(u64, &[u8]) -> usize) -> Result<(), Failure> {
    let places = offsets::random(shape.file_bytes, WRITE_BYTES);
    let data = vec![0x5a; WRITE_BYTES];
    println!("ready");
    for order in std::io::stdin().lines() {
        let order = order.doing(|| "read an order".into())?;
        let writes: usize = order.parse().doing(|| format!("read `{order}` as a number"))?;
        for &place in places.iter().cycle().take(writes) {
            if write(black_box(place), black_box(&data)) != data.len() {
                return Err(Failure::new("a warm file refused a write"));
            }
        }
        println!("done");
    }
    Ok(())
}

/// This program again, as a `spin`.
pub(crate) struct Spinner {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Spinner {
    /// Starts it and waits until its file is warm.
    pub(crate) fn start(subject: Subject) -> Result<Self, Failure> {
        let own = std::env::current_exe().doing(|| "find this program".into())?;
        let mut child = std::process::Command::new(own)
            .args(["spin", subject.name()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .doing(|| "start this program again".into())?;
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::new("the pipes that were asked for are missing"));
        };
        let mut spinner = Self { child, orders, answers: BufReader::new(answers) };
        spinner.hear("ready")?;
        spinner.write(1_000)?;
        Ok(spinner)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has it write, and waits for the end.
    pub(crate) fn write(&mut self, writes: u64) -> Result<(), Failure> {
        writeln!(self.orders, "{writes}").doing(|| "tell the writer to begin".into())?;
        self.hear("done")
    }

    fn hear(&mut self, word: &str) -> Result<(), Failure> {
        let mut answer = String::new();
        self.answers.read_line(&mut answer).doing(|| "hear from the writer".into())?;
        if answer.trim_end() == word {
            return Ok(());
        }
        Err(Failure::new(format!("the writer said `{}` in place of `{word}`", answer.trim_end())))
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        // Our own child, not waited for yet; between two orders it holds nothing.
        if self.child.kill().is_ok() {
            let _ = self.child.wait();
        }
    }
}
