//! Short decimal numbers, of which most tables are full, read faster than by the standard library and to the same bits.

/// Powers of ten that F64 holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];
/// Those of them that eight digits reach.
const TENS: [u64; 9] = [
    1,
    10,
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
];
/// Digits of which U64 holds every number.
const DIGITS: usize = 19;
/// Whole numbers up to this one F64 holds exactly.
const EXACT: u64 = 1 << 53;
/// The bits that F64 has and F32 has not: of numbers with fewer bits in F32, no quotient is as small.
const REST: u64 = (1 << 29) - 1;
/// What they are half way between two numbers of F32.
const HALF_WAY: u64 = 1 << 28;

/// A number such as `-12.345`; nothing where it is written otherwise, its digits are too many, or it lies too close to the
/// middle of two.
pub(super) fn decimal(cell: &str) -> Option<f32> {
    let (number, length) = leading(cell.as_bytes())?;
    (length == cell.len()).then_some(number)
}

/// Such a number at the beginning of some bytes, with how many of them it is.
///
/// The quotient of two numbers that are exact is rounded once, as it has to be (Clinger, "How to Read Floating Point
/// Numbers Accurately", 1990). That is rounded to F32 a second time, which gives another number than rounding once only
/// where the first time it came to lie half way between two.
pub(super) fn leading(bytes: &[u8]) -> Option<(f32, usize)> {
    let negative = bytes.first() == Some(&b'-');
    let start = usize::from(negative);
    let (mut whole, mut at) = match bytes.get(start..) {
        // As most begin.
        Some([digit @ b'0'..=b'9', b'.', ..]) => (u64::from(digit - b'0'), start + 1),
        _ => digits(bytes, start, 0),
    };
    let (mut count, mut places) = (at - start, 0);
    if bytes.get(at) == Some(&b'.') {
        let first = at + 1;
        (whole, at) = digits(bytes, first, whole);
        places = at - first;
        count += places;
    }
    if count == 0 || count > DIGITS || whole > EXACT {
        return None;
    }
    let quotient = whole as f64 / POWERS[places];
    let value = quotient as f32;
    if quotient.to_bits() & REST == HALF_WAY {
        return None;
    }
    // Numbers below and above zero follow each other at random, which the processor could not foresee.
    Some((f32::from_bits(value.to_bits() | u32::from(negative) << 31), at))
}

/// Appends the digits from `at` on to a whole number, and says where they end.
fn digits(bytes: &[u8], mut at: usize, mut whole: u64) -> (u64, usize) {
    if let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let (value, count) = up_to_eight(u64::from_le_bytes(*eight));
        whole = whole.wrapping_mul(TENS[count]).wrapping_add(value);
        at += count;
    }
    // Few have more.
    while let Some(digit @ b'0'..=b'9') = bytes.get(at) {
        whole = whole.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
        at += 1;
    }
    (whole, at)
}

/// The number that the digits at the beginning of eight bytes are, of which the lowest is the first, and how many there
/// are: two next to each other become one of two digits, those one of four, and those one of eight, all at once.
fn up_to_eight(bytes: u64) -> (u64, usize) {
    let values = bytes ^ 0x3030_3030_3030_3030;
    // Sets the highest bit of what is no digit. It may be wrong behind the first of these.
    let others = (values.wrapping_add(0x7676_7676_7676_7676) | values) & 0x8080_8080_8080_8080;
    let bits = others.trailing_zeros() & !7;
    // Zeros in front of fewer digits.
    let values = values.checked_shl(64 - bits).unwrap_or_default();
    let values = values.wrapping_mul(10).wrapping_add(values >> 8);
    let (ones, others) = (values & 0xff_0000_00ff, (values >> 16) & 0xff_0000_00ff);
    let ones = ones.wrapping_mul(100 + (1_000_000 << 32));
    let others = others.wrapping_mul(1 + (10_000 << 32));
    (ones.wrapping_add(others) >> 32, bits as usize / 8)
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
