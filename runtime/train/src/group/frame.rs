//! What goes over a connection: a kind, a length, and as many bytes.

use std::io;

/// Bytes before the content.
pub(super) const HEAD: usize = 8;
/// Begins each head, so that what speaks another language is told at once.
const MARK: [u8; 3] = *b"sg1";
/// Longest content of words.
pub(super) const MOST_WORDS: usize = 16 << 10;
/// Most numbers in one piece: 256 KiB.
pub(super) const MOST_NUMBERS: usize = 64 << 10;
/// Longest content: a piece of numbers, and the exact ones behind it.
const MOST: usize = MOST_NUMBERS * 4 + 64;
/// Longest piece of a message.
pub(super) const MOST_PIECE: usize = 256 << 10;
/// Longest reason that is told.
const MOST_REASON: usize = 1024;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing: whoever sends it is still there.
    Beat = 0,
    /// Numbers.
    Numbers = 1,
    /// JSON.
    Words = 2,
    /// Why the sender leaves, in text.
    Bye = 3,
    /// Bytes of a message that words have announced.
    Piece = 4,
    /// JSON that may come between the pieces of a message: how far the sender is.
    Aside = 5,
}

/// A whole frame.
pub(super) fn frame(kind: Kind, content: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEAD + content.len());
    frame.extend(MARK);
    frame.push(kind as u8);
    // No content of ours is as long as MOST.
    frame.extend(u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes());
    frame.extend(content);
    frame
}

/// Why the sender leaves, cut where it must be.
pub(super) fn bye(why: &str) -> Vec<u8> {
    let end = (0..=MOST_REASON.min(why.len()))
        .rev()
        .find(|&end| why.is_char_boundary(end));
    frame(Kind::Bye, &why.as_bytes()[..end.unwrap_or_default()])
}

/// What a head announces, and how long it is. A length that nothing of ours has is refused before any memory is taken.
pub(super) fn announced(head: [u8; HEAD]) -> io::Result<(Kind, usize)> {
    let refused = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidData, what));
    let [a, b, c, kind, length @ ..] = head;
    if [a, b, c] != MARK {
        return refused("it is not a worker of ours that speaks");
    }
    let length = u32::from_le_bytes(length) as usize;
    let (kind, most) = match kind {
        0 => (Kind::Beat, 0),
        1 => (Kind::Numbers, MOST),
        2 => (Kind::Words, MOST_WORDS),
        3 => (Kind::Bye, MOST_WORDS),
        4 => (Kind::Piece, MOST_PIECE),
        5 => (Kind::Aside, MOST_WORDS),
        _ => return refused("it sent a kind of message that is not known"),
    };
    match length <= most {
        true => Ok((kind, length)),
        false => refused("it announced a message longer than any of its kind"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_announces_what_it_holds() {
        for (kind, content) in [
            (Kind::Beat, &b""[..]),
            (Kind::Numbers, &[0; 12]),
            (Kind::Words, b"{}"),
            (Kind::Bye, b"told to stop"),
            (Kind::Piece, &[7; 9]),
            (Kind::Aside, b"{}"),
        ] {
            let frame = frame(kind, content);
            let (head, rest) = frame.split_at(HEAD);
            assert_eq!(
                announced(head.try_into().unwrap()).unwrap(),
                (kind, content.len())
            );
            assert_eq!(rest, content);
        }
    }

    #[test]
    fn what_no_worker_sends_is_refused_by_its_head() {
        let head = |kind: u8, length: u32| {
            let mut head = [0; HEAD];
            head[..3].copy_from_slice(&MARK);
            head[3] = kind;
            head[4..].copy_from_slice(&length.to_le_bytes());
            head
        };
        for (head, says) in [
            (*b"GET / HT", "not a worker of ours"),
            (head(6, 0), "not known"),
            (head(0, 1), "longer than any"),
            (head(1, u32::MAX), "longer than any"),
            (head(2, MOST_WORDS as u32 + 1), "longer than any"),
            (head(4, MOST_PIECE as u32 + 1), "longer than any"),
        ] {
            let error = announced(head).unwrap_err().to_string();
            assert!(error.contains(says), "{head:?}: {error}");
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_letters() {
        let said = bye(&"ü".repeat(MOST_REASON));
        let told = std::str::from_utf8(&said[HEAD..]).unwrap();
        assert_eq!(told, "ü".repeat(MOST_REASON / 2));
        assert_eq!(&bye("gone")[HEAD..], b"gone");
    }
}
