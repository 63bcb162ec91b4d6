//! Benchmarks of Vellum, each beside its controls in one run.
