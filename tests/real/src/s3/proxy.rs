//! A proxy that breaks what passes: `tools/s3_fault_proxy.py` tells how.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use serde_json::{Value, json};

use super::child::Server;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/s3_fault_proxy.py");

/// How often it is started again on other ports.
const STARTS: u32 = 5;

/// The proxy before a server, on a port of its own; it ends when this is dropped. What it does to
/// which request is drawn from a seed.
#[derive(Debug)]
pub struct FaultProxy {
    _server: Server,
    port: u16,
    control: u16,
}

impl FaultProxy {
    /// Starts it before the server that listens at `upstream`, as `HOST:PORT`. There are no faults
    /// yet.
    ///
    /// # Errors
    /// Python is missing, or a port was taken meanwhile, again and again.
    pub fn start(upstream: &str, seed: u64) -> io::Result<Self> {
        let mut tries = 1..=STARTS;
        loop {
            match Self::start_once(upstream, seed) {
                // Somebody took a port between us and the proxy.
                Err(_) if tries.next().is_some() => {}
                started => return started,
            }
        }
    }

    fn start_once(upstream: &str, seed: u64) -> io::Result<Self> {
        let [port, control] = free_ports()?;
        let mut command = Command::new("python3");
        command.arg(SCRIPT).args(["--upstream", upstream, "--seed", &seed.to_string()]);
        command.args(["--listen", &port.to_string(), "--control", &control.to_string()]);
        let (server, ()) = Server::start(command, |line| line.starts_with("proxy ").then_some(()))?;
        Ok(Self { _server: server, port, control })
    }

    /// Where it listens, as a client is told it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Sets the faults that are drawn: each `NAME=PROBABILITY[,METHODS[,PATTERN]]`.
    ///
    /// # Errors
    /// The proxy does not understand it, or is gone.
    pub fn set_faults(&self, faults: &[&str]) -> io::Result<()> {
        self.post("/set", &json!({ "faults": faults })).map(drop)
    }

    /// Every request waits this long before it goes on to the server.
    ///
    /// # Errors
    /// The proxy is gone.
    pub fn set_latency_ms(&self, latency_ms: u32) -> io::Result<()> {
        self.post("/set", &json!({ "latency_ms": [latency_ms, latency_ms] })).map(drop)
    }

    /// Has a fault happen once, to the request after the next `skip` of those methods (`PUT|GET`)
    /// whose paths match `pattern`.
    ///
    /// # Errors
    /// The proxy does not understand it, or is gone.
    pub fn once(&self, fault: &str, methods: &str, pattern: &str, skip: u32) -> io::Result<()> {
        let once = json!({ "fault": fault, "methods": methods, "path": pattern, "skip": skip });
        self.post("/once", &once).map(drop)
    }

    /// Begins an outage (`refuse`, `reset`, `blackhole` or `503`), or ends it (`none`).
    ///
    /// # Errors
    /// The proxy does not understand it, or is gone.
    pub fn outage(&self, mode: &str) -> io::Result<()> {
        self.post("/outage", &json!({ "mode": mode })).map(drop)
    }

    /// What passed so far, in figures: `requests`, `method.PUT`, `fault.slow503` and so on.
    ///
    /// # Errors
    /// The proxy is gone.
    pub fn stats(&self) -> io::Result<Value> {
        self.ask("GET", "/stats", "")
    }

    fn post(&self, path: &str, what: &Value) -> io::Result<Value> {
        self.ask("POST", path, &what.to_string())
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> io::Result<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.control))?;
        let len = body.len();
        write!(stream, "{method} {path} HTTP/1.1\r\nContent-Length: {len}\r\n\r\n{body}")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        if !head.starts_with("HTTP/1.1 200 ") {
            return Err(io::Error::other(format!("{path} {answer}")));
        }
        Ok(serde_json::from_str(body)?)
    }
}

/// Two ports that nobody has now. Somebody may take one before the proxy does: then it does not
/// start.
fn free_ports() -> io::Result<[u16; 2]> {
    let [one, two] = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
    Ok([one.local_addr()?.port(), two.local_addr()?.port()])
}
