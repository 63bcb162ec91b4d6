//! The adapters of Vellum: command line, FUSE, effect driver and stores.
