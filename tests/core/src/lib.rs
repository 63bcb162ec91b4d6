//! The tier runner and shared helpers of the core proofs.
