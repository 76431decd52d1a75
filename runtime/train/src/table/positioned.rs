//! A file that several threads read, each where it is: the handles that a file is cloned to share one position.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::Result;
use parquet::file::reader::{ChunkReader, Length};
use rustix::buffer::spare_capacity;
use rustix::io::Errno;

/// Bytes that are read at once where it is not known how many are wanted: what says what a page holds is shorter, and the
/// page itself is asked for as a whole.
const AT_ONCE: usize = 512;

/// A file.
pub(super) struct Positioned {
    file: Arc<File>,
    size: u64,
}

/// What of it begins at some place.
pub(super) struct Rest {
    file: Arc<File>,
    at: u64,
}

impl Positioned {
    pub(super) fn new(file: File, size: u64) -> Self {
        Positioned {
            file: Arc::new(file),
            size,
        }
    }
}

impl Length for Positioned {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for Positioned {
    type T = BufReader<Rest>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        let rest = Rest {
            file: self.file.clone(),
            at: start,
        };
        Ok(BufReader::with_capacity(AT_ONCE, rest))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        // Of a length that is a lie, no memory is asked for.
        let end = start.checked_add(length as u64);
        if end.is_none_or(|end| end > self.size) {
            return Err(parquet::errors::ParquetError::EOF(format!(
                "{length} bytes from {start} on are more than the file has"
            )));
        }
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            // Into memory that nobody has filled with zeros first.
            let at = start + bytes.len() as u64;
            match rustix::io::pread(&*self.file, spare_capacity(&mut bytes), at) {
                Ok(0) => return Err(std::io::Error::from(ErrorKind::UnexpectedEof).into()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(std::io::Error::from(error).into()),
            }
        }
        bytes.truncate(length);
        Ok(bytes.into())
    }
}

impl Read for Rest {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn each_reads_where_it_is_and_not_beyond_the_end() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"abcdef").unwrap();
        let file = Positioned::new(file, 6);
        let (mut one, mut other) = (file.get_read(1).unwrap(), file.get_read(4).unwrap());
        let mut two = [0; 2];
        one.read_exact(&mut two).unwrap();
        assert_eq!(&two, b"bc");
        assert_eq!(file.get_bytes(0, 3).unwrap(), "abc");
        let mut rest = String::new();
        other.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "ef");
        assert!(file.get_bytes(5, 2).is_err());
        assert!(file.get_bytes(u64::MAX, 1).is_err());
    }
}
