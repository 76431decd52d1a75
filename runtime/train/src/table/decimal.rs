//! Short decimal numbers, of which most tables are full, read faster than by the standard library and to the same bits.

/// Powers of ten that F32 holds exactly.
const POWERS: [f32; 11] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10];
/// Whole numbers up to this one F32 holds exactly.
const EXACT: u32 = 1 << 24;

/// A number such as `-12.345`; nothing where it is written otherwise, or its digits are too many. The quotient of two
/// numbers that are exact is rounded once, as it has to be (Clinger, "How to Read Floating Point Numbers Accurately",
/// 1990).
pub(super) fn decimal(cell: &str) -> Option<f32> {
    let (negative, digits) = match cell.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let (mut whole, mut places, mut point, mut any) = (0u32, 0usize, false, false);
    for byte in digits {
        match byte {
            b'0'..=b'9' => {
                whole = whole * 10 + u32::from(byte - b'0');
                if whole > EXACT {
                    return None;
                }
                places += usize::from(point);
                any = true;
            }
            b'.' if !point => point = true,
            _ => return None,
        }
    }
    let value = whole as f32 / POWERS.get(places).filter(|_| any)?;
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use sconce_engine::{Purpose, Random};

    use super::*;

    #[test]
    fn it_is_what_the_standard_library_reads_or_nothing() {
        let (mut random, mut read) = (Random::new(1, Purpose::Split, 0), 0);
        let pieces = [
            "-", "+", ".", "e", "0", "00", "1", "7", "16777216", "999", "25", " ", "inf", "",
        ];
        for _ in 0..200_000 {
            let mut cell = String::new();
            for _ in 0..=random.below(5) {
                cell.push_str(pieces[random.below(pieces.len() as u64) as usize]);
            }
            if let Some(number) = decimal(&cell) {
                let expected: f32 = cell.parse().unwrap();
                assert_eq!(number.to_bits(), expected.to_bits(), "{cell:?}");
                read += 1;
            }
        }
        assert!(read > 10_000, "{read}");
        for value in (0..200_000).map(|_| (random.unit() - 0.5) * 8.0) {
            let cell = format!("{value:.6}");
            let number = decimal(&cell).map(f32::to_bits);
            assert_eq!(number, cell.parse().map(f32::to_bits).ok(), "{cell}");
        }
    }

    #[test]
    fn what_is_written_otherwise_is_left_to_others() {
        for cell in [
            "",
            "-",
            ".",
            "-.",
            "1e5",
            "+1",
            "1_0",
            "nan",
            "16777217",
            "0.00000000001",
            "1.2.3",
            "٣",
        ] {
            assert_eq!(decimal(cell), None, "{cell}");
        }
        assert_eq!(decimal("-0").map(f32::to_bits), Some((-0f32).to_bits()));
    }
}
