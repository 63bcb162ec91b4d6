//! `perf stat` attached to a running process, all its threads included.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::probes::Probes;
use crate::failure::{Doing, Failure};

/// What a process did while it was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    syscalls: u64,
    futexes: u64,
    switches: u64,
    allocations: u64,
    copies: u64,
}

impl Counts {
    /// In the order system calls, futexes, context switches, allocations, copies.
    pub(crate) fn per_write(self, writes: u64) -> [f64; 5] {
        [self.syscalls, self.futexes, self.switches, self.allocations, self.copies]
            .map(|count| count as f64 / writes as f64)
    }

    /// Reads what `perf stat -x,` wrote: value, unit, event, and fields that do not matter here.
    fn parse(text: &str, probes: &Probes) -> Result<Self, Failure> {
        let mut counts = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let mut fields = line.split(',');
            let (value, event) = (fields.next().unwrap_or(""), fields.nth(1).unwrap_or(""));
            let value: u64 = value.parse().map_err(|_| {
                Failure::new(format!("perf did not count {event}: it says `{value}`"))
            })?;
            match event {
                "raw_syscalls:sys_enter" => counts.syscalls += value,
                "syscalls:sys_enter_futex" => counts.futexes += value,
                "context-switches" => counts.switches += value,
                other if probes.allocations().any(|name| name == other) => {
                    counts.allocations += value
                }
                other if probes.copies().any(|name| name == other) => counts.copies += value,
                other => {
                    return Err(Failure::new(format!(
                        "perf counted {other}, which nobody asked for"
                    )));
                }
            }
        }
        Ok(counts)
    }
}

/// A count under way.
pub(crate) struct Counter<'p> {
    perf: Child,
    home: TempDir,
    orders: File,
    answers: File,
    probes: &'p Probes,
}

impl<'p> Counter<'p> {
    /// Attaches, and returns when the counters run. A copy counts from `copy_bytes` on.
    pub(crate) fn attach(pid: u32, probes: &'p Probes, copy_bytes: usize) -> Result<Self, Failure> {
        let home = tempfile::tempdir().doing(|| "make a directory for perf".into())?;
        let (orders, answers) = (home.path().join("orders"), home.path().join("answers"));
        for fifo in [&orders, &answers] {
            mknodat(CWD, fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
                .doing(|| format!("make the pipe {}", fifo.display()))?;
        }
        let mut command = Command::new("perf");
        command.args(["stat", "-x,", "--delay=-1", "--pid", &pid.to_string()]);
        command.arg("--output").arg(home.path().join("counts"));
        command.arg(format!("--control=fifo:{},{}", orders.display(), answers.display()));
        command.args(["-e", "raw_syscalls:sys_enter,syscalls:sys_enter_futex,context-switches"]);
        for event in probes.allocations() {
            command.args(["-e", &event]);
        }
        for event in probes.copies() {
            command.args(["-e", &event, "--filter", &format!("len >= {copy_bytes}")]);
        }
        let said =
            File::create(home.path().join("said")).doing(|| "make a file for perf".into())?;
        let perf = command
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .doing(|| "start perf (install it: apt-get install linux-perf)".into())?;
        let open = |path| {
            // For both directions, so that opening does not wait for the other end.
            File::options().read(true).write(true).open(path).doing(|| "open perf's pipes".into())
        };
        let (orders, answers) = (open(&orders)?, open(&answers)?);
        let mut counter = Self { perf, home, orders, answers, probes };
        counter.order("enable\n")?;
        Ok(counter)
    }

    /// Stops counting.
    pub(crate) fn finish(mut self) -> Result<Counts, Failure> {
        self.order("disable\n")?;
        let pid = Pid::from_child(&self.perf);
        kill_process(pid, Signal::INT).doing(|| "end perf".into())?;
        self.perf.wait().doing(|| "wait for perf".into())?;
        let text = std::fs::read_to_string(self.home.path().join("counts"))
            .doing(|| "read what perf counted".into())?;
        Counts::parse(&text, self.probes)
    }

    /// Sends an order and waits until perf says that it is done.
    fn order(&mut self, order: &str) -> Result<(), Failure> {
        self.orders.write_all(order.as_bytes()).doing(|| "talk to perf".into())?;
        let mut answer = [0; 5];
        let mut ready = [rustix::event::PollFd::new(&self.answers, rustix::event::PollFlags::IN)];
        let patience = rustix::event::Timespec { tv_sec: 20, tv_nsec: 0 };
        let events =
            rustix::event::poll(&mut ready, Some(&patience)).doing(|| "wait for perf".into())?;
        if events == 0 {
            let said = std::fs::read_to_string(self.home.path().join("said")).unwrap_or_default();
            return Err(Failure::new(format!(
                "perf does not answer (it needs root, and linux-perf 5.10 or later); it said: {}",
                said.trim()
            )));
        }
        self.answers.read_exact(&mut answer).doing(|| "hear from perf".into())
    }
}

impl Drop for Counter<'_> {
    fn drop(&mut self) {
        // Our own child, still ours unless `finish` has waited for it.
        if matches!(self.perf.try_wait(), Ok(None)) && self.perf.kill().is_ok() {
            let _ = self.perf.wait();
        }
    }
}
