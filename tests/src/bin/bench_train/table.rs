//! The table that is learned from: made up, but not without noise, so that a loss says something.

use std::fmt::Write;

/// Columns that are learned from.
const FEATURES: usize = 100;

/// That many rows of 100 normal numbers, and a label by chance that follows a plane: the same table each time.
pub fn csv(rows: u32) -> String {
    let mut random = Random(42);
    let slopes: Vec<f64> = (0..FEATURES).map(|_| random.normal()).collect();
    let mut text: String = (0..FEATURES)
        .map(|feature| format!("feature_{feature},"))
        .collect();
    text.push_str("label\n");
    for _ in 0..rows {
        let mut sum = 0.0;
        for slope in &slopes {
            let value = random.normal();
            sum += slope * value;
            // A String takes whatever is written.
            let _ = write!(text, "{value:.6},");
        }
        let likely = 1.0 / (1.0 + (-0.8 * sum).exp());
        text.push_str(if random.unit() < likely { "1\n" } else { "0\n" });
    }
    text
}

/// Numbers by SplitMix64 (Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// In [0, 1).
    #[allow(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Of mean 0 and variance 1 (Box and Muller 1958).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}
