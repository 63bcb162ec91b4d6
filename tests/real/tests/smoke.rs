//! Real-mount tests.
