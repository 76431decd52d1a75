//! One number of several, channel by channel.

use super::stage::{Compute, Gradient, Known, Pass};
use crate::{layers::windows::Grid, simd::vectorised};

/// The greatest of each window; of equals the first.
#[derive(Clone, Debug)]
pub(super) struct Greatest {
    grid: Grid,
    /// Which point of its window each was, `[rows, places, channels]`.
    found: Vec<u32>,
}

impl Greatest {
    pub(super) fn new(grid: Grid) -> Self {
        Greatest {
            grid,
            found: Vec::new(),
        }
    }

    fn width(&self) -> usize {
        self.grid.places() * self.grid.channels
    }
}

impl Compute for Greatest {
    fn fit(&mut self, rows: usize) {
        self.found.resize(rows * self.width(), 0);
    }

    fn forward(&mut self, _: &Pass<'_>, x: &[f32], output: &mut [f32]) {
        let (width, grid) = (self.width(), self.grid);
        let rows = x.chunks_exact(grid.image()).zip(output.chunks_exact_mut(width));
        vectorised(
            #[inline(always)]
            || {
                for ((x, output), found) in rows.zip(self.found.chunks_exact_mut(width)) {
                    let mut slots = Slots { output, found };
                    within(
                        &grid,
                        #[inline(always)]
                        |from, slot, wide| match wide {
                            true => slots.look::<WIDE>(&grid, x, from, slot),
                            false => slots.look::<1>(&grid, x, from, slot),
                        },
                    );
                }
            },
        );
    }

    fn backward(
        &mut self,
        _: &Pass<'_>,
        _: Known<'_>,
        slope: &mut [f32],
        back: Option<&mut [f32]>,
        _: &mut Gradient<'_>,
    ) {
        let Some(back) = back else { return };
        let (width, grid) = (self.width(), self.grid);
        back.fill(0.0);
        let rows = back.chunks_exact_mut(grid.image()).zip(slope.chunks_exact(width));
        vectorised(
            #[inline(always)]
            || {
                for ((back, slope), found) in rows.zip(self.found.chunks_exact(width)) {
                    within(
                        &grid,
                        #[inline(always)]
                        |to, slot, wide| match wide {
                            true => spread::<WIDE>(&grid, back, to, &slope[slot..], &found[slot..]),
                            false => spread::<1>(&grid, back, to, &slope[slot..], &found[slot..]),
                        },
                    );
                }
            },
        );
    }
}

/// Channels that are looked at together.
const WIDE: usize = 8;

/// Calls for each window, all of which lie within the image, and some of its channels: where they begin in the row, and
/// among what comes out, and whether they are [`WIDE`] or one.
#[inline(always)]
fn within(grid: &Grid, mut visit: impl FnMut(usize, usize, bool)) {
    let ([tall, wide], channels) = (grid.over, grid.channels);
    let mut slot = 0;
    for line in 0..tall.count {
        for column in 0..wide.count {
            let from = (line * tall.stride * wide.points + column * wide.stride) * channels;
            let blocks = channels / WIDE;
            for block in 0..blocks {
                visit(from + block * WIDE, slot + block * WIDE, true);
            }
            for channel in blocks * WIDE..channels {
                visit(from + channel, slot + channel, false);
            }
            slot += channels;
        }
    }
}

/// What comes of a row.
struct Slots<'a> {
    output: &'a mut [f32],
    found: &'a mut [u32],
}

