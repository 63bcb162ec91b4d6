//! Bodies that are not what was said of them, and leave to send one.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use vellum_tests_real::s3::BUCKET;

use super::client::{get, is, refused, run};
use super::fresh;

/// Sends one request and reads the answer to its end.
pub(crate) fn ask(address: SocketAddr, line: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{line}\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Replaces a body after it was signed.
#[derive(Debug)]
struct Replaced(&'static str);

impl Intercept for Replaced {
    fn name(&self) -> &'static str {
        "Replaced"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _runtime: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        *context.request_mut().body_mut() = SdkBody::from(self.0);
        Ok(())
    }
}

#[test]
fn a_wrong_checksum_or_content_md5_is_400_and_nothing_is_stored() {
    let (server, client) = fresh();
    run(async {
        let put = || client.put_object().bucket(BUCKET).key("k").body(b"hello".to_vec().into());
        let wrong = [
            put().checksum_crc32("AAAAAA=="),
            put().checksum_crc32_c("AAAAAA=="),
            put().checksum_crc64_nvme("AAAAAAAAAAA="),
            put().checksum_sha1("AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
            put().checksum_sha256("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
            put().content_md5("AAAAAAAAAAAAAAAAAAAAAA=="),
        ];
        for put in wrong {
            let sums = format!("{put:?}");
            assert_eq!(refused(put.send().await), is(400, "BadDigest"), "{sums}");
        }
        assert!(server.hooks().keys(BUCKET).is_empty());
        let right = [
            put().checksum_crc32("NhCmhg=="),
            put().checksum_crc32_c("mnG7TA=="),
            put().checksum_crc64_nvme("M3eFcAZSQlc="),
            put().checksum_sha1("qvTGHdzF6KLavt4PO0gs2a6pQ00="),
            put().content_md5("XUFAKrxLKna5cZ2REBfFkg=="),
        ];
        for put in right {
            put.send().await.unwrap();
        }
        assert_eq!(get(&client, "k").await.unwrap(), b"hello");
    });
}

#[test]
fn a_body_that_was_changed_on_its_way_is_400_and_nothing_is_stored() {
    let (server, client) = fresh();
    run(async {
        let put = client.put_object().bucket(BUCKET).key("k").body(b"hello".to_vec().into());
        let put = put.customize().interceptor(Replaced("jello"));
        let told = refused(put.send().await);
        assert_eq!(told, is(400, "XAmzContentSHA256Mismatch"));
        assert!(server.hooks().keys(BUCKET).is_empty());
    });
}

#[test]
fn a_wrong_checksum_behind_the_body_is_400_and_nothing_is_stored() {
    let (server, client) = fresh();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hello").unwrap();
    run(async {
        // The SDK reads a file once: its checksum follows the body.
        let put = || async {
            let body = ByteStream::from_path(file.path()).await.unwrap();
            client.put_object().bucket(BUCKET).key("k").body(body)
        };
        let chunked = |sum: &str| format!("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:{sum}\r\n\r\n");
        let wrong: &'static str = chunked("AAAAAA==").leak();
        let told = put().await.customize().interceptor(Replaced(wrong)).send().await;
        assert_eq!(refused(told), is(400, "BadDigest"));
        let missing = "5\r\nhello\r\n0\r\nx-amz-checksum-crc3X:NhCmhg==\r\n\r\n";
        let told = put().await.customize().interceptor(Replaced(missing)).send().await;
        assert_eq!(refused(told), is(400, "MalformedTrailerError"));
        assert!(server.hooks().keys(BUCKET).is_empty());
        let right: &'static str = chunked("NhCmhg==").leak();
        put().await.customize().interceptor(Replaced(right)).send().await.unwrap();
        assert_eq!(get(&client, "k").await.unwrap(), b"hello");
    });
}

#[test]
fn who_waits_for_leave_to_send_a_body_gets_it_only_if_the_body_is_wanted() {
    let (server, client) = fresh();
    let put = client.put_object().bucket(BUCKET).key("k").content_length(5);
    let hour = PresigningConfig::expires_in(Duration::from_secs(3600)).unwrap();
    let signed = run(put.presigned(hour)).unwrap();
    let path = signed.uri().split_once(&server.address().to_string()).unwrap().1.to_owned();
    let headers: String =
        signed.headers().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let host = server.address();
    write!(stream, "PUT {path} HTTP/1.1\r\nHost: {host}\r\n{headers}").unwrap();
    let length = if headers.contains("content-length") { "" } else { "Content-Length: 5\r\n" };
    write!(stream, "{length}Expect: 100-continue\r\nConnection: close\r\n\r\n").unwrap();
    let leave = "HTTP/1.1 100 Continue\r\n\r\n";
    let mut begin = vec![0; leave.len()];
    stream.read_exact(&mut begin).unwrap();
    assert_eq!(String::from_utf8_lossy(&begin), leave);
    stream.write_all(b"hello").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(server.hooks().body(BUCKET, "k").unwrap(), b"hello");

    let unsigned = "Content-Length: 5\r\nExpect: 100-continue\r\n";
    let answer = ask(server.address(), &format!("PUT /{BUCKET}/k HTTP/1.1"), unsigned);
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}
