//! What is at a URI, read from its beginning to its end: more than fits into memory, if it must be.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::os::unix::fs::FileExt;

use crate::{StoreError, shown};

/// Bytes that are read one after another.
pub struct Content<'a> {
    size: u64,
    body: Body<'a>,
}

enum Body<'a> {
    /// Read by its own offset, so that others may look around in the file.
    File(File, u64),
    Stream(Box<dyn Read + 'a>),
}

impl<'a> Content<'a> {
    /// Of so many bytes, as far as their place says.
    pub(crate) fn new(size: u64, body: impl Read + 'a) -> Self {
        let body = Body::Stream(Box::new(body));
        Content { size, body }
    }

    /// Of a file with its length.
    pub(crate) fn of_file((file, size): (File, u64)) -> Self {
        let body = Body::File(file, 0);
        Content { size, body }
    }

    /// Of what is in memory.
    pub fn bytes(bytes: Vec<u8>) -> Self {
        Content::new(bytes.len() as u64, Cursor::new(bytes))
    }

    /// Bytes in all, as their place says before they are read.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The file, where it is one of this machine, for formats that begin at the end.
    pub fn file(&self) -> Option<&File> {
        match &self.body {
            Body::File(file, _) => Some(file),
            Body::Stream(_) => None,
        }
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
        match &mut self.body {
            Body::Stream(body) => body.read(buffer),
            Body::File(file, offset) => {
                let count = file.read_at(buffer, *offset)?;
                *offset += count as u64;
                Ok(count)
            }
        }
    }
}
