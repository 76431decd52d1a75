//! What is at a URI, read from its beginning to its end: more than fits into memory, if it must be.

use std::fs::File;
use std::io::{self, Cursor, Read};

use crate::{StoreError, shown};

/// Bytes that are read one after another.
pub struct Content<'a> {
    size: u64,
    body: Box<dyn Read + 'a>,
}

impl<'a> Content<'a> {
    /// Of so many bytes, as far as their place says.
    pub(crate) fn new(size: u64, body: impl Read + 'a) -> Self {
        Content {
            size,
            body: Box::new(body),
        }
    }

    /// Of a file with its length.
    pub(crate) fn file((file, size): (File, u64)) -> Self {
        Content::new(size, file)
    }

    /// Of what is in memory.
    pub fn bytes(bytes: Vec<u8>) -> Self {
        Content::new(bytes.len() as u64, Cursor::new(bytes))
    }

    /// Bytes in all, as their place says before they are read.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What an error of reading this URI means.
    pub fn refused(uri: &str, error: io::Error) -> StoreError {
        match error.downcast::<StoreError>() {
            Ok(said) => said,
            Err(error) => StoreError::io(shown(uri), "reading", error),
        }
    }
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.body.read(buffer)
    }
}