// Choices are masks over arrays that lie nowhere else: the compiler makes vectors of these alone.
impl Slots<'_> {
    #[inline(always)]
    fn look<const N: usize>(&mut self, grid: &Grid, x: &[f32], from: usize, slot: usize) {
        let [tall, wide] = grid.over;
        // Below it there is nothing, so that the first point stays where all are so low.
        let (mut best, mut found) = ([f32::NEG_INFINITY; N], [0; N]);
        let mut point = 0;
        for down in 0..tall.size {
            let line = from + down * wide.points * grid.channels;
            for right in 0..wide.size {
                let Some(&values) = x[line + right * grid.channels..].first_chunk::<N>() else {
                    return;
                };
                let mut keep = [0; N];
                for channel in 0..N {
                    let (value, so_far) = (values[channel], best[channel]);
                    // NaN is greater than all, so that a training that diverges is noticed.
                    keep[channel] = mask((value <= so_far) | so_far.is_nan());
                }
                for channel in 0..N {
                    let keep = keep[channel];
                    let bits = best[channel].to_bits() & keep | values[channel].to_bits() & !keep;
                    best[channel] = f32::from_bits(bits);
                    found[channel] = found[channel] & keep | point & !keep;
                }
                point += 1;
            }
        }
        self.output[slot..slot + N].copy_from_slice(&best);
        self.found[slot..slot + N].copy_from_slice(&found);
    }
}

/// All bits, or none.
#[inline(always)]
fn mask(condition: bool) -> u32 {
    u32::from(condition).wrapping_neg()
}

/// Adds the slopes to the points that were the greatest.
#[inline(always)]
fn spread<const N: usize>(grid: &Grid, back: &mut [f32], to: usize, slope: &[f32], found: &[u32]) {
    let [tall, wide] = grid.over;
    let (Some(&slope), Some(&found)) = (slope.first_chunk::<N>(), found.first_chunk::<N>()) else {
        return;
    };
    let mut point = 0;
    for down in 0..tall.size {
        let line = to + down * wide.points * grid.channels;
        for right in 0..wide.size {
            let Some(sums) = back[line + right * grid.channels..].first_chunk_mut::<N>() else {
                return;
            };
            let mut sum = *sums;
            for channel in 0..N {
                let share = slope[channel].to_bits() & mask(found[channel] == point);
                sum[channel] += f32::from_bits(share);
            }
            *sums = sum;
            point += 1;
        }
    }
}

/// The mean of each window.
#[derive(Clone, Debug)]
pub(super) struct Mean {
    pub(super) grid: Grid,
}

impl Mean {
    fn width(&self) -> usize {
        self.grid.places() * self.grid.channels
    }

    fn share(&self) -> f32 {
        1.0 / self.grid.window() as f32
    }
}

impl Compute for Mean {
    fn forward(&mut self, _: &Pass<'_>, x: &[f32], output: &mut [f32]) {
        let (grid, channels, share) = (self.grid, self.grid.channels, self.share());
        output.fill(0.0);
        let rows = x
            .chunks_exact(grid.image())
            .zip(output.chunks_exact_mut(self.width()));
        vectorised(
            #[inline(always)]
            || {
                for (x, output) in rows {
                    grid.each(
                        #[inline(always)]
                        |place, _, from, count| {
                            let sums = &mut output[place * channels..(place + 1) * channels];
                            for values in x[from..from + count].chunks_exact(channels) {
                                sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
                            }
                        },
                    );
                    output.iter_mut().for_each(|sum| *sum *= share);
                }
            },
        );
    }

    fn backward(
        &mut self,
        _: &Pass<'_>,
        _: Known<'_>,
        slope: &mut [f32],
        back: Option<&mut [f32]>,
        _: &mut Gradient<'_>,
    ) {
        let Some(back) = back else { return };
        let (grid, channels, share) = (self.grid, self.grid.channels, self.share());
        back.fill(0.0);
        let rows = back
            .chunks_exact_mut(grid.image())
            .zip(slope.chunks_exact(self.width()));
        vectorised(
            #[inline(always)]
            || {
                for (back, slope) in rows {
                    grid.each(
                        #[inline(always)]
                        |place, _, to, count| {
                            let slope = &slope[place * channels..(place + 1) * channels];
                            for sums in back[to..to + count].chunks_exact_mut(channels) {
                                sums.iter_mut()
                                    .zip(slope)
                                    .for_each(|(sum, slope)| *sum += share * slope);
                            }
                        },
                    );
                }
            },
        );
    }
}
