//! What proofs on the real thing need beside the product: S3 servers to test against.

pub mod s3;
