//! `x · W + b` as one operation.
//!
//! Built from candle's own parts the sum is a pass of its own, forwards and backwards, and the gradient of the
//! table is computed only to be thrown away.

use candle_core::{CpuStorage, CustomOp3, Layout, Shape, Tensor, backend::BackendStorage};

use super::by_hand::{Real, with_numbers};
use crate::EngineError;

/// `[rows, inputs]` · `[inputs, units]` + `[units]` → `[rows, units]`. Gradients are recorded where the
/// arguments ask for it.
pub(super) fn affine(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor, EngineError> {
    if x.device().is_cpu() {
        Ok(x.apply_op3(weight, bias, Affine)?)
    } else {
        // cuBLAS takes no rows that lie apart, such as the last steps of sequences.
        Ok(x.contiguous()?.matmul(weight)?.broadcast_add(bias)?)
    }
}

struct Affine;

impl CustomOp3 for Affine {
    fn name(&self) -> &'static str {
        "affine"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (rows, inputs) = x_layout.shape().dims2()?;
        let (height, units) = weight_layout.shape().dims2()?;
        let Some((from, to)) = bias_layout.contiguous_offsets() else {
            candle_core::bail!("the bias is not contiguous")
        };
        if height != inputs || to - from != units {
            candle_core::bail!(
                "x has {inputs} columns and W is [{height}, {units}] with {} biases",
                to - from
            )
        }
        let mut product = x.matmul(weight, (1, rows, units, inputs), x_layout, weight_layout)?;
        match (&mut product, bias) {
            (CpuStorage::F32(product), CpuStorage::F32(bias)) => add(product, &bias[from..to]),
            (CpuStorage::F64(product), CpuStorage::F64(bias)) => add(product, &bias[from..to]),
            _ => candle_core::bail!("x, W and b are not all F32"),
        }
        Ok((product, (rows, units).into()))
    }

    /// `dx = g · Wᵀ`, `dW = xᵀ · g`, `db = Σ g` over the rows.
    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let of_x = if x.track_op() {
            Some(gradient.matmul(&weight.t()?)?)
        } else {
            None
        };
        Ok((of_x, Some(x.t()?.matmul(gradient)?), Some(sums(gradient)?)))
    }
}

/// The sums of the columns. candle's own goes through the table column by column.
fn sums(table: &Tensor) -> candle_core::Result<Tensor> {
    let units = table.dim(1)?;
    with_numbers!(table, rows => Tensor::from_vec(by_column(rows, units), units, table.device()))
}

fn by_column<T: Real>(rows: &[T], units: usize) -> Vec<T> {
    /// Rows that are summed up by themselves: of very many the sum of one after another would lose digits.
    const BLOCK: usize = 128;
    let mut sums = vec![T::from_f64(0.0); units];
    for block in rows.chunks(units * BLOCK) {
        let mut part = vec![T::from_f64(0.0); units];
        add_rows(&mut part, block);
        add_rows(&mut sums, &part);
    }
    sums
}

fn add_rows<T: Real>(sums: &mut [T], rows: &[T]) {
    for row in rows.chunks_exact(sums.len()) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += *value;
        }
    }
}

fn add<T: Copy + std::ops::AddAssign>(rows: &mut [T], bias: &[T]) {
    for row in rows.chunks_exact_mut(bias.len()) {
        for (value, bias) in row.iter_mut().zip(bias) {
            *value += *bias;
        }
    }
}
