//! Content hashes: of artifacts, and of the names that carry one.

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::FileDigest;

/// Lower-case hexadecimal SHA-256.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of bytes that come a piece at a time.
#[derive(Clone, Debug, Default)]
pub struct Hash {
    state: Sha256,
    size: u64,
}

impl Hash {
    /// Adds the next piece.
    pub fn add(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.size += bytes.len() as u64;
    }

    /// Of all pieces, with their bytes.
    pub fn digest(self) -> FileDigest {
        FileDigest {
            sha256: hex(&self.state.finalize()),
            size: self.size,
        }
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Ten hexadecimal digits over a value's JSON, for names of objects: the same value has the same name.
/// Forty bits: with a thousand revisions of one object a clash has a chance of one in two million.
pub fn short_hash(value: &impl Serialize) -> String {
    // Values hashed here are structs and maps with string keys, which always serialise.
    let json = serde_json::to_vec(value).unwrap_or_default();
    sha256_hex(&json)[..10].to_owned()
}
