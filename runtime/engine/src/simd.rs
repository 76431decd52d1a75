//! Loops for the widest vectors that the machine has, and functions that such loops can hold.
//!
//! Compiled for the oldest machines a loop works on four numbers at a time. pulp compiles it once more for machines
//! with AVX2 and chooses when the program runs. The functions have no branches and call nothing,
//! so that the compiler can do several numbers at once, which it cannot with those of the standard library.

use std::f32::consts::{FRAC_1_SQRT_2, LOG2_E};

/// Runs a loop as compiled for this machine. The closure has to be `#[inline(always)]`: one that the compiler leaves
/// a function of its own is compiled for the oldest machines. The result may differ in the last bit from machine to
/// machine, but not from run to run.
#[inline(always)]
pub(crate) fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        // The common machine is AVX2's (x86-64-v3). pulp's `Arch` would be compiled with a feature that candle's
        // copy of pulp does not have.
        if let Some(machine) = *AVX2 {
            return pulp::Simd::vectorize(machine, work);
        }
    }
    work()
}

#[cfg(target_arch = "x86_64")]
static AVX2: std::sync::LazyLock<Option<pulp::x86::V3>> = std::sync::LazyLock::new(pulp::x86::V3::try_new);

/// `e^x` to about one unit in the last place; 0 below −87.3, the greatest finite power above 88. NaN stays.
///
/// `e^x = 2ⁿ · e^r` with `n = round(x / ln 2)`, so |r| ≤ ln 2 / 2, where Cephes' polynomial (Moshier, `expf`) holds.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Adding and taking off 1.5 · 2²³ rounds to an integer.
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 355.0 / 512.0;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let bounded = x.clamp(-87.3, 88.0);
    let n = (bounded * LOG2_E + ROUND) - ROUND;
    let r = bounded - n * LN2_HIGH - n * LN2_LOW;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let power = f32::from_bits((((n as i32) + 127) << 23) as u32);
    let result = (p * r * r + r + 1.0) * power;
    if x < -87.3 { 0.0 } else { result }
}

/// `1 / (1 + e^−x)`.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Hyperbolic tangent: near 0 by Cephes' polynomial, where `1 − 2 / (e^2x + 1)` would lose its digits.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let s = x * x;
    let p = -5.704_988_7e-3;
    let p = p * s + 2.063_909e-2;
    let p = p * s - 5.373_971_6e-2;
    let p = p * s + 1.333_144_1e-1;
    let p = p * s - 3.333_328e-1;
    let near = p * s * x + x;
    let far = 1.0 - 2.0 / (exp(2.0 * x) + 1.0);
    if x.abs() < 0.625 { near } else { far }
}

/// `Φ(x)` and `φ(x)`, the normal distribution and its density, to about 1e−7 (Abramowitz and Stegun 7.1.26).
#[inline(always)]
pub(crate) fn normal(x: f32) -> (f32, f32) {
    const DENSITY_AT_0: f32 = 0.398_942_3;
    let z = x.abs() * FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let tail = exp(-z * z);
    let p = 1.061_405_4;
    let p = p * t - 1.453_152;
    let p = p * t + 1.421_413_7;
    let p = p * t - 0.284_496_74;
    let p = p * t + 0.254_829_6;
    let upper = 0.5 * p * t * tail;
    (if x < 0.0 { upper } else { 1.0 - upper }, DENSITY_AT_0 * tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = f32> {
        (-4000..=4000).map(|index| index as f32 / 40.0)
    }

    #[test]
    fn functions_are_those_of_double_precision() {
        for x in all() {
            let exact = f64::from(x);
            let relative = (f64::from(exp(x)) / exact.clamp(f64::from(-87.3f32), 88.0).exp() - 1.0).abs();
            assert!(relative < 2e-7 || x < -87.3, "e^{x} is {relative} off");
            let logistic = 1.0 / (1.0 + (-exact).exp());
            assert!((f64::from(sigmoid(x)) - logistic).abs() < 2e-7, "σ({x})");
            assert!(
                (f64::from(tanh(x)) - exact.tanh()).abs() < 2e-7,
                "tanh {x} is {}",
                tanh(x)
            );
        }
        assert_eq!((exp(0.0), tanh(0.0), sigmoid(0.0)), (1.0, 0.0, 0.5));
        assert_eq!(
            (exp(-1e30), sigmoid(-1e30), tanh(-1e30)),
            (0.0, 1.0 / (1.0 + exp(88.0)), -1.0)
        );
        assert!(
            [
                exp(f32::NAN),
                sigmoid(f32::NAN),
                tanh(f32::NAN),
                normal(f32::NAN).0
            ]
            .iter()
            .all(|y| y.is_nan())
        );
    }

    /// Φ by its values in tables.
    #[test]
    fn the_normal_distribution_is_that_of_the_tables() {
        for (x, expected) in [
            (0.0, 0.5),
            (1.0, 0.841_344_8),
            (-1.0, 0.158_655_25),
            (1.96, 0.975_002_1),
            (-3.0, 0.001_349_898),
            (12.0, 1.0),
            (-30.0, 0.0),
        ] {
            let (distribution, density) = normal(x);
            assert!((distribution - expected).abs() < 2e-7, "Φ({x}) is {distribution}");
            let formula = (-f64::from(x) * f64::from(x) / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
            assert!((f64::from(density) - formula).abs() < 1e-7, "φ({x}) is {density}");
        }
    }
}
