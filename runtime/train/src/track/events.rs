//! TensorBoard's event files: records with checksums (TFRecord), each a protocol buffer.
//!
//! The layout of a record is that of `tensorflow/core/lib/io/record_writer.h`, the fields' numbers are those of
//! `tensorboard/compat/proto/event.proto`, `summary.proto`, `tensor.proto` and `tensor_shape.proto`:
//!
//! ```text
//!   record: length u64 │ masked CRC-32C of it u32 │ Event │ masked CRC-32C of that u32        (little-endian)
//!   Event: 1 wall_time double, 2 step int64, 3 file_version string, 5 Summary, 7 SessionLog
//!   Summary: 1 Value …; Value: 1 tag, 2 simple_value float, 8 TensorProto, 9 SummaryMetadata
//!   SummaryMetadata: 1 PluginData {1 plugin_name}; SessionLog: 1 status (1 START)
//!   TensorProto: 1 dtype (7 DT_STRING), 2 TensorShapeProto {2 Dim {1 size}}, 8 string_val …
//! ```

use crc_fast::{CrcAlgorithm, checksum};

/// What the first record of a file says: the version of this layout.
const VERSION: &str = "brain.Event:2";
/// `mask_delta` of `tensorflow/core/lib/hash/crc32c.h`: a checksum of checksums would be weak.
const MASK: u32 = 0xa282_ead8;

/// What a run has told at a moment.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<'a> {
    /// The first of a file.
    Version,
    /// Steps from this one on are told anew.
    Start {
        /// The step.
        step: u64,
    },
    /// Values by their tags.
    Scalars {
        /// The step.
        step: u64,
        /// Tag and value.
        values: &'a [(String, f64)],
    },
    /// A text in Markdown.
    Text {
        /// The tag.
        tag: &'a str,
        /// The text.
        text: &'a str,
    },
}

/// Puts an event of a time (milliseconds since 1970) behind others.
pub fn append(event: &Event<'_>, time: i64, bytes: &mut Vec<u8>) {
    let mut message = Vec::new();
    fixed64(1, (time as f64 / 1000.0).to_le_bytes(), &mut message);
    match event {
        Event::Version => field(3, VERSION.as_bytes(), &mut message),
        Event::Start { step } => {
            number(2, *step, &mut message);
            let mut log = Vec::new();
            number(1, 1, &mut log);
            field(7, &log, &mut message);
        }
        Event::Scalars { step, values } => {
            number(2, *step, &mut message);
            let mut summary = Vec::new();
            for (tag, value) in *values {
                let mut one = Vec::new();
                field(1, tag.as_bytes(), &mut one);
                fixed32(2, (*value as f32).to_le_bytes(), &mut one);
                field(1, &one, &mut summary);
            }
            field(5, &summary, &mut message);
        }
        Event::Text { tag, text } => field(5, &text_summary(tag, text), &mut message),
    }
    record(&message, bytes);
}

fn text_summary(tag: &str, text: &str) -> Vec<u8> {
    let (mut dim, mut shape, mut tensor) = (Vec::new(), Vec::new(), Vec::new());
    number(1, 1, &mut dim);
    field(2, &dim, &mut shape);
    number(1, 7, &mut tensor);
    field(2, &shape, &mut tensor);
    field(8, text.as_bytes(), &mut tensor);
    let (mut plugin, mut metadata) = (Vec::new(), Vec::new());
    field(1, b"text", &mut plugin);
    field(1, &plugin, &mut metadata);
    let (mut value, mut summary) = (Vec::new(), Vec::new());
    field(1, tag.as_bytes(), &mut value);
    field(8, &tensor, &mut value);
    field(9, &metadata, &mut value);
    field(1, &value, &mut summary);
    summary
}

fn record(message: &[u8], bytes: &mut Vec<u8>) {
    let length = (message.len() as u64).to_le_bytes();
    bytes.extend(length);
    bytes.extend(masked(&length).to_le_bytes());
    bytes.extend(message);
    bytes.extend(masked(message).to_le_bytes());
}

fn masked(bytes: &[u8]) -> u32 {
    // CRC-32C goes by its first use, iSCSI, there; a sum of 32 bits.
    let sum = checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32;
    sum.rotate_right(15).wrapping_add(MASK)
}

