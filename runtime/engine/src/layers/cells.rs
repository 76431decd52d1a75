//! What one unit of a recurrent layer does in one step. Order of gates and formulas are those of Keras.

use super::by_hand::Real;

/// Which cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// Long short-term memory (Hochreiter and Schmidhuber 1997; Gers, Schmidhuber and Cummins 2000):
    /// `c ← f · c + i · g`, `h ← o · tanh c`, with the gates i, f, g, o.
    Lstm,
    /// Gated recurrent unit (Cho et al. 2014), the gate r after the product as in cuDNN:
    /// `h ← z · h + (1 − z) · n`, `n = tanh(x + r · inner)`, with the gates z, r, n.
    Gru,
}

/// The gates of a step; of a GRU the last is the inner sum of n.
pub(super) type Gates<T> = [T; 4];

/// The derivatives by what a step takes.
pub(super) struct Slope<T> {
    pub(super) sums: [T; 4],
    pub(super) inner: [T; 4],
    pub(super) h: T,
    pub(super) c: T,
}

impl Cell {
    /// How many gates have weights.
    pub(super) fn gates(self) -> usize {
        match self {
            Cell::Lstm => 4,
            Cell::Gru => 3,
        }
    }

    /// `h`, `c` and the gates after a step.
    pub(super) fn forward<T: Real>(
        self,
        sum: impl Fn(usize) -> T,
        inner: impl Fn(usize) -> T,
        h: T,
        c: T,
    ) -> (T, T, Gates<T>) {
        let both = |gate| sum(gate) + inner(gate);
        match self {
            Cell::Lstm => {
                let (i, f, o) = (both(0).sigmoid(), both(1).sigmoid(), both(3).sigmoid());
                let g = both(2).tanh();
                let c = f * c + i * g;
                (o * c.tanh(), c, [i, f, g, o])
            }
            Cell::Gru => {
                let (z, r, inner) = (both(0).sigmoid(), both(1).sigmoid(), inner(2));
                let n = (sum(2) + r * inner).tanh();
                let h = z * h + (T::from_f64(1.0) - z) * n;
                (h, c, [z, r, n, inner])
            }
        }
    }

    /// The derivatives by what a step took, of those by the `h` and `c` after it. `h` is that before it, `cells` those
    /// before and after it.
    pub(super) fn backward<T: Real>(
        self,
        of_h: T,
        of_c: T,
        gates: &Gates<T>,
        h: T,
        cells: [T; 2],
    ) -> Slope<T> {
        let (zero, one) = (T::from_f64(0.0), T::from_f64(1.0));
        match self {
            Cell::Lstm => {
                let [i, f, g, o] = *gates;
                let [before, after] = cells;
                let bent = after.tanh();
                let of_c = of_c + of_h * o * (one - bent * bent);
                let sums = [
                    of_c * g * i * (one - i),
                    of_c * before * f * (one - f),
                    of_c * i * (one - g * g),
                    of_h * bent * o * (one - o),
                ];
                Slope {
                    sums,
                    inner: sums,
                    h: zero,
                    c: of_c * f,
                }
            }
            Cell::Gru => {
                let [z, r, n, inner] = *gates;
                let of_n = of_h * (one - z) * (one - n * n);
                let of_z = of_h * (h - n) * z * (one - z);
                let of_r = of_n * inner * r * (one - r);
                Slope {
                    sums: [of_z, of_r, of_n, zero],
                    inner: [of_z, of_r, of_n * r, zero],
                    h: of_h * z,
                    c: zero,
                }
            }
        }
    }
}
