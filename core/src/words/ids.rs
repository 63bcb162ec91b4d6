//! Identities. Each is its own type, so that none can stand in for another.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u64);

        impl $name {
            /// The next one.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }
    };
}

id! {
    /// An inode: 1 to 2^63 - 1, stable across remounts; 1 is the root directory.
    Ino
}
id! {
    /// An open handle, as the kernel holds it: slot in the low 32 bits, generation above.
    Fh
}
id! {
    /// A request that waits for its one reply.
    Ticket
}
id! {
    /// An effect that gets exactly one completion.
    EffectId
}
id! {
    /// A timer that the machine armed.
    TimerId
}
id! {
    /// The time between two cuts. A write belongs to the epoch it reads under its file's lock.
    Epoch
}
id! {
    /// How often a file has changed. Grows by one with each change, never falls.
    Version
}

impl Ino {
    /// The root directory of a mount.
    pub const ROOT: Self = Self(1);
}