fn varint(mut value: u64, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn number(field: u64, value: u64, bytes: &mut Vec<u8>) {
    varint(field << 3, bytes);
    varint(value, bytes);
}

fn fixed64(field: u64, value: [u8; 8], bytes: &mut Vec<u8>) {
    varint(field << 3 | 1, bytes);
    bytes.extend(value);
}

fn field(field: u64, value: &[u8], bytes: &mut Vec<u8>) {
    varint(field << 3 | 2, bytes);
    varint(value.len() as u64, bytes);
    bytes.extend(value);
}

fn fixed32(field: u64, value: [u8; 4], bytes: &mut Vec<u8>) {
    varint(field << 3 | 5, bytes);
    bytes.extend(value);
}

/// Tag and step of each scalar in a file, up to where it ends or is damaged.
pub fn scalars(bytes: &[u8]) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while let Some((message, after)) = next_record(rest) {
        rest = after;
        let mut step = 0;
        let mut tags = Vec::new();
        for part in parts(message) {
            match part {
                (2, Part::Number(number)) => step = number,
                (5, Part::Bytes(summary)) => {
                    for value in parts(summary) {
                        if let (1, Part::Bytes(value)) = value {
                            tags.extend(tag_of_scalar(value));
                        }
                    }
                }
                _ => {}
            }
        }
        found.extend(tags.into_iter().map(|tag| (tag, step)));
    }
    found
}

fn tag_of_scalar(value: &[u8]) -> Option<String> {
    let mut tag = None;
    let mut is_scalar = false;
    for part in parts(value) {
        match part {
            (1, Part::Bytes(bytes)) => tag = String::from_utf8(bytes.to_vec()).ok(),
            (2, Part::Fixed) => is_scalar = true,
            _ => {}
        }
    }
    tag.filter(|_| is_scalar)
}

fn next_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    if masked(length) != u32::from_le_bytes(*sum) {
        return None;
    }
    let (message, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    (masked(message) == u32::from_le_bytes(*sum)).then_some((message, rest))
}

/// A field's value.
enum Part<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Fixed,
}

/// The fields of a message, up to one that cannot be read.
fn parts(mut bytes: &[u8]) -> impl Iterator<Item = (u64, Part<'_>)> {
    std::iter::from_fn(move || {
        let (key, rest) = read_varint(bytes)?;
        let (part, rest) = match key & 7 {
            0 => read_varint(rest).map(|(number, rest)| (Part::Number(number), rest))?,
            1 => (Part::Fixed, rest.get(8..)?),
            2 => {
                let (length, rest) = read_varint(rest)?;
                let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                (Part::Bytes(value), rest)
            }
            5 => (Part::Fixed, rest.get(4..)?),
            _ => return None,
        };
        bytes = rest;
        Some((key >> 3, part))
    })
}

fn read_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(7 * u32::try_from(index).ok()?)?;
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What TensorBoard's own writer makes of the same events: `tests/golden/tensorboard/events.py` wrote it.
    const GOLDEN: &[u8] = include_bytes!("../../tests/golden/tensorboard/events");

    fn values(pairs: &[(&str, f64)]) -> Vec<(String, f64)> {
        pairs
            .iter()
            .map(|(tag, value)| ((*tag).to_owned(), *value))
            .collect()
    }

    fn ours() -> Vec<u8> {
        let mut bytes = Vec::new();
        let time = 1_700_000_000_500;
        append(&Event::Version, time, &mut bytes);
        append(&Event::Start { step: 300 }, time, &mut bytes);
        let text = "# ü\n\n".repeat(40);
        append(
            &Event::Text {
                tag: "spec",
                text: &text,
            },
            time,
            &mut bytes,
        );
        let of_both = values(&[("loss/train", 0.125), ("loss/validation", f64::from(0.3_f32))]);
        append(
            &Event::Scalars {
                step: 300,
                values: &of_both,
            },
            time,
            &mut bytes,
        );
        let of_one = values(&[("loss/train", -1e-9)]);
        append(
            &Event::Scalars {
                step: 1 << 40,
                values: &of_one,
            },
            time + 1,
            &mut bytes,
        );
        bytes
    }

    #[test]
    fn events_are_written_as_tensorboards_own_writer_does() {
        assert_eq!(ours(), GOLDEN);
    }

    #[test]
    fn what_was_written_is_read_up_to_where_it_is_damaged() {
        let whole = [
            ("loss/train", 300),
            ("loss/validation", 300),
            ("loss/train", 1 << 40),
        ]
        .map(|(tag, step)| (tag.to_owned(), step));
        assert_eq!(scalars(GOLDEN), whole);
        for end in 0..GOLDEN.len() {
            assert!(whole.starts_with(&scalars(&GOLDEN[..end])), "cut at {end}");
        }
        assert_eq!(scalars(&GOLDEN[..GOLDEN.len() - 1]).len(), 2);
        for byte in 0..GOLDEN.len() {
            let mut flipped = GOLDEN.to_vec();
            flipped[byte] ^= 0x10;
            assert!(scalars(&flipped).len() < 3, "byte {byte}");
        }
    }
}
