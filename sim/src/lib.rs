//! Deterministic worlds for the core.
