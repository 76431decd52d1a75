//! Functions whose gradient is written by hand.
//!
//! candle drops the gradient of its fused operations without a word, and composing the same of its parts takes a pass
//! for each. Here both directions are plain code: forwards is computed before, backwards is a closure, which keeps what
//! it needs.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Device, Layout, Shape, Tensor, WithDType};

use crate::EngineError;

type Made = candle_core::Result<Tensor>;

/// `y` as a function of `x`, where `backward` makes the derivative by `x` of that by `y`.
pub(super) fn one(
    x: &Tensor,
    y: Tensor,
    backward: impl Fn(&Tensor) -> Made + Send + Sync + 'static,
) -> Result<Tensor, EngineError> {
    let device = x.device();
    let here = x.to_device(&Device::Cpu)?;
    Ok(here.apply_op1(One { y, backward })?.to_device(device)?)
}

/// `y` as a function of `x` and `w`, where `backward` makes the derivatives by both.
pub(super) fn two(
    x: &Tensor,
    w: &Tensor,
    y: Tensor,
    backward: impl Fn(&Tensor) -> candle_core::Result<(Tensor, Tensor)> + Send + Sync + 'static,
) -> Result<Tensor, EngineError> {
    let device = x.device();
    let (here, w) = (x.to_device(&Device::Cpu)?, w.to_device(&Device::Cpu)?);
    Ok(here.apply_op2(&w, Two { y, backward })?.to_device(device)?)
}

struct One<F> {
    y: Tensor,
    backward: F,
}

impl<F: Fn(&Tensor) -> Made + Send + Sync> CustomOp1 for One<F> {
    fn name(&self) -> &'static str {
        "by-hand"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        storage(&self.y)
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
        Ok(Some((self.backward)(gradient)?))
    }
}

struct Two<F> {
    y: Tensor,
    backward: F,
}

impl<F: Fn(&Tensor) -> candle_core::Result<(Tensor, Tensor)> + Send + Sync> CustomOp2 for Two<F> {
    fn name(&self) -> &'static str {
        "by-hand"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        storage(&self.y)
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let (of_x, of_w) = (self.backward)(gradient)?;
        Ok((Some(of_x), Some(of_w)))
    }
}

fn storage(y: &Tensor) -> candle_core::Result<(CpuStorage, Shape)> {
    use candle_core::DType;
    let storage = match y.dtype() {
        DType::F32 => CpuStorage::F32(numbers(y)?),
        DType::F64 => CpuStorage::F64(numbers(y)?),
        other => candle_core::bail!("{other:?} numbers instead of F32"),
    };
    Ok((storage, y.shape().clone()))
}

/// The numbers of a tensor, row-major.
pub(super) fn numbers<T: WithDType>(x: &Tensor) -> candle_core::Result<Vec<T>> {
    x.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()
}

/// Calls a function of [`Real`] numbers for the type of a tensor.
macro_rules! for_type {
    ($x:expr, $function:ident($($argument:expr),*)) => {
        match $x.dtype() {
            candle_core::DType::F64 => $function::<f64>($($argument),*),
            _ => $function::<f32>($($argument),*),
        }
    };
}
pub(super) use for_type;

/// What is computed with: F32, and F64 where gradients are checked.
pub(super) trait Real: WithDType {
    /// `1 / (1 + e^−x)`.
    fn sigmoid(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
}

impl Real for f32 {
    fn sigmoid(self) -> Self {
        1.0 / (1.0 + (-self).exp())
    }

    fn tanh(self) -> Self {
        f32::tanh(self)
    }
}

impl Real for f64 {
    fn sigmoid(self) -> Self {
        1.0 / (1.0 + (-self).exp())
    }

    fn tanh(self) -> Self {
        f64::tanh(self)
    }
}
