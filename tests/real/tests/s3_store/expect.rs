//! Big puts ask first whether their body is wanted.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use vellum_core::shapes::{Condition, StoreError, StoreOutcome, StoreRequest};
use vellum_sim::store::contract::put;
use vellum_tests_real::s3::StrictServer;

use super::Bucket;

const BIG_BYTES: usize = 3 << 20;

fn big(key: &str) -> StoreRequest {
    put(key, &vec![7; BIG_BYTES], Condition::Absent)
}

/// The head of a request, to the empty line.
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

fn answer(stream: &mut TcpStream, line: &str) {
    let text = format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\netag: \"e\"\r\n\r\n");
    stream.write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_big_put_of_what_exists_costs_its_head() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let bucket = Bucket::open(&format!("http://{}", listener.local_addr().unwrap()), "p");
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let head = head(&mut stream);
        answer(&mut stream, "412 Precondition Failed");
        let mut rest = Vec::new();
        // It may be a reset: then nothing came, either.
        let _ = stream.read_to_end(&mut rest);
        (head, rest.len())
    });
    assert_eq!(bucket.send(big("k")), StoreOutcome::Failed(StoreError::Exists));
    drop(bucket);
    let (head, body_bytes) = server.join().unwrap();
    assert!(head.contains("expect: 100-continue"), "{head}");
    assert_eq!(body_bytes, 0);
}

#[test]
fn a_server_that_does_not_speak_of_it_gets_the_body_and_is_not_asked_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let bucket = Bucket::open(&format!("http://{}", listener.local_addr().unwrap()), "p");
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut heads = Vec::new();
        let mut body = vec![0; BIG_BYTES];
        for _ in 0..2 {
            heads.push(head(&mut stream));
            stream.read_exact(&mut body).unwrap();
            assert!(body.iter().all(|byte| *byte == 7));
            answer(&mut stream, "200 OK");
        }
        heads
    });
    for key in ["k", "l"] {
        bucket.send(big(key)).stored().unwrap();
    }
    let heads = server.join().unwrap();
    assert!(heads[0].contains("expect: 100-continue"), "{heads:?}");
    assert!(!heads[1].contains("expect"), "{heads:?}");
}

#[test]
fn big_puts_that_are_wanted_arrive() {
    let server = StrictServer::start().unwrap();
    let bucket = Bucket::open(&server.endpoint(), "p");
    for key in ["a", "b", "c"] {
        bucket.send(big(key)).stored().unwrap();
        assert_eq!(bucket.send(big(key)), StoreOutcome::Failed(StoreError::Exists));
    }
    let counts = server.hooks().counts();
    assert_eq!((counts.put.requests, counts.put.failed), (6, 3));
    assert_eq!(counts.put.bytes, 3 * BIG_BYTES as u64);
}
