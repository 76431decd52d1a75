//! Layers that go over a sequence step by step, with the gradient through time by hand: candle's record of each step
//! would be as deep as the sequence is long.
//!
//! ```text
//!   x [rows, length, channels] ── · W + b, all steps at once ──► sums [rows, length, gates · units]
//!   sums, U ── step after step: gates(sum + h · U) ──► h [rows, length, units]
//! ```

use candle_core::{Device, Tensor, Var};
use sconce_contract::network::Recurrent;

use super::{
    Built, Named, Source, Stage, Start,
    affine::affine,
    by_hand::{self, Real, for_type, numbers},
    cells::{Cell, Gates},
};
use crate::{EngineError, Random};

/// The layer. `W` is `[channels, gates · units]`, `U` `[units, gates · units]`, the biases `[gates · units]`.
#[derive(Debug)]
struct Unrolled {
    cell: Cell,
    weight: Var,
    recurrent: Var,
    bias: Var,
    /// Added to `h · U`, where the cell wants that apart.
    recurrent_bias: Option<Var>,
    all_steps: bool,
}

pub(super) fn build(cell: Cell, spec: Recurrent, source: &mut Source<'_>) -> Result<Built, EngineError> {
    let (units, gates) = (spec.units as usize, cell.gates());
    let channels = source.input().channels() as f64;
    let limit = |fan: f64| Start::Uniform {
        limit: (6.0 / fan).sqrt(),
    };
    let wide = units as f64;
    let bias = match cell {
        // What is remembered is forgotten only where that is learned (Jozefowicz, Zaremba and Sutskever 2015).
        Cell::Lstm => Start::OneWithin(units..2 * units),
        Cell::Gru => Start::Zero,
    };
    Ok(Built::of(Unrolled {
        cell,
        weight: source.var("weight", limit(channels + gates as f64 * wide))?,
        recurrent: source.var("recurrent", limit(wide + gates as f64 * wide))?,
        bias: source.var("bias", bias)?,
        recurrent_bias: match cell {
            Cell::Lstm => None,
            Cell::Gru => Some(source.var("recurrent_bias", Start::Zero)?),
        },
        all_steps: spec.return_sequences,
    }))
}

impl Unrolled {
    fn apply(&self, x: &Tensor, of: impl Fn(&Var) -> Tensor) -> Result<Tensor, EngineError> {
        let (rows, length, channels) = x.dims3()?;
        let flat = x.reshape((rows * length, channels))?;
        let sums = affine(&flat, &of(&self.weight), &of(&self.bias))?.reshape((rows, length, ()))?;
        let recurrent = match &self.recurrent_bias {
            // As one more row, for an h that is always 1.
            Some(bias) => Tensor::cat(&[of(&self.recurrent), of(bias).unsqueeze(0)?], 0)?,
            None => of(&self.recurrent),
        };
        let cell = self.cell;
        let hidden = for_type!(x, over_time(cell, &sums, &recurrent))?;
        if self.all_steps {
            return Ok(hidden);
        }
        Ok(hidden.narrow(1, length - 1, 1)?.squeeze(1)?)
    }
}

impl Stage for Unrolled {
    fn infer(&self, x: &Tensor) -> Result<Tensor, EngineError> {
        self.apply(x, Var::as_detached_tensor)
    }

    fn train(&self, x: &Tensor, _: &mut Random) -> Result<Tensor, EngineError> {
        self.apply(x, |var| var.as_tensor().clone())
    }

    fn parameters(&self) -> Named<'_> {
        let own = [
            ("weight", &self.weight),
            ("recurrent", &self.recurrent),
            ("bias", &self.bias),
        ];
        let apart = self.recurrent_bias.as_ref().map(|bias| ("recurrent_bias", bias));
        own.into_iter().chain(apart).collect()
    }
}

/// What happened in each step, one step after another.
struct Record<T> {
    rows: usize,
    units: usize,
    /// `h` and `c` before the first step and after each, `[length + 1, rows, units]`.
    hidden: Vec<T>,
    cells: Vec<T>,
    /// `[length, rows, units]`.
    gates: Vec<Gates<T>>,
}

fn over_time<T: Real>(cell: Cell, sums: &Tensor, recurrent: &Tensor) -> Result<Tensor, EngineError> {
    let (rows, length, width) = sums.dims3()?;
    let units = width / cell.gates();
    let record = forward::<T>(cell, sums, recurrent)?;
    let mut y = vec![T::from_f64(0.0); rows * length * units];
    for (place, row) in y.chunks_exact_mut(units).enumerate() {
        let (row_index, step) = (place / length, place % length);
        let from = ((step + 1) * rows + row_index) * units;
        row.copy_from_slice(&record.hidden[from..from + units]);
    }
    let y = Tensor::from_vec(y, (rows, length, units), &Device::Cpu)?;
    if !sums.track_op() {
        return Ok(y.to_device(sums.device())?);
    }
    let kept = recurrent.detach().to_device(&Device::Cpu)?;
    by_hand::two(sums, recurrent, y, move |gradient| {
        backward(cell, &record, &kept, gradient)
    })
}

