//! Functions whose gradient is written by hand.
//!
//! candle drops the gradient of its fused operations without a word, and composing the same of its parts takes a pass
//! for each. Here both directions are plain code: a [`Function`] of one tensor computes where the numbers lie; of two,
//! forwards is computed before, and backwards is a closure that keeps what it needs.

use std::ops::Range;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Device, Layout, Shape, Tensor, WithDType};

use crate::EngineError;

/// Computes with the numbers of a tensor on the processor where they lie, in row-major order.
macro_rules! with_numbers {
    ($x:expr, $numbers:ident => $made:expr) => {{
        let x = $x.contiguous()?;
        let (storage, layout) = x.storage_and_layout();
        let place = $crate::layers::by_hand::place(layout)?;
        match &*storage {
            candle_core::Storage::Cpu(candle_core::CpuStorage::F32(all)) => {
                let $numbers = &all[place];
                $made
            }
            candle_core::Storage::Cpu(candle_core::CpuStorage::F64(all)) => {
                let $numbers = &all[place];
                $made
            }
            _ => candle_core::bail!("what is computed with is not F32 on the processor"),
        }
    }};
}
pub(super) use with_numbers;

/// Where the numbers of a contiguous tensor lie.
pub(super) fn place(layout: &Layout) -> candle_core::Result<Range<usize>> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(from..to),
        None => candle_core::bail!("x is not contiguous"),
    }
}

/// A function of a tensor, and its derivative; both of numbers in row-major order.
pub(super) trait Function: Send + Sync + 'static {
    /// The numbers that come of those.
    fn forward<T: Real>(&self, x: &[T]) -> Vec<T>;
    /// The derivative by `x` of that by what came; called after [`Function::forward`].
    fn backward<T: Real>(&self, gradient: &[T]) -> Vec<T>;
}

/// What comes of `x`, of this shape. On the processor.
pub(super) fn one(
    x: &Tensor,
    shape: impl Into<Shape>,
    function: impl Function,
) -> Result<Tensor, EngineError> {
    let shape = shape.into();
    Ok(x.contiguous()?.apply_op1(One { shape, function })?)
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
    shape: Shape,
    function: F,
}

impl<F: Function> CustomOp1 for One<F> {
    fn name(&self) -> &'static str {
        "by-hand"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let place = place(layout)?;
        let y = match x {
            CpuStorage::F32(x) => CpuStorage::F32(self.function.forward(&x[place])),
            CpuStorage::F64(x) => CpuStorage::F64(self.function.forward(&x[place])),
            _ => candle_core::bail!("x is not F32"),
        };
        Ok((y, self.shape.clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let of_x = with_numbers!(gradient, gradient => {
            Tensor::from_vec(self.function.backward(gradient), x.shape(), &Device::Cpu)
        });
        Ok(Some(of_x?))
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
