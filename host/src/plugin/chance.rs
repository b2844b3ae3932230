//! Randomness for plugins: real where it is granted, else a stream that follows from a key. Either is counted, so that
//! no call draws without end.
use super::state::CallState;
use crate::ground::random as chance;
use sha2::{Digest, Sha256};
use wasmtime::component::{HasSelf, Linker};
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};

/// Where the random bytes of one call come from.
pub(super) enum Chance {
    /// The kernel.
    Real,
    /// A key: the same key gives the same bytes.
    Derived(Box<Derived>),
}

/// Streams that follow from one key.
pub(super) struct Derived {
    secure: Stream,
    insecure: Stream,
    seed: (u64, u64),
}

/// A stream of bytes that follows from its key alone: SHA-256 of the key and a counter, block after block.
struct Stream {
    key: [u8; 32],
    counter: u64,
    block: [u8; 32],
    used: usize,
}

impl Stream {
    fn new(key: [u8; 32]) -> Self {
        Self { key, counter: 0, block: [0; 32], used: 32 }
    }

    fn fill(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            if self.used == self.block.len() {
                let hasher = Sha256::new().chain_update(self.key).chain_update(self.counter.to_le_bytes());
                self.block = hasher.finalize().into();
                (self.counter, self.used) = (self.counter + 1, 0);
            }
            let count = bytes.len().min(self.block.len() - self.used);
            let (now, later) = bytes.split_at_mut(count);
            now.copy_from_slice(&self.block[self.used..self.used + count]);
            self.used += count;
            bytes = later;
        }
    }
}

impl Chance {
    /// For a decision of a campaign.
    pub(super) fn of_decision(seed: u64, decision: u64) -> Self {
        Self::derived(Sha256::digest(format!("{seed}:{decision}")).into())
    }

    /// For an attempt that is not granted real randomness.
    pub(super) fn of_attempt(attempt: &str) -> Self {
        Self::derived(Sha256::digest(format!("attempt {attempt}")).into())
    }

    fn derived(key: [u8; 32]) -> Self {
        let halves = [0, 8].map(|from| u64::from_le_bytes(std::array::from_fn(|index| key[from + index])));
        let insecure = Stream::new(Sha256::digest(key).into());
        Self::Derived(Box::new(Derived { secure: Stream::new(key), insecure, seed: (halves[0], halves[1]) }))
    }
}

/// Which of the two interfaces asks.
#[derive(Clone, Copy)]
enum Kind {
    Secure,
    Insecure,
}

impl CallState {
    fn fill(&mut self, kind: Kind, bytes: &mut [u8]) -> wasmtime::Result<()> {
        match (&mut self.sight.chance, kind) {
            (Chance::Real, _) => chance::fill(bytes).map_err(|error| wasmtime::format_err!("no randomness: {error}")),
            (Chance::Derived(derived), Kind::Secure) => {
                derived.secure.fill(bytes);
                Ok(())
            }
            (Chance::Derived(derived), Kind::Insecure) => {
                derived.insecure.fill(bytes);
                Ok(())
            }
        }
    }

    fn random_bytes(&mut self, kind: Kind, length: u64) -> wasmtime::Result<Vec<u8>> {
        // What is drawn is bounded before a byte of it is made or held.
        self.draw(length)?;
        let mut bytes = vec![0; usize::try_from(length)?];
        self.fill(kind, &mut bytes)?;
        Ok(bytes)
    }

    fn random_number(&mut self, kind: Kind) -> wasmtime::Result<u64> {
        let mut bytes = [0; 8];
        self.draw(bytes.len() as u64)?;
        self.fill(kind, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

impl random::Host for CallState {
    fn get_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        self.random_bytes(Kind::Secure, length)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.random_number(Kind::Secure)
    }
}

impl insecure::Host for CallState {
    fn get_insecure_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        self.random_bytes(Kind::Insecure, length)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.random_number(Kind::Insecure)
    }
}

impl insecure_seed::Host for CallState {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        match &self.sight.chance {
            Chance::Derived(derived) => Ok(derived.seed),
            Chance::Real => Ok((self.random_number(Kind::Insecure)?, self.random_number(Kind::Insecure)?)),
        }
    }
}

/// Puts bounded randomness in the place of WASI's own.
pub(super) fn link_bounded(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    random::add_to_linker::<CallState, HasSelf<CallState>>(linker, |state| state)?;
    insecure::add_to_linker::<CallState, HasSelf<CallState>>(linker, |state| state)?;
    insecure_seed::add_to_linker::<CallState, HasSelf<CallState>>(linker, |state| state)?;
    linker.allow_shadowing(false);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Stream;

    #[test]
    fn a_stream_is_the_same_in_any_portions() {
        let mut whole = [0; 200];
        Stream::new([7; 32]).fill(&mut whole);
        let (mut parts, mut stream) = (Vec::new(), Stream::new([7; 32]));
        for count in [0, 1, 31, 32, 33, 64, 39] {
            let mut part = vec![0; count];
            stream.fill(&mut part);
            parts.extend(part);
        }
        assert_eq!(parts, whole);
        assert_ne!(whole[..32], whole[32..64]);
    }
}