fn forward<T: Real>(cell: Cell, sums: &Tensor, recurrent: &Tensor) -> candle_core::Result<Record<T>> {
    let (rows, length, width) = sums.dims3()?;
    let units = width / cell.gates();
    let zero = T::from_f64(0.0);
    let sums = numbers::<T>(sums)?;
    let (matrix, bias) = split::<T>(recurrent, units)?;
    let state = rows * units;
    let mut record = Record {
        rows,
        units,
        hidden: vec![zero; (length + 1) * state],
        cells: vec![zero; (length + 1) * state],
        gates: Vec::with_capacity(length * state),
    };
    for step in 0..length {
        let (before, after) = (step * state, (step + 1) * state);
        let h = Tensor::from_slice(&record.hidden[before..after], (rows, units), &Device::Cpu)?;
        let inner = numbers::<T>(&h.matmul(&matrix)?)?;
        for row in 0..rows {
            let sums = &sums[(row * length + step) * width..][..width];
            let inner = &inner[row * width..][..width];
            for unit in 0..units {
                let place = row * units + unit;
                let of = |values: &[T], gate: usize| values[gate * units + unit];
                let (h, c) = (record.hidden[before + place], record.cells[before + place]);
                let (h, c, gates) = cell.forward(
                    |gate| of(sums, gate),
                    |gate| of(inner, gate) + bias.get(gate * units + unit).copied().unwrap_or(zero),
                    h,
                    c,
                );
                record.hidden[after + place] = h;
                record.cells[after + place] = c;
                record.gates.push(gates);
            }
        }
    }
    Ok(record)
}

/// `U`, and the bias that may be its last row.
fn split<T: Real>(recurrent: &Tensor, units: usize) -> candle_core::Result<(Tensor, Vec<T>)> {
    let recurrent = recurrent.detach().to_device(&Device::Cpu)?;
    let matrix = recurrent.narrow(0, 0, units)?.contiguous()?;
    let bias = match recurrent.dim(0)? > units {
        true => numbers(&recurrent.narrow(0, units, 1)?)?,
        false => Vec::new(),
    };
    Ok((matrix, bias))
}

/// The derivatives by the sums and by `U` of that by `h`, `[rows, length, units]`.
fn backward<T: Real>(
    cell: Cell,
    record: &Record<T>,
    recurrent: &Tensor,
    gradient: &Tensor,
) -> candle_core::Result<(Tensor, Tensor)> {
    let Record { rows, units, .. } = *record;
    let width = units * cell.gates();
    let state = rows * units;
    let length = record.hidden.len() / state - 1;
    let zero = T::from_f64(0.0);
    let gradient = numbers::<T>(gradient)?;
    let (matrix, bias) = split::<T>(recurrent, units)?;
    let transposed = matrix.t()?;
    let mut of_sums = vec![zero; rows * length * width];
    // `[length, rows, gates · units]`, in the order of the states.
    let mut of_inner = vec![zero; length * rows * width];
    let (mut of_h, mut of_c) = (vec![zero; state], vec![zero; state]);
    for step in (0..length).rev() {
        let (before, after) = (step * state, (step + 1) * state);
        let inner = &mut of_inner[step * rows * width..][..rows * width];
        for row in 0..rows {
            let sums = &mut of_sums[(row * length + step) * width..][..width];
            for unit in 0..units {
                let place = row * units + unit;
                let slope = cell.backward(
                    of_h[place] + gradient[(row * length + step) * units + unit],
                    of_c[place],
                    &record.gates[before + place],
                    record.hidden[before + place],
                    [record.cells[before + place], record.cells[after + place]],
                );
                for gate in 0..cell.gates() {
                    sums[gate * units + unit] = slope.sums[gate];
                    inner[row * width + gate * units + unit] = slope.inner[gate];
                }
                (of_h[place], of_c[place]) = (slope.h, slope.c);
            }
        }
        let through = Tensor::from_slice(inner, (rows, width), &Device::Cpu)?.matmul(&transposed)?;
        for (sum, share) in of_h.iter_mut().zip(numbers::<T>(&through)?) {
            *sum += share;
        }
    }
    let states = Tensor::from_slice(
        &record.hidden[..length * state],
        (length * rows, units),
        &Device::Cpu,
    )?;
    let of_inner = Tensor::from_vec(of_inner, (length * rows, width), &Device::Cpu)?;
    let mut of_recurrent = states.t()?.matmul(&of_inner)?;
    if !bias.is_empty() {
        of_recurrent = Tensor::cat(&[of_recurrent, of_inner.sum_keepdim(0)?], 0)?;
    }
    let of_sums = Tensor::from_vec(of_sums, (rows, length, width), &Device::Cpu)?;
    Ok((of_sums, of_recurrent))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::gradient_check::layer;

    #[test]
    fn gradient_lstm() {
        for all in [false, true] {
            let spec = json!({"lstm": {"units": 3, "returnSequences": all}});
            layer(&spec, &json!({"length": 4, "channels": 2}), 2);
        }
    }

    #[test]
    fn gradient_gru() {
        for all in [false, true] {
            let spec = json!({"gru": {"units": 3, "returnSequences": all}});
            layer(&spec, &json!({"length": 4, "channels": 2}), 2);
        }
    }
}
