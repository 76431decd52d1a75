//! One way to read and write a URI.
