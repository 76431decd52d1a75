//! Passes over `[points, channels]` that know something of each channel.

use crate::simd::vectorised;

/// Points whose sum is F32: more of them would lose digits.
const STRETCH: usize = 256;

/// What is known of each channel, and one number of it.
pub(super) type Known<'a, const K: usize> = [&'a [f32]; K];

/// For each channel the sum over the points of a function of what `x` and `y` have there and of what is known of it.
#[inline]
pub(super) fn sum<const K: usize>(
    [x, y]: [&[f32]; 2],
    known: Known<'_, K>,
    sums: &mut [f64],
    of: impl Fn(f32, f32, [f32; K]) -> f32,
) {
    let channels = sums.len();
    sums.fill(0.0);
    vectorised(
        #[inline(always)]
        || {
            for (x, y) in x.chunks(STRETCH * channels).zip(y.chunks(STRETCH * channels)) {
                let mut from = 0;
                while from < channels {
                    from += match channels - from {
                        16.. => sum_some::<16, K>([x, y], known, sums, from, &of),
                        8.. => sum_some::<8, K>([x, y], known, sums, from, &of),
                        _ => sum_some::<1, K>([x, y], known, sums, from, &of),
                    };
                }
            }
        },
    );
}

/// The same of N channels, which stay in the processor from point to point.
#[inline(always)]
fn sum_some<const N: usize, const K: usize>(
    [x, y]: [&[f32]; 2],
    known: Known<'_, K>,
    sums: &mut [f64],
    from: usize,
    of: &impl Fn(f32, f32, [f32; K]) -> f32,
) -> usize {
    let channels = sums.len();
    let known = some::<N, K>(known, from);
    let mut stretch = [0.0; N];
    for (x, y) in x.chunks_exact(channels).zip(y.chunks_exact(channels)) {
        let (x, y) = (&x[from..][..N], &y[from..][..N]);
        for channel in 0..N {
            stretch[channel] += of(x[channel], y[channel], known[channel]);
        }
    }
    for (sum, stretch) in sums[from..].iter_mut().zip(stretch) {
        *sum += f64::from(stretch);
    }
    N
}

/// `output ← of(x, y, known of the channel)`, number by number; all are `[points, channels]`.
#[inline]
pub(super) fn map<const K: usize>(
    [x, y]: [&[f32]; 2],
    known: Known<'_, K>,
    channels: usize,
    output: &mut [f32],
    of: impl Fn(f32, f32, [f32; K]) -> f32,
) {
    vectorised(
        #[inline(always)]
        || {
            let inputs = x.chunks(STRETCH * channels).zip(y.chunks(STRETCH * channels));
            for ((x, y), output) in inputs.zip(output.chunks_mut(STRETCH * channels)) {
                let mut from = 0;
                while from < channels {
                    let place = (channels, from);
                    from += match channels - from {
                        16.. => map_some::<16, K>([x, y], known, place, output, &of),
                        8.. => map_some::<8, K>([x, y], known, place, output, &of),
                        _ => map_some::<1, K>([x, y], known, place, output, &of),
                    };
                }
            }
        },
    );
}

#[inline(always)]
fn map_some<const N: usize, const K: usize>(
    [x, y]: [&[f32]; 2],
    known: Known<'_, K>,
    (channels, from): (usize, usize),
    output: &mut [f32],
    of: &impl Fn(f32, f32, [f32; K]) -> f32,
) -> usize {
    let known = some::<N, K>(known, from);
    let points = x.chunks_exact(channels).zip(y.chunks_exact(channels));
    for ((x, y), output) in points.zip(output.chunks_exact_mut(channels)) {
        let (x, y, output) = (&x[from..][..N], &y[from..][..N], &mut output[from..][..N]);
        for channel in 0..N {
            output[channel] = of(x[channel], y[channel], known[channel]);
        }
    }
    N
}

/// What is known of N channels.
#[inline(always)]
fn some<const N: usize, const K: usize>(known: Known<'_, K>, from: usize) -> [[f32; K]; N] {
    std::array::from_fn(|channel| known.map(|values| values[from + channel]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        let number = |index: usize| ((index * 7 + seed) % 11) as f32 - 5.0;
        (0..count).map(number).collect()
    }

    #[test]
    fn passes_are_those_of_the_definition_for_any_number_of_channels() {
        for channels in [1, 3, 8, 9, 16, 29, 40] {
            let points = 2 * STRETCH + 5;
            let (x, y) = (numbers(points * channels, 1), numbers(points * channels, 4));
            let known = [&numbers(channels, 2)[..], &numbers(channels, 3)[..]];
            let of = |x: f32, y: f32, [a, b]: [f32; 2]| (x - a) * y + b;
            let mut expected = vec![0.0; channels];
            let mut found = vec![f32::NAN; points * channels];
            map([&x, &y], known, channels, &mut found, of);
            for (index, found) in found.iter().enumerate() {
                let channel = index % channels;
                let value = of(x[index], y[index], [known[0][channel], known[1][channel]]);
                assert_eq!(*found, value, "{channels}: {index}");
                expected[channel] += f64::from(value);
            }
            let mut sums = vec![f64::NAN; channels];
            sum([&x, &y], known, &mut sums, of);
            assert_eq!(sums, expected, "{channels}");
        }
    }

    /// A sum in F32 would stop growing at 2²⁴.
    #[test]
    fn a_sum_over_many_points_keeps_its_digits() {
        let points = (1 << 24) + (1 << 10);
        let ones = vec![1.0; points];
        let mut sums = [0.0];
        sum([&ones, &ones], [], &mut sums, |x, _, []: [f32; 0]| x);
        assert_eq!(sums, [points as f64]);
    }
}
