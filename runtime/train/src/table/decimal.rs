//! Short decimal numbers, of which most tables are full, read faster than by the standard library and to the same bits.

/// Powers of ten that F64 holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];
/// Whole numbers up to this one F64 holds exactly.
const EXACT: u64 = 1 << 53;
/// The bits that F64 has and F32 has not: of numbers with fewer bits in F32, no quotient is as small.
const REST: u64 = (1 << 29) - 1;
/// What they are half way between two numbers of F32.
const HALF_WAY: u64 = 1 << 28;

/// A number such as `-12.345`; nothing where it is written otherwise, its digits are too many, or it lies too close to the
/// middle of two.
///
/// The quotient of two numbers that are exact is rounded once, as it has to be (Clinger, "How to Read Floating Point
/// Numbers Accurately", 1990). That is rounded to F32 a second time, which gives another number than rounding once only
/// where the first time it came to lie half way between two.
pub(super) fn decimal(cell: &str) -> Option<f32> {
    let (negative, digits) = match cell.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let (mut whole, mut places, mut point, mut any) = (0u64, 0usize, false, false);
    for byte in digits {
        match byte {
            b'0'..=b'9' => {
                whole = whole * 10 + u64::from(byte - b'0');
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
    let quotient = whole as f64 / POWERS.get(places).filter(|_| any)?;
    let value = quotient as f32;
    if quotient.to_bits() & REST == HALF_WAY {
        return None;
    }
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
        // As others write numbers of 32 bits, and those that lie half way between two or beside that.
        for _ in 0..200_000 {
            let value = f32::from_bits(0x3a00_0000 + random.bits() % 0x0a00_0000);
            let middle = (f64::from(value) + f64::from(value.next_up())) / 2.0;
            for cell in [format!("{value}"), format!("{middle}"), format!("{middle:.14}")] {
                let expected: f32 = cell.parse().unwrap();
                let number = decimal(&cell).unwrap_or(expected);
                assert_eq!(number.to_bits(), expected.to_bits(), "{cell}");
            }
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
            "9007199254740993",
            "0.00000000000000000000001",
            "16777217",
            "1.2.3",
            "٣",
        ] {
            assert_eq!(decimal(cell), None, "{cell}");
        }
        assert_eq!(decimal("-0").map(f32::to_bits), Some((-0f32).to_bits()));
    }
}
